"""Ordinary clips simply work: every container, odd sizes, variable rate, rotation, grey; indices and times exact."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from mrigan.catalog import VIDEO_SUFFIXES
from mrigan.video import probe, read_frames
from mrigan.video.frames import decode
from tests.clips import counter_frames, read_counter, write_clip


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("h264.mp4", {"options": {"bf": "3", "refs": "4"}}),
        ("h264.mov", {"movflags": "faststart"}),
        ("h264.mkv", {"pix_fmt": "yuv444p"}),
        ("sound.mp4", {"audio": True}),
        ("hevc10.mp4", {"codec": "libx265", "pix_fmt": "yuv420p10le", "options": {"x265-params": "log-level=none"}}),
        ("ten.mp4", {"pix_fmt": "yuv420p10le"}),
        ("full_range.mov", {"codec": "mjpeg", "pix_fmt": "yuvj420p"}),
        ("vp9.webm", {"codec": "libvpx-vp9", "audio": True, "options": {"deadline": "realtime", "cpu-used": "8"}}),
        ("vp8.webm", {"codec": "libvpx", "options": {"auto-alt-ref": "1", "lag-in-frames": "16"}}),
        ("mpeg4.avi", {"codec": "mpeg4", "options": {"bf": "2"}}),
        ("h264.avi", {"options": {"bf": "3"}}),
        ("h264.ts", {"options": {"bf": "3"}}),
        ("grey.mkv", {"codec": "ffv1", "pix_fmt": "gray"}),
    ],
)
def test_every_container_gives_every_frame_by_its_index(tmp_path: Path, name: str, settings: dict) -> None:
    path = write_clip(tmp_path / name, counter_frames(43), **settings)
    frames = list(read_frames(path, every=10))
    assert [f.index for f in frames] == [0, 10, 20, 30, 40]
    assert [read_counter(f.image) for f in frames] == [0, 10, 20, 30, 40]
    assert [f.time for f in frames] == pytest.approx([0, 0.4, 0.8, 1.2, 1.6], abs=2e-3)
    assert frames[0].image.shape == (128, 192, 3)
    assert frames[0].image.dtype == np.uint8
    info = probe(path)
    assert (info.width, info.height, info.rotation) == (192, 128, 0)
    assert info.fps == pytest.approx(25, abs=0.1)
    assert info.duration == pytest.approx(43 / 25, abs=0.15)
    assert info.frames in (43, None)


@pytest.mark.parametrize("suffix", sorted(VIDEO_SUFFIXES))
def test_each_suffix_that_a_folder_is_searched_for_is_opened(tmp_path: Path, suffix: str) -> None:
    codec = {".mpg": "mpeg2video", ".mpeg": "mpeg2video", ".vob": "mpeg2video", ".wmv": "wmv2", ".asf": "wmv2"}
    codec |= {".webm": "libvpx", ".avi": "mpeg4", ".ogv": "libvpx"}
    path = write_clip(tmp_path / f"a{suffix}", counter_frames(12), codec=codec.get(suffix, "libx264"))
    assert [read_counter(f.image) for f in read_frames(path, every=5)] == [0, 5, 10]


@pytest.mark.parametrize(("name", "codec"), [("odd.mp4", "mpeg4"), ("odd.webm", "libvpx"), ("odd.mkv", "libx264")])
def test_odd_sizes(tmp_path: Path, name: str, codec: str) -> None:
    pix_fmt = "yuv444p" if codec == "libx264" else "yuv420p"
    path = write_clip(tmp_path / name, counter_frames(3, (321, 243)), codec=codec, pix_fmt=pix_fmt)
    frames = list(read_frames(path, every=1))
    assert [f.image.shape for f in frames] == [(243, 321, 3)] * 3
    assert [read_counter(f.image) for f in frames] == [0, 1, 2]


def test_exactly_the_wanted_frames_are_read(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", counter_frames(30))
    assert [f.index for f in read_frames(path, indices={7, 3, 25, 99})] == [3, 7, 25]
    assert [read_counter(f.image) for f in read_frames(path, indices=[7, 3])] == [3, 7]
    assert list(read_frames(path, indices=[])) == []


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("a.mp4", {"options": {"bf": "3", "b-pyramid": "none", "x264-params": "keyint=30"}}),
        ("a.mkv", {"options": {"bf": "3", "x264-params": "keyint=20:open-gop=1:b-pyramid=strict"}}),
        ("a.ts", {"options": {"bf": "2"}}),
        ("vfr.mp4", {"options": {"bf": "3"}, "pts": [i * 0.04 + (i > 17) * 1.5 for i in range(70)]}),
        ("a.mov", {"codec": "libx265", "options": {"x265-params": "log-level=none:bframes=4"}}),
    ],
)
def test_leaving_out_what_nobody_refers_to_changes_nothing(tmp_path: Path, name: str, settings: dict) -> None:
    """Frames that are not wanted are spared where the codec allows it; index, time and every pixel stay the same."""
    rng = np.random.default_rng(0)
    texture = rng.integers(-20, 20, (128, 262, 1))
    frames = [
        np.clip(f.astype(int) + texture[:, i : i + 192], 0, 255).astype(np.uint8)
        for i, f in enumerate(counter_frames(70))
    ]
    path = write_clip(tmp_path / name, frames, **settings)
    everything = {f.index: f for f in read_frames(path, every=1)}
    assert list(everything) == list(range(70))
    assert sum(1 for _ in decode(path, needed=lambda i: i % 7 == 0)) < 60  # some were spared
    for choice in ({"every": 7}, {"indices": {0, 3, 4, 41, 68, 69}}, {"indices": {11}}):
        some = list(read_frames(path, **choice))
        assert [f.index for f in some] == sorted(choice.get("indices", range(0, 70, 7)))
        for frame in some:
            assert frame.time == everything[frame.index].time
            np.testing.assert_array_equal(frame.image, everything[frame.index].image)


def test_times_of_a_variable_frame_rate_come_from_the_file(tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.08, 0.5, 0.54, 2.0, 2.1, 2.14, 5.0, 5.04, 7.5]
    for name in ("vfr.mp4", "vfr.mkv"):
        frames = list(read_frames(write_clip(tmp_path / name, counter_frames(11), pts=times), every=1))
        assert [read_counter(f.image) for f in frames] == list(range(11))
        assert [f.time for f in frames] == pytest.approx(times, abs=1e-3)


@pytest.mark.parametrize("degrees", [0, 90, 180, 270, -90])
def test_rotation_is_applied(tmp_path: Path, degrees: int) -> None:
    stored = counter_frames(12)
    path = write_clip(tmp_path / "r.mp4", stored, rotation=degrees)
    frames = list(read_frames(path, every=10))
    shown = np.rot90(stored[10], degrees // 90)  # NumPy turns counterclockwise, as FFmpeg's angle is meant
    assert frames[1].image.shape == shown.shape
    assert np.abs(frames[1].image.astype(int) - shown).mean() < 6
    info = probe(path)
    assert (info.width, info.height, info.rotation) == (shown.shape[1], shown.shape[0], degrees % 360)


@pytest.mark.parametrize(
    ("matrix", "turn"),
    [
        (
            [-65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30],
            lambda image: image[:, ::-1],
        ),  # mirrored, as a front camera writes
        ([0, 65536, 0, 65536, 0, 0, 0, 0, 1 << 30], lambda image: image.transpose(1, 0, 2)),  # mirrored and turned
    ],
)
def test_mirroring_is_applied(tmp_path: Path, matrix: list[int], turn) -> None:
    stored = counter_frames(3)
    path = tmp_path / "m.mp4"
    write_clip(path, stored, rotation=180)
    data = path.read_bytes()
    old = np.array([-65536, 0, 0, 0, -65536, 0, 0, 0, 1 << 30], ">i4").tobytes()
    at = data.index(b"tkhd")
    assert old[:4] in data[at : at + 100]
    start = data.index(old[:20], at)
    path.write_bytes(data[:start] + np.array(matrix, ">i4").tobytes() + data[start + 36 :])
    (frame,) = read_frames(path, indices=[2])
    assert np.abs(frame.image.astype(int) - turn(stored[2])).mean() < 6


def test_the_colour_matrix_of_the_stream_is_used(tmp_path: Path) -> None:
    """The same stored YUV, tagged BT.709, BT.601 and not at all: the tag decides; none means BT.601."""
    y, u, v = 120, 90, 200
    seen = {}
    for tag, value in {"bt709": 1, "smpte170m": 6, "none": 2}.items():
        path = tmp_path / f"{tag}.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=25, options={"qp": "0"})
            stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
            stream.codec_context.colorspace = value
            for i in range(2):
                planes = np.concatenate([np.full(64 * 64, y), np.full(32 * 32, u), np.full(32 * 32, v)])
                frame = av.VideoFrame.from_ndarray(planes.astype(np.uint8).reshape(96, 64), format="yuv420p")
                frame.pts, frame.colorspace = i, value
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        (shown,) = read_frames(path, indices=[1])
        seen[tag] = shown.image[32, 32].astype(float)

    def rgb(kr: float, kb: float) -> np.ndarray:  # limited range, ITU-R BT.601/709
        luma, cb, cr = (y - 16) / 219, (u - 128) / 224, (v - 128) / 224
        r, b = luma + 2 * (1 - kr) * cr, luma + 2 * (1 - kb) * cb
        return np.clip([r, (luma - kr * r - kb * b) / (1 - kr - kb), b], 0, 1) * 255

    np.testing.assert_allclose(seen["bt709"], rgb(0.2126, 0.0722), atol=2)
    np.testing.assert_allclose(seen["smpte170m"], rgb(0.299, 0.114), atol=2)
    np.testing.assert_allclose(seen["none"], rgb(0.299, 0.114), atol=2)


def test_a_hidden_name_is_a_file_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_clip(tmp_path / "a.mp4", counter_frames(3)).read_bytes()
    monkeypatch.chdir(tmp_path)
    names = [
        "-x.mp4",
        "concat:a.mp4|b.mp4",
        "http:..a.mp4",
        "pipe:0",
        "file:x",
        " sp ace'\".mp4",
        "new\nline.mp4",
        "%05d.mp4",
        "a?b#c.mp4",
        "ü.mp4",
        b"not\xff\xfeutf8.mp4".decode(errors="surrogateescape"),
    ]
    for name in names:
        Path(name).write_bytes(data)
        assert len(list(read_frames(name, every=1))) == 3, name
        assert len(list(read_frames(Path(name), every=1))) == 3, name


def test_reading_changes_nothing(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", counter_frames(3))
    before = path.read_bytes(), path.stat().st_mtime_ns, sorted(tmp_path.iterdir())
    list(read_frames(path))
    probe(path)
    assert before == (path.read_bytes(), path.stat().st_mtime_ns, sorted(tmp_path.iterdir()))


def test_importing_the_room_is_light() -> None:
    heavy = ("torch", "scipy", "pyarrow")
    code = f"import mrigan.video, sys; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
