"""Damage inside a file of full length: what is given out is as in the whole file, at its index; the rest is counted."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from mrigan.errors import InputError
from mrigan.video import BrokenVideo, DamagedVideo, PyAvSource, TruncatedVideo, probe, read_frames
from tests.clips import counter_frames, read_counter, write_clip

COUNT, GROUP = 72, 12
X264 = {"g": str(GROUP), "bf": "2", "crf": "18"}
X265 = {"x265-params": f"log-level=none:keyint={GROUP}:bframes=3"}
VPX = {"deadline": "realtime", "cpu-used": "8", "g": str(GROUP), "b": "2M"}
CODECS = {
    "h264": ("libx264", X264),
    "open": ("libx264", X264 | {"x264-params": f"keyint={GROUP}:open-gop=1:bframes=3"}),
    "refresh": ("libx264", {"crf": "18", "x264-params": f"keyint={GROUP}:intra-refresh=1:bframes=0"}),
    "hevc": ("libx265", X265),
    "mpeg4": ("mpeg4", {"g": str(GROUP), "bf": "2", "qmin": "2", "qmax": "4", "sc_threshold": "1000000000"}),
    "mpeg2": ("mpeg2video", {"g": str(GROUP), "bf": "2", "qmin": "2", "qmax": "4", "sc_threshold": "1000000000"}),
    "mjpeg": ("mjpeg", {"qmin": "2", "qmax": "4"}),
    "vp8": ("libvpx", VPX),
    "vp9": ("libvpx-vp9", VPX),
    "flv1": ("flv", {"g": str(GROUP), "qmin": "2", "qmax": "4"}),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], tuple[Path, dict[int, np.ndarray]]]:
    """A textured clip by codec and container, and its frames; each is made once."""
    folder = tmp_path_factory.mktemp("whole")
    rng = np.random.default_rng(0)
    texture = rng.integers(-24, 24, (128, 192 + 3 * COUNT, 1))
    scenes = [
        np.clip(frame.astype(int) + texture[:, 3 * i : 3 * i + 192], 0, 255).astype(np.uint8)
        for i, frame in enumerate(counter_frames(COUNT))
    ]
    made: dict[tuple[str, str], tuple[Path, dict[int, np.ndarray]]] = {}

    def make(kind: str, suffix: str) -> tuple[Path, dict[int, np.ndarray]]:
        if (kind, suffix) not in made:
            codec, options = CODECS[kind]
            pix_fmt = "yuvj420p" if kind == "mjpeg" else "yuv420p"
            path = write_clip(
                folder / f"{kind}.{suffix}", scenes, codec=codec, options=options, pix_fmt=pix_fmt, movflags="faststart"
            )
            frames = {f.index: f.image for f in read_frames(path, every=1)}
            assert [read_counter(image) for image in frames.values()] == list(range(COUNT))
            made[kind, suffix] = path, frames
        return made[kind, suffix]

    return make


def read(path: Path, every: int = 1) -> tuple[dict[int, np.ndarray], InputError | None]:
    """What can be read, and the error at its end."""
    seen: dict[int, np.ndarray] = {}
    try:
        for frame in read_frames(path, every):
            seen[frame.index] = frame.image
    except InputError as error:
        return seen, error
    return seen, None


def assert_true(seen: dict[int, np.ndarray], frames: dict[int, np.ndarray]) -> None:
    """Each frame is that of the whole file."""
    assert seen
    wrong = {i: np.abs(image.astype(int) - frames[i]).mean() for i, image in seen.items()}
    assert {i: value for i, value in wrong.items() if value > 0.05} == {}


def packets_of(path: Path) -> list[tuple[int, int, bool]]:
    """(position, bytes, key) of each packet."""
    with av.open(str(path)) as container:
        return [(p.pos, p.size, p.is_keyframe) for p in container.demux(video=0) if p.size and p.pos is not None]


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [
        ("h264", "mp4"),
        ("h264", "mkv"),
        ("h264", "ts"),
        ("open", "mkv"),
        ("open", "mp4"),
        ("refresh", "mp4"),
        ("mpeg4", "mp4"),
        ("mpeg4", "avi"),
        ("mpeg2", "ts"),
        ("flv1", "flv"),
    ],
)
def test_what_is_predicted_from_a_damaged_frame_is_not_given_out(
    tmp_path: Path, whole: Callable, kind: str, suffix: str
) -> None:
    """The decoder marks the frame whose bytes are wrong; what follows it looks smeared, and is marked by nobody."""
    path, frames = whole(kind, suffix)
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(1)
    for number in (GROUP + 4, 3 * GROUP + 5):
        pos, size, _ = packets_of(path)[number]
        for at in rng.integers(pos + size // 2, pos + size, 8):
            data[at] ^= int(rng.integers(1, 255))
    bad = tmp_path / path.name
    bad.write_bytes(data)
    with av.open(str(bad)) as container:
        smeared = {i: f.to_ndarray(format="rgb24") for i, f in enumerate(container.decode(video=0))}
    seen, error = read(bad)
    assert_true(seen, frames)
    assert isinstance(error, DamagedVideo)
    lost = COUNT - len(seen)
    assert f"{lost} of {COUNT} frames are damaged" in error.what
    assert error.frames_read == len(seen)
    assert set(range(GROUP)) <= set(seen)
    if kind != "refresh":  # (a part of each frame is refreshed: it takes longest)
        assert set(range(2 * GROUP + 3, 3 * GROUP)) <= set(seen), "from the next key frame on all is well"
    assert lost < len(frames) * (0.75 if kind == "refresh" else 0.5)
    assert any(np.abs(smeared[i].astype(int) - frames[i]).mean() > 0.5 for i in set(smeared) - set(seen))
    some, _ = read(bad, every=5)
    assert set(some) >= {i for i in seen if i % 5 == 0}  # what is not decoded is not seen to be damaged
    assert_true(some, frames)


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [
        ("h264", "mp4"),
        ("h264", "ts"),
        ("hevc", "mp4"),
        ("hevc", "ts"),
        ("mpeg4", "avi"),
        ("mpeg4", "mp4"),
        ("mpeg2", "mpg"),
        ("mjpeg", "mov"),
        ("mjpeg", "avi"),
        ("vp9", "mp4"),
        ("flv1", "flv"),
    ],
)
def test_a_hole_in_the_middle_is_counted_and_shifts_nothing(
    tmp_path: Path, whole: Callable, kind: str, suffix: str
) -> None:
    """40 to 60 % of the bytes are zeros: a bad sector, a download by parts."""
    path, frames = whole(kind, suffix)
    data = path.read_bytes()
    start, end = int(len(data) * 0.4), int(len(data) * 0.6)
    bad = tmp_path / path.name
    bad.write_bytes(data[:start] + bytes(end - start) + data[end:])
    seen, error = read(bad)
    assert_true(seen, frames)
    assert isinstance(error, DamagedVideo)
    assert f"{COUNT - len(seen)} of {COUNT} frames are damaged" in error.what
    assert min(seen) == 0
    assert max(seen) == COUNT - 1
    assert COUNT // 5 <= COUNT - len(seen) <= COUNT // 2
    some, _ = read(bad, every=5)
    assert set(some) == {i for i in seen if i % 5 == 0}


@pytest.mark.parametrize(
    ("kind", "suffix", "message"),
    [
        ("h264", "mp4", "of 72 frames are damaged"),
        ("h264", "ts", "the last .* bytes of the file are zeros, about"),
        ("hevc", "ts", "the last .* bytes of the file are zeros, about"),
        ("mpeg2", "mpg", "the last .* bytes of the file are zeros, about"),
        ("flv1", "flv", "cut off"),
        ("h264", "mkv", "cut off"),
        ("vp9", "webm", "cut off"),
        ("mpeg4", "avi", "cut off"),
    ],
)
def test_a_download_that_allocates_first(tmp_path: Path, whole: Callable, kind: str, suffix: str, message: str) -> None:
    path, frames = whole(kind, suffix)
    data = path.read_bytes()
    bad = tmp_path / path.name
    bad.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))
    seen, error = read(bad)
    assert_true(seen, frames)
    assert isinstance(error, BrokenVideo)
    assert re.search(message, error.what)
    assert list(seen) == list(range(len(seen)))
    some, again = read(bad, every=10)
    assert set(some) == {i for i in seen if i % 10 == 0}
    assert again is not None
    assert again.what == error.what
    assert COUNT // 4 < len(seen) < COUNT * 3 // 4
    if "about" in error.what:
        about = int(error.what.split("about ")[1].split()[0])
        assert about + len(seen) == pytest.approx(COUNT, rel=0.25)


@pytest.mark.parametrize("kind", ["h264", "hevc", "mpeg2"])
def test_lost_packets_of_a_transport_stream(tmp_path: Path, whole: Callable, kind: str) -> None:
    """What a bad reception loses: some packets of 188 bytes, once a part of a frame, once several frames."""
    path, frames = whole(kind, "ts")
    data = path.read_bytes()
    places = [pos for pos, _, _ in packets_of(path)]
    one, several = places[GROUP + 4] + 188, (places[3 * GROUP + 4] + 188, places[3 * GROUP + 7] + 188)
    bad = tmp_path / path.name
    bad.write_bytes(data[:one] + data[one + 376 : several[0]] + data[several[1] :])
    seen, error = read(bad)
    assert_true(seen, frames)
    assert isinstance(error, DamagedVideo)
    assert f"{COUNT - len(seen)} of {COUNT} frames" in error.what
    assert {*range(GROUP), *range(2 * GROUP + 3, 3 * GROUP), *range(4 * GROUP + 3, COUNT)} <= set(seen)
    assert len(seen) < COUNT - 6


def test_segments_that_were_downloaded_one_by_one_are_whole(tmp_path: Path, whole: Callable) -> None:
    """A stream of segments, each with packet counters of its own, joined as downloaders do: nothing is lost."""
    path, _ = whole("h264", "ts")
    both = tmp_path / "both.ts"
    both.write_bytes(path.read_bytes() * 2)
    seen, error = read(both)
    assert error is None
    assert [read_counter(image) for image in seen.values()] == [*range(COUNT), *range(COUNT)]


@pytest.mark.parametrize("kind", ["h264", "hevc", "mpeg2"])
def test_a_recording_that_begins_in_the_middle_of_a_group_is_whole(tmp_path: Path, whole: Callable, kind: str) -> None:
    """What is before the first key frame was never shown to anybody: nothing is lost, and nothing is cut off."""
    path, frames = whole(kind, "ts")
    tuned_in = tmp_path / path.name
    tuned_in.write_bytes(path.read_bytes()[packets_of(path)[4][0] :])
    seen, error = read(tuned_in)
    assert error is None
    assert list(seen) == list(range(len(seen)))
    assert COUNT - GROUP - 2 <= len(seen) <= COUNT - GROUP
    assert_true({i + COUNT - len(seen): image for i, image in seen.items()}, frames)


def test_the_first_group_is_a_hole(tmp_path: Path, whole: Callable) -> None:
    for kind in ("h264", "hevc"):
        path, frames = whole(kind, "mp4")
        data = bytearray(path.read_bytes())
        for pos, size, _ in packets_of(path)[:8]:
            data[pos : pos + size] = bytes(size)
        bad = tmp_path / path.name
        bad.write_bytes(data)
        seen, error = read(bad)
        assert_true(seen, frames)
        assert isinstance(error, DamagedVideo)
        assert set(range(GROUP + 3, COUNT)) <= set(seen)


def test_a_file_in_which_nothing_is_sound(tmp_path: Path, whole: Callable) -> None:
    path, _ = whole("mjpeg", "mov")
    data = bytearray(path.read_bytes())
    for pos, size, _ in packets_of(path):
        data[pos : pos + size] = bytes(size)
    bad = tmp_path / "none.mov"
    bad.write_bytes(data)
    seen, error = read(bad)
    assert not seen
    assert not isinstance(error, BrokenVideo)
    assert f"no frame can be decoded: {COUNT} of {COUNT} frames are damaged" in str(error)


def test_a_cut_file_that_is_damaged_too_says_both(tmp_path: Path, whole: Callable) -> None:
    path, frames = whole("h264", "mp4")
    data = bytearray(path.read_bytes())
    pos, size, _ = packets_of(path)[GROUP + 4]
    data[pos + size // 2 : pos + size] = bytes(size - size // 2)
    bad = tmp_path / "a.mp4"
    bad.write_bytes(data[: len(data) * 7 // 10])
    seen, error = read(bad)
    assert_true({i: image for i, image in seen.items() if i < max(seen)}, frames)
    assert isinstance(error, TruncatedVideo)
    assert "cut off" in error.what
    assert "frames are damaged" in error.what


def test_frames_that_are_left_out_on_purpose_are_not_lost(tmp_path: Path, whole: Callable) -> None:
    """Frames that no other refers to may be spared; packed B frames and frames that are not coded give no picture."""
    path, _ = whole("h264", "mp4")
    assert sum(1 for _ in PyAvSource().decode(path, {0, 31}.__contains__)) < COUNT  # and no error at the end
    plain = write_clip(tmp_path / "a.mp4", counter_frames(9), codec="mpeg4", options={"g": "4"})
    skipping = tmp_path / "b.mkv"
    with av.open(str(plain)) as source, av.open(str(skipping), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(p for p in source.demux(video=0) if p.size):
            again = av.Packet(bytes(packet))
            again.stream, again.time_base, again.is_keyframe = stream, packet.time_base, packet.is_keyframe
            again.pts = again.dts = packet.pts
            if number == 5:  # a P frame that is not coded: the one before is shown again
                again = av.Packet(b"\0\0\1\xb6\x50\x20\0\0")
                again.stream, again.time_base, again.pts, again.dts = stream, packet.time_base, packet.pts, packet.dts
            out.mux(again)
    seen, error = read(skipping)
    assert error is None
    assert len(seen) == 8


def test_probing_a_damaged_file_gives_its_properties(tmp_path: Path, whole: Callable) -> None:
    path, _ = whole("h264", "mp4")
    data = path.read_bytes()
    bad = tmp_path / "a.mp4"
    bad.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))
    assert probe(bad) == probe(path)
