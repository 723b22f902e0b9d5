"""Bad input: a clear error, the good frames kept, no other file read, never a hang."""

from __future__ import annotations

import logging
import os
import struct
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from mrigan.errors import InputError
from mrigan.video import DamagedVideo, TruncatedVideo, probe, read_frames
from mrigan.video.container import MAX_SIDE
from tests.clips import counter_frames, read_counter, write_audio, write_clip


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    return write_clip(folder / "good.mp4", counter_frames(60), movflags="faststart", options={"g": "12"})


def refused(path: Path, match: str) -> None:
    """Both ways in raise the same kind of error, which names the file and what to do."""
    for act in (lambda: list(read_frames(path)), lambda: probe(path)):
        with pytest.raises(InputError, match=match) as caught:
            act()
        assert not isinstance(caught.value, TruncatedVideo)
        assert caught.value.where


SDP = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n"
HLS = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:10\n#EXTINF:10.0,\n{}\n#EXT-X-ENDLIST\n"
PLAYLISTS = {
    "ffconcat": "ffconcat version 1.0\nfile '{}'\n",
    "concat without its header": "file '{}'\n",
    "m3u8": HLS,
    "sdp": SDP,
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet>'
    '<Representation id="0" mimeType="video/mp4"><BaseURL>{}</BaseURL></Representation></AdaptationSet></Period></MPD>',
    "text": "{} is not a video\n",
    "script": "#!/bin/sh\ncat {}\n",
}


@pytest.mark.parametrize("kind", PLAYLISTS)
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi", "m3u8", "ffconcat", "sdp", "mpd"])
@pytest.mark.parametrize("absolute", [True, False])
def test_a_playlist_is_no_video_and_opens_no_other_file(
    tmp_path: Path, good: Path, kind: str, suffix: str, absolute: bool
) -> None:
    target = tmp_path / "other.mp4"
    target.write_bytes(good.read_bytes())
    path = tmp_path / f"list.{suffix}"
    path.write_text(PLAYLISTS[kind].format(target if absolute else target.name))
    os.utime(target, (1, 1))
    refused(path, "not a readable video")
    assert target.stat().st_atime == 1  # nobody read it


