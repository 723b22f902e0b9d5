"""One index, one frame, whoever decodes: DALI against PyAV by content, and what DALI is not given."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Generator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from skimage import data

from mrigan.config import VideoConfig
from mrigan.errors import ConfigError, InputError
from mrigan.video import Decoded, DecoderError, PyAvSource, decoders, family_source, packets, read_frames
from mrigan.video.packets import taken_apart
from tests.clips import counter_frames, read_counter, write_clip

dali = pytest.importorskip("mrigan.video.dali")
pytest.importorskip("nvidia.dali")

VP9 = {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}}
ALTREF = {"codec": "libvpx-vp9", "options": {"deadline": "good", "cpu-used": "5", "lag-in-frames": "16"}}
MJPEG = {"codec": "mjpeg", "pix_fmt": "yuvj420p", "options": {"qmin": "1", "qmax": "2"}}
UNEVEN = [i * 0.04 + (i > 17) * 1.5 + (i > 30) * 0.013 for i in range(43)]
CLOSE = {"mean": 2.0, "p99": 12.0, "most": 48.0}  # of 255; the two interpolate chroma in different ways


@pytest.fixture(scope="module")
def cpu() -> dali.DaliSource:
    return dali.DaliSource("cpu")


def assert_close(a: np.ndarray, b: np.ndarray) -> None:
    difference = np.abs(a.astype(int) - b)
    assert difference.mean() < CLOSE["mean"]
    assert np.percentile(difference, 99) < CLOSE["p99"]
    assert difference.max() < CLOSE["most"]


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("vp9.webm", VP9),
        ("vp9.mp4", VP9),
        ("altref.webm", ALTREF),
        ("sound.webm", VP9 | {"audio": True}),
        ("keys.webm", VP9 | {"options": VP9["options"] | {"g": "5"}}),
        ("vfr.webm", VP9 | {"pts": UNEVEN}),
        ("vfr.mp4", VP9 | {"pts": UNEVEN}),
        ("turned.mp4", VP9 | {"rotation": 90}),
        ("turned.mov", MJPEG | {"rotation": 180}),
        ("vp8.webm", {"codec": "libvpx", "options": {"auto-alt-ref": "0"}}),
        ("jpeg.mov", MJPEG),
        ("444.webm", VP9 | {"pix_fmt": "yuv444p"}),
    ],
)
def test_dali_gives_the_frames_of_pyav(tmp_path: Path, cpu: dali.DaliSource, name: str, settings: dict) -> None:
    path = write_clip(tmp_path / name, counter_frames(43), **settings)
    assert cpu.refusal(path) == ""
    for choice in ({"every": 7}, {"indices": {0, 3, 17, 18, 42, 99}}, {"indices": [11]}, {"indices": []}):
        ours, theirs = list(cpu.read(path, **choice)), list(read_frames(path, **choice))
        assert [f.index for f in ours] == [f.index for f in theirs]
        assert [f.time for f in ours] == [f.time for f in theirs]
        for a, b in zip(ours, theirs, strict=True):
            assert a.image.shape == b.image.shape
            assert_close(a.image, b.image)
            if "rotation" not in settings:
                assert read_counter(a.image) == a.index


@pytest.mark.parametrize("size", [(321, 243), (320, 243), (322, 240)])
def test_odd_sizes(tmp_path: Path, cpu: dali.DaliSource, size: tuple[int, int]) -> None:
    path = write_clip(tmp_path / "odd.webm", counter_frames(5, size), **VP9)
    for a, b in zip(cpu.read(path, every=1), read_frames(path, every=1), strict=True):
        assert a.image.shape == (size[1], size[0], 3)
        assert read_counter(a.image) == a.index
        assert_close(a.image, b.image)


def test_a_picture_keeps_its_colours(tmp_path: Path, cpu: dali.DaliSource) -> None:
    """A portrait through both decoders: neither the matrix nor the range is another one."""
    portrait = cv2.resize(data.astronaut(), (320, 320), interpolation=cv2.INTER_AREA)
    for name, settings in (("a.webm", VP9 | {"options": {"crf": "4", "b": "0"}}), ("a.mov", MJPEG)):
        path = write_clip(tmp_path / name, [portrait] * 2, **settings)
        (a,), (b,) = cpu.read(path, indices=[1]), read_frames(path, indices=[1])
        assert_close(a.image, b.image)
        assert np.abs((a.image.astype(int) - b.image).mean((0, 1))).max() < 1.6  # swscale rounds down, DALI does not
        assert np.abs(a.image.astype(int) - portrait).mean() < 3.5


def test_a_long_clip_is_decoded_in_parts(tmp_path: Path, cpu: dali.DaliSource, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_clip(tmp_path / "a.webm", counter_frames(60), **(VP9 | {"options": VP9["options"] | {"g": "8"}}))
    whole = list(cpu.read(path, every=3))
    sizes: list[int] = []
    part = packets.Stream.part

    def counted(self, indices):
        data, places = part(self, indices)
        sizes.append(len(places))
        with av.open(io.BytesIO(data)) as container:
            assert sum(1 for _ in container.decode(video=0)) <= indices[-1] - indices[0] + 9  # from the last key frame
        return data, places

    monkeypatch.setattr(packets.Stream, "part", counted)
    monkeypatch.setattr(dali, "CHUNK", 4 * 192 * 128 * 3)
    parts = list(cpu.read(path, every=3))
    assert sizes == [4] * 5
    assert [f.index for f in parts] == [f.index for f in whole] == list(range(0, 60, 3))
    for a, b in zip(parts, whole, strict=True):
        np.testing.assert_array_equal(a.image, b.image)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("b.mp4", {"options": {"bf": "3", "g": "20"}}),
        ("pyramid.mkv", {"options": {"bf": "3", "x264-params": "keyint=12:b-pyramid=normal"}}),
        ("open.mp4", {"options": {"bf": "3", "x264-params": "keyint=12:open-gop=1"}}),
        ("refresh.mp4", {"options": {"bf": "0", "x264-params": "keyint=12:intra-refresh=1"}}),
        ("vfr.mp4", {"options": {"bf": "3", "g": "15"}, "pts": UNEVEN}),
        ("stream.ts", {"options": {"bf": "2", "g": "20"}}),
        ("hevc.mp4", {"codec": "libx265", "options": {"x265-params": "log-level=none:bframes=4:keyint=12:open-gop=1"}}),
        ("hevc.mkv", {"codec": "libx265", "options": {"x265-params": "log-level=none:bframes=3:keyint=9:open-gop=0"}}),
        ("mpeg4.mp4", {"codec": "mpeg4", "options": {"bf": "2", "g": "9"}}),
        ("vp9.webm", ALTREF),
    ],
)
def test_what_a_decoder_is_given_holds_the_frames_that_it_is_asked_for(
    tmp_path: Path, name: str, settings: dict
) -> None:
    """The container written for DALI, decoded in sequence by FFmpeg: frame by frame what PyAV reads from the file."""
    rng = np.random.default_rng(0)
    texture = rng.integers(-20, 20, (128, 262, 1))
    scenes = [
        np.clip(f.astype(int) + texture[:, i : i + 192], 0, 255).astype(np.uint8)
        for i, f in enumerate(counter_frames(43))
    ]
    path = write_clip(tmp_path / name, scenes, **settings)
    everything = {f.index: f for f in read_frames(path, every=1)}
    assert list(everything) == list(range(43))
    with taken_apart(path, dali.CODECS["cuda"], dali.PIXELS["cuda"]) as stream:
        assert stream.times == [f.time for f in everything.values()]
        for indices in ([0, 10, 20, 42], [13], [31, 40], [41]):
            written, places = stream.part(indices)
            with av.open(io.BytesIO(written)) as container:
                last = [p.pts for p in container.demux(video=0) if p.size][-1]
            with av.open(io.BytesIO(written)) as container:  # whoever looks for a place is led to the beginning
                container.seek(last, stream=container.streams.video[0])
                assert next(container.demux(video=0)).pts <= min(last, 200)
            file = tmp_path / "part.mkv"
            file.write_bytes(written)
            there = {f.index: f.image for f in read_frames(file, every=1)}
            for index, place in zip(indices, places, strict=True):
                np.testing.assert_array_equal(there[place], everything[index].image)


def refused(path: Path, device: str) -> str:
    with pytest.raises(packets.RefusedError) as caught, dali._suitable(path, device):
        pass
    return str(caught.value)


def test_what_dali_would_decode_otherwise_is_refused(tmp_path: Path, cpu: dali.DaliSource) -> None:
    frames = counter_frames(30)
    h264 = write_clip(tmp_path / "a.mp4", frames)
    assert "codec is h264" in refused(h264, "cpu")
    with pytest.raises(DecoderError, match="codec is h264"):
        list(cpu.read(h264))
    assert "pixel format is yuv444p" in refused(write_clip(tmp_path / "b.mkv", frames, pix_fmt="yuv444p"), "cuda")
    deep = write_clip(
        tmp_path / "c.mp4", frames, codec="libx265", pix_fmt="yuv420p10le", options={"x265-params": "log-level=none"}
    )
    assert "pixel format is yuv420p10le" in refused(deep, "cuda")
    odd = write_clip(tmp_path / "d.webm", counter_frames(3, (321, 243)), **VP9)
    assert "odd" in refused(odd, "cuda")
    hidden = write_clip(tmp_path / "e.webm", frames, codec="libvpx", options={"auto-alt-ref": "0"})
    content = bytearray(hidden.read_bytes())
    with av.open(str(hidden)) as container:
        packet = [p for p in container.demux(video=0) if p.size][9]
    at = content.index(bytes(packet), packet.pos)
    content[at] &= ~0x10  # show_frame
    hidden.write_bytes(bytes(content))
    assert "show nothing" in refused(hidden, "cpu")
    whole = write_clip(tmp_path / "f.webm", frames, **VP9)
    (tmp_path / "g.webm").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert "cut off" in refused(tmp_path / "g.webm", "cpu")


@pytest.mark.parametrize(("space", "value_range", "reason"), [(1, 1, "not BT.601"), (6, 2, "full range"), (6, 1, "")])
def test_colours_that_dali_does_not_look_at_are_refused(
    tmp_path: Path, space: int, value_range: int, reason: str
) -> None:
    path = tmp_path / "a.webm"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx-vp9", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        stream.codec_context.colorspace, stream.codec_context.color_range = space, value_range
        for i in range(3):
            frame = av.VideoFrame.from_ndarray(np.full((96, 64), 120, np.uint8), format="yuv420p")
            frame.pts, frame.colorspace, frame.color_range = i, space, value_range
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    if reason:
        assert reason in refused(path, "cpu")
    else:
        with dali._suitable(path, "cpu") as stream:
            assert len(stream.packets) == 3


def test_a_playlist_reaches_nobody(tmp_path: Path, cpu: dali.DaliSource) -> None:
    other = write_clip(tmp_path / "other.webm", counter_frames(3), **VP9)
    os.utime(other, (1, 1))
    for text in ("ffconcat version 1.0\nfile 'other.webm'\n", f"#EXTM3U\n#EXTINF:10.0,\n{other}\n#EXT-X-ENDLIST\n"):
        path = tmp_path / "list.webm"
        path.write_text(text)
        for act in (cpu.refusal, lambda p: list(cpu.read(p))):
            with pytest.raises(InputError, match="not a readable video"):
                act(path)
    assert other.stat().st_atime == 1


def damaged(path: Path, fill: bytes = b"\xff") -> Path:
    """One packet in the middle is no picture any more."""
    with av.open(str(path)) as container:
        packet = [p for p in container.demux(video=0) if p.size][10]
        content = bytearray(path.read_bytes())
        content[packet.pos : packet.pos + packet.size] = fill * packet.size
    path.write_bytes(bytes(content))
    return path


def test_damage_is_an_error_and_the_next_clip_is_read(tmp_path: Path, cpu: dali.DaliSource) -> None:
    good = write_clip(tmp_path / "good.mov", counter_frames(30), **MJPEG)
    bad = damaged(write_clip(tmp_path / "bad.mov", counter_frames(30), **MJPEG))
    with pytest.raises(DecoderError, match=r"cannot decode the clip: .*Invalid data"):
        list(cpu.read(bad, every=5))
    assert [read_counter(f.image) for f in cpu.read(good, every=5)] == [0, 5, 10, 15, 20, 25]
    assert "a packet is damaged" in refused(damaged(good, b"\0"), "cpu")  # a hole is seen before


def test_who_decodes_follows_from_settings_and_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(dali, "_pipeline", lambda device: None)  # as on a machine with a GPU
    monkeypatch.setattr(decoders, "_EXPLAINED", set())
    caplog.set_level(logging.INFO)
    plain = write_clip(tmp_path / "plain.mp4", counter_frames(3))
    full = write_clip(tmp_path / "full.mp4", counter_frames(3), pix_fmt="yuv444p")
    empty = tmp_path / "empty.mp4"
    empty.touch()

    def chosen(decoder: str, device: str, *paths: Path) -> tuple[str, str]:
        found = family_source(VideoConfig(decoder, device), paths)
        return found.name, found.device

    assert chosen("auto", "cpu", plain) == chosen("pyav", "cuda", plain) == ("pyav", "cpu")
    assert chosen("auto", "cuda", plain, empty) == ("dali", "cuda")
    assert not caplog.records
    for _ in range(2):
        assert chosen("auto", "cuda", plain, full) == ("pyav", "cpu")  # together or not at all
    (record,) = caplog.records
    assert "pixel format is yuv444p" in record.message
    assert "full.mp4" in record.message
    with pytest.raises(DecoderError, match="yuv444p"):
        chosen("dali", "cuda", plain, full)


def test_the_gpu_graph_is_constructed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Operator names and arguments are checked by this; only building needs a driver."""
    import torch
    from nvidia.dali import Pipeline, fn

    assert dali.graph("cuda")._device_id == 0
    with pytest.raises((KeyError, TypeError, ValueError), match="pad_modus"), Pipeline(1, 1, 0):
        fn.decoders.video(fn.external_source(), device="mixed", pad_modus="none")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="no GPU"):
            dali.DaliSource("cuda")
    monkeypatch.setitem(sys.modules, "nvidia.dali", None)
    with pytest.raises(ConfigError, match=r"mrigan\[dali\]"):
        dali.graph("cuda")


def count(frames: Generator[Decoded, None, int]) -> int:
    """What the generator returns."""
    while True:
        try:
            next(frames)
        except StopIteration as end:
            return end.value


def test_both_say_how_many_frames_there_are(tmp_path: Path, cpu: dali.DaliSource) -> None:
    path = write_clip(tmp_path / "a.webm", counter_frames(23), **VP9)
    h264 = write_clip(tmp_path / "a.mp4", counter_frames(23), options={"bf": "3", "b-pyramid": "none"})
    for who, clip in ((cpu, path), (PyAvSource(), path), (PyAvSource(), h264)):
        for needed in (None, {0, 5}.__contains__, set().__contains__):
            assert count(who.decode(clip, needed)) == 23