def test_the_playlists_of_this_test_are_real_ones(tmp_path: Path, good: Path) -> None:
    """Without the guard FFmpeg does read the other file: the tests above would fail if the guard were gone."""
    (tmp_path / "other.mp4").write_bytes(good.read_bytes())
    path = tmp_path / "list.mp4"
    path.write_text(PLAYLISTS["ffconcat"].format("other.mp4"))
    with av.open(str(path)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 60


def test_a_video_cannot_point_to_another_file(tmp_path: Path, good: Path) -> None:
    """The guard holds inside real containers, too: no protocol but `file`, no nested playlist."""
    path = tmp_path / "x.mp4"
    path.write_bytes(HLS.format(good).encode() + good.read_bytes())
    with pytest.raises(InputError):
        list(read_frames(path))


@pytest.mark.parametrize(
    ("content", "match"),
    [(b"", "empty"), (b"\0" * 4096, "not a readable"), (b"\x89PNG\r\n\x1a\n" + b"x" * 64, "not a readable")],
)
def test_no_video_at_all(tmp_path: Path, content: bytes, match: str) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(content)
    refused(path, match)


def test_a_still_picture_is_no_video(tmp_path: Path) -> None:
    for suffix in (".png", ".jpg", ".mp4"):
        path = tmp_path / f"x{suffix}"
        path.write_bytes(cv2.imencode(".jpg", np.zeros((64, 64, 3), np.uint8))[1].tobytes())
        refused(path, "not a readable video")


def test_folders_pipes_devices_and_missing_files(tmp_path: Path) -> None:
    refused(tmp_path / "none.mp4", "no such file")
    refused(tmp_path, "regular file")
    os.mkfifo(tmp_path / "pipe.mp4")
    refused(tmp_path / "pipe.mp4", "regular file")  # opening it would wait for ever
    (tmp_path / "zero.mp4").symlink_to("/dev/zero")
    refused(tmp_path / "zero.mp4", "regular file")
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    refused(tmp_path / "loop.mp4", ".")
    refused(Path("a\0b.mp4"), "null")


def test_sound_without_pictures(tmp_path: Path) -> None:
    refused(write_audio(tmp_path / "sound.mp4"), "no video stream")
    cover = cv2.imencode(".jpg", np.full((64, 64, 3), 200, np.uint8))[1].tobytes()
    refused(write_audio(tmp_path / "cover.m4a", cover=cover), "only a cover picture")


def test_a_cover_beside_a_video_is_not_taken_for_it(tmp_path: Path) -> None:
    path = tmp_path / "both.mp4"
    cover = cv2.imencode(".jpg", np.full((400, 600, 3), 200, np.uint8))[1].tobytes()
    source = write_clip(tmp_path / "a.mp4", counter_frames(5))
    with av.open(str(path), "w") as out, av.open(str(source)) as inside:
        picture = out.add_stream("mjpeg", rate=1)
        picture.width, picture.height, picture.pix_fmt = 600, 400, "yuvj420p"
        picture.disposition = av.stream.Disposition.attached_pic
        video = out.add_stream_from_template(inside.streams.video[0])
        packet = av.Packet(cover)
        packet.stream, packet.pts, packet.dts, packet.is_keyframe = picture, 0, 0, True
        out.mux(packet)
        for packet in inside.demux(video=0):
            if packet.dts is not None:
                packet.stream = video
                out.mux(packet)
    assert [read_counter(f.image) for f in read_frames(path, every=1)] == [0, 1, 2, 3, 4]


def test_an_mp4_without_its_index_is_refused(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", counter_frames(60))
    whole = path.read_bytes()
    unfinished = whole.replace(b"moov", b"junk")
    for name, content in (("a.mp4", whole[:-200]), ("b.mp4", unfinished)):  # moov lies at the end
        (tmp_path / name).write_bytes(content)
        refused(tmp_path / name, "not a readable video.*moov atom not found")
        with pytest.raises(InputError) as caught:
            probe(tmp_path / name)
        assert "copy or download it again" in caught.value.fix
    half = whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2)  # a download that was not finished
    path.write_bytes(half)
    refused(path, "moov atom not found")


@pytest.mark.parametrize("name", ["cut.mp4", "cut.mkv", "cut.webm", "cut.avi"])
def test_a_cut_off_clip_gives_its_good_frames_first(tmp_path: Path, name: str, good: Path) -> None:
    codecs = {"webm": "libvpx", "avi": "mpeg4"}
    codec = codecs.get(name[4:], "libx264")
    options = {"deadline": "realtime"} if codec == "libvpx" else {"g": "12"}
    movflags = "faststart" if name.endswith("mp4") else ""
    path = write_clip(tmp_path / name, counter_frames(60), codec=codec, options=options, movflags=movflags)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 7 // 10])
    seen = []
    with pytest.raises(TruncatedVideo, match="cut off") as caught:
        seen.extend((f.index, read_counter(f.image)) for f in read_frames(path, every=1))
    assert len(seen) == caught.value.frames_read > 10
    assert all(index == counter for index, counter in seen)
    assert isinstance(caught.value, InputError)


def test_every_prefix_of_a_file_ends_well(tmp_path: Path, good: Path) -> None:
    """Whatever is cut off, reading ends with an error of ours, and the indices stay true."""
    data = good.read_bytes()
    path = tmp_path / "part.mp4"
    for size in range(1, len(data), max(len(data) // 60, 1)):
        path.write_bytes(data[:size])
        seen = []
        with pytest.raises(InputError):
            seen.extend((f.index, read_counter(f.image)) for f in read_frames(path, every=1))
        assert all(index == counter for index, counter in seen[:-1])


def test_noise_in_a_file_ends_well(tmp_path: Path, good: Path) -> None:
    """Flipped bytes anywhere: frames, or an error of ours, in finite time; a frame that is sound has its own index."""
    rng = np.random.default_rng(5)
    data = np.frombuffer(good.read_bytes(), np.uint8)
    path = tmp_path / "noise.mp4"
    for _ in range(40):
        broken = data.copy()
        broken[rng.integers(0, len(data), 12)] = rng.integers(0, 256, 12)
        path.write_bytes(broken.tobytes())
        try:
            frames = sum(1 for _ in read_frames(path, every=1))
        except InputError:
            continue
        assert frames <= 1000


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("a.mp4", {"options": {"g": "10", "bf": "2"}}),
        ("a.mkv", {"options": {"g": "10", "bf": "2"}}),
        ("a.mov", {"codec": "mjpeg", "pix_fmt": "yuvj420p"}),
        ("a.webm", {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8", "g": "10"}}),
        ("a.avi", {"codec": "ffv1", "pix_fmt": "yuv444p"}),
    ],
)
def test_a_frame_that_cannot_be_decoded_does_not_shift_the_later_ones(
    tmp_path: Path, name: str, settings: dict, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_clip(tmp_path / name, counter_frames(40), **settings)
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(video=0) if p.size]
        order = sorted(packets, key=lambda p: p.pts if p.pts is not None else p.dts)
        broken = [order[15], order[16], order[20]]
        data = bytearray(path.read_bytes())
        for packet in broken:
            start = bytes(data).index(bytes(packet), packet.pos)
            data[start : start + packet.size] = b"\xff" * packet.size
    path.write_bytes(bytes(data))
    seen: dict[int, int] = {}
    with caplog.at_level(logging.WARNING), pytest.raises(DamagedVideo, match=r"of 40 frames are damaged"):
        seen.update((f.index, read_counter(f.image)) for f in read_frames(path, every=1))
    assert set(range(40)) - set(seen) <= set(range(10, 30))  # what depends on a lost frame is lost, too
    assert all(index == counter for index, counter in seen.items())
    assert "cannot be decoded" in caplog.text
    spared: dict[int, int] = {}
    with pytest.raises(DamagedVideo):
        spared.update((f.index, read_counter(f.image)) for f in read_frames(path, every=3))
    assert {i for i in seen if i % 3 == 0} <= set(spared)
    assert all(index == counter for index, counter in spared.items())


def test_a_first_frame_that_cannot_be_decoded_keeps_its_number(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mov", counter_frames(12), codec="mjpeg", pix_fmt="yuvj420p")
    with av.open(str(path)) as container:
        first = next(container.demux(video=0))
        data = bytearray(path.read_bytes())
        start = bytes(data).index(bytes(first))
        data[start : start + first.size] = b"\0" * first.size
    path.write_bytes(bytes(data))
    seen = []
    with pytest.raises(DamagedVideo, match="1 of 12 frames"):
        seen.extend((f.index, read_counter(f.image)) for f in read_frames(path, every=1))
    assert seen == [(i, i) for i in range(1, 12)]


def test_absurd_sizes_are_refused_before_memory_is_spent(tmp_path: Path) -> None:
    path = write_clip(
        tmp_path / "wide.mkv", [np.zeros((16, MAX_SIDE + 16, 3), np.uint8)] * 2, codec="ffv1", pix_fmt="yuv420p"
    )
    refused(path, f"{MAX_SIDE} px a side")
    small = write_clip(tmp_path / "a.avi", counter_frames(3, (64, 64)), codec="rawvideo", pix_fmt="yuv420p")
    data = small.read_bytes()
    at = data.index(b"strf") + 12
    assert struct.unpack_from("<ii", data, at) == (64, 64)
    small.write_bytes(data[:at] + struct.pack("<ii", 60_000, 60_000) + data[at + 8 :])
    with pytest.raises(InputError, match=r"px a side|no frame"):
        list(read_frames(small))


def test_a_video_without_frames(tmp_path: Path) -> None:
    path = tmp_path / "none.mkv"
    source = write_clip(tmp_path / "a.mp4", counter_frames(3))
    with av.open(str(path), "w") as out, av.open(str(source)) as inside:
        out.add_stream_from_template(inside.streams.video[0])
        out.start_encoding()
    with pytest.raises(InputError, match=r"no frame|not a readable video"):
        list(read_frames(path))


def test_a_clip_whose_frames_change_size(tmp_path: Path) -> None:
    """Two H.264 streams joined: the later frames are shown at the first one's size."""
    parts = [write_clip(tmp_path / f"{w}.ts", counter_frames(20, (w, h))) for w, h in ((192, 128), (96, 64))]
    path = tmp_path / "both.ts"
    path.write_bytes(b"".join(p.read_bytes() for p in parts))
    frames = list(read_frames(path, every=1))
    assert {f.image.shape for f in frames} == {(128, 192, 3)}
    assert [(f.index, read_counter(f.image)) for f in frames] == [(i, i % 20) for i in range(40)]
    assert all(b.time > a.time for a, b in pairwise(frames))


def test_a_container_that_repeats_itself_is_left(tmp_path: Path) -> None:
    """An mp4 whose index names the same few bytes a million times is a bomb, not a video."""
    path = write_clip(tmp_path / "bomb.mp4", counter_frames(8), codec="mjpeg", pix_fmt="yuvj420p")
    data = path.read_bytes()
    with av.open(str(path)) as container:
        packet = next(container.demux(video=0))
        size, payload = packet.size, bytes(packet)
    count = 1_000_000

    def box(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body) + 8) + kind + body

    def replace(tree: bytes, kind: bytes, body: bytes) -> bytes:
        """Put `body` in place of the box `kind`, and mend the sizes of the boxes around it."""
        out, at = b"", 0
        while at < len(tree):
            length, name = struct.unpack_from(">I4s", tree, at)
            inner = tree[at + 8 : at + length]
            if name == kind:
                inner = body
            elif name in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
                inner = replace(inner, kind, body)
            out += box(name, inner)
            at += length
        return out

    start = data.index(payload)
    moov = data[data.index(b"moov") - 4 :]
    moov = moov[: struct.unpack_from(">I", moov)[0]]
    moov = replace(moov, b"stsz", struct.pack(">III", 0, size, count))
    moov = replace(moov, b"stts", struct.pack(">IIII", 0, 1, count, 512))
    moov = replace(moov, b"stsc", struct.pack(">IIIII", 0, 1, 1, 1, 1))
    moov = replace(moov, b"stco", struct.pack(f">II{count}I", 0, count, *[start] * count))
    moov = replace(moov, b"edts", b"")
    # The original index must not be found any more.
    body = data[: data.index(b"moov") - 4]
    path.write_bytes(body + moov)
    bomb = path.stat().st_size
    with pytest.raises(TruncatedVideo, match="repeats itself") as caught:
        list(read_frames(path, every=100_000))
    assert caught.value.frames_read * size <= 8 * bomb


def test_no_output_of_the_decoder_reaches_the_terminal(tmp_path: Path, good: Path) -> None:
    path = tmp_path / "cut.mp4"
    path.write_bytes(good.read_bytes()[:-500])
    code = (
        "import sys\nfrom mrigan.video import read_frames, TruncatedVideo\n"
        "try:\n    list(read_frames(sys.argv[1]))\nexcept TruncatedVideo as error:\n    sys.exit(error.frames_read)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode > 20
    assert done.stdout == ""
    assert all("cannot be decoded" in line for line in done.stderr.splitlines())
