"""Fakes against their original: the same moment, the same window, or no pair."""

from __future__ import annotations

import weakref
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from mrigan.config import PairsConfig
from mrigan.errors import InputError
from mrigan.video import Decoded, FakeClip, Frame, changed, crop, follow, lags, read_frames
from mrigan.video.geometry import border_difference, grey_rim, rim
from mrigan.video.source import PyAvSource
from tests.clips import write_clip
from tests.video.pairing import pair_frames

CONFIG = PairsConfig()
EVERY = range(0, 40, 5)
FACE = (70.0, 40.0, 120.0, 100.0)  # where the fakes differ


def scene(count: int = 40, size: tuple[int, int] = (192, 144), seed: int = 0) -> list[np.ndarray]:
    """A camera that pans over a smooth landscape, 2–4 px a frame."""
    rng = np.random.default_rng(seed)
    w, h = size
    small = rng.integers(0, 256, (h // 8, (w + 200) // 8, 1), dtype=np.uint8)
    tint = rng.integers(0, 40, (h // 8, (w + 200) // 8, 3), dtype=np.uint8)
    wide = cv2.resize(np.maximum(small, tint), (w + 200, h), interpolation=cv2.INTER_CUBIC)
    return [np.ascontiguousarray(wide[:, 3 * i + i % 3 : 3 * i + i % 3 + w]) for i in range(count)]


def forged(image: np.ndarray) -> np.ndarray:
    """The same frame with another face."""
    out = image.copy()
    x0, y0, x1, y1 = (int(v) for v in FACE)
    out[y0:y1, x0:x1] = 255 - out[y0:y1, x0:x1]
    return out


ORIGINAL = scene()
MJPEG = {"codec": "mjpeg", "pix_fmt": "yuvj420p", "options": {"qmin": "1", "qmax": "3"}}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("original") / "o.mp4", ORIGINAL, options={"crf": "12"})


def write(tmp_path: Path, frames: list[np.ndarray], **settings) -> Path:
    return write_clip(tmp_path / "fake.mp4", frames, **({"options": {"crf": "20"}} | settings))


def reasons(original: Path, fake: Path) -> dict[int, str]:
    return {p.index: p.reason for p in pair_frames(original, fake, EVERY, CONFIG)}


def offsets(original: Path, fake: Path) -> Counter[int | str]:
    """How many pairs lie how many frames apart, and how many frames have none for which reason."""
    pairs = pair_frames(original, fake, EVERY, CONFIG)
    return Counter(p.reason or p.fake_index - p.index for p in pairs)


def test_a_fake_of_the_same_size_pairs_frame_by_frame(tmp_path: Path, original: Path) -> None:
    fake = write(tmp_path, [forged(f) for f in ORIGINAL])
    pairs = list(pair_frames(original, fake, EVERY, CONFIG))
    assert [p.index for p in pairs] == list(EVERY)
    for p in pairs:
        assert (p.reason, p.fake_index, p.time) == ("", p.index, pytest.approx(p.index / 25))
        assert p.difference < CONFIG.border_difference
        assert p.original is not None
        assert p.fake is not None
        assert p.geometry is not None
        assert p.geometry.box(FACE) == FACE
        assert np.abs(p.original.astype(int) - ORIGINAL[p.index]).mean() < 5
        assert np.abs(p.fake.astype(int) - forged(ORIGINAL[p.index])).mean() < 5


@pytest.mark.parametrize("shift", [1, 2, 5, 12, -1, -2, -5, -12])
def test_a_fake_that_begins_some_frames_early_or_late_is_found(tmp_path: Path, original: Path, shift: int) -> None:
    frames = [forged(f) for f in ORIGINAL]
    moved = [frames[0]] * shift + frames if shift > 0 else frames[-shift:]
    found = offsets(original, write(tmp_path, moved))
    missing = sum(i + shift < 0 for i in EVERY)
    assert found[shift] == len(EVERY) - missing
    assert found["misaligned"] == (missing if shift < 0 else 0)


def test_lost_frames_on_the_way_change_the_offset(tmp_path: Path, original: Path) -> None:
    frames = [forged(f) for i, f in enumerate(ORIGINAL) if i not in {17, 18}]
    assert offsets(original, write(tmp_path, frames)) == {0: 4, -2: 4}


def test_another_clip_is_misaligned(tmp_path: Path, original: Path) -> None:
    assert set(reasons(original, write(tmp_path, scene(seed=5))).values()) == {"misaligned"}
    noise = list(np.random.default_rng(1).integers(0, 256, (40, 144, 192, 3), dtype=np.uint8))
    assert set(reasons(original, write(tmp_path, noise)).values()) == {"misaligned"}


def test_a_shorter_fake_ends_and_a_longer_one_is_used_as_far_as_it_goes(tmp_path: Path, original: Path) -> None:
    short = reasons(original, write(tmp_path, [forged(f) for f in ORIGINAL[:22]]))
    assert short == {i: "" if i < 22 else "ended" for i in EVERY}
    longer = reasons(original, write(tmp_path, [forged(f) for f in [*ORIGINAL, *ORIGINAL[::-1]]]))
    assert set(longer.values()) == {""}


@pytest.mark.parametrize(("window", "size"), [((8, 0), (176, 144)), ((8, 6), (176, 132)), ((3, 0), (186, 144))])
def test_a_cut_out_fake_is_compared_in_its_window(
    tmp_path: Path, original: Path, window: tuple[int, int], size: tuple[int, int]
) -> None:
    (dx, dy), (w, h) = window, size
    fake = write(tmp_path, [forged(f)[dy : dy + h, dx : dx + w] for f in ORIGINAL])
    for p in pair_frames(original, fake, EVERY, CONFIG):
        assert p.reason == ""
        assert p.geometry is not None
        assert p.original is not None
        assert p.fake is not None
        assert (p.geometry.window, p.geometry.size, p.geometry.scale) == (window, size, (1.0, 1.0))
        assert p.original.shape == p.fake.shape == (h, w, 3)
        box = p.geometry.box(FACE)
        assert box == (FACE[0] - dx, FACE[1] - dy, FACE[2] - dx, FACE[3] - dy)
        np.testing.assert_allclose(crop(p.original, box), crop(ORIGINAL[p.index], FACE), atol=40)
        assert p.geometry.box((0.0, 40.0, 12.0, 80.0)) is None  # a face that the window cuts


@pytest.mark.parametrize("size", [(96, 72), (128, 96), (288, 216), (160, 144)])
def test_a_scaled_fake_is_compared_at_the_smaller_size(tmp_path: Path, original: Path, size: tuple[int, int]) -> None:
    fake = write(tmp_path, [cv2.resize(forged(f), size, interpolation=cv2.INTER_AREA) for f in ORIGINAL])
    small = size if size[0] < 192 else (192, 144)
    for p in pair_frames(original, fake, EVERY, CONFIG):
        assert p.reason == ""
        assert p.geometry is not None
        assert p.original is not None
        assert p.fake is not None
        assert p.geometry.size == small
        assert p.original.shape == p.fake.shape == (small[1], small[0], 3)
        sx, sy = small[0] / 192, small[1] / 144
        assert p.geometry.box(FACE) == pytest.approx((FACE[0] * sx, FACE[1] * sy, FACE[2] * sx, FACE[3] * sy))


def test_a_dark_beginning_does_not_settle_window_or_offset(tmp_path: Path) -> None:
    dark = [np.full_like(ORIGINAL[0], 16)] * 8
    original = write_clip(tmp_path / "o.mp4", [*dark, *ORIGINAL])
    fake = write(tmp_path, [f[:, 8:184] for f in [*dark, ORIGINAL[0], *map(forged, ORIGINAL)]])
    pairs = list(pair_frames(original, fake, range(0, 45, 3), CONFIG))
    bright = [p for p in pairs if p.index >= 9]
    assert {(p.reason, p.fake_index - p.index) for p in bright} == {("", 1)}
    assert {p.geometry.window for p in bright if p.geometry is not None} == {(8, 0)}


def test_boxes_beyond_the_picture_are_clipped_or_dropped(tmp_path: Path, original: Path) -> None:
    (pair, *_) = pair_frames(original, write(tmp_path, ORIGINAL), [0], CONFIG)
    assert pair.geometry is not None
    assert pair.geometry.box((-1.0, 10.0, 60.0, 80.0)) == (0, 10, 60, 80)
    assert pair.geometry.box((180.0, 10.0, 240.0, 80.0)) is None
    assert pair.geometry.box((300.0, 10.0, 340.0, 80.0)) is None


def test_a_bad_fake_says_so_for_every_frame(tmp_path: Path, original: Path) -> None:
    path = tmp_path / "fake.mp4"
    path.touch()
    assert set(reasons(original, path).values()) == {"unreadable: the file is empty (zero bytes)"}
    path.write_text("ffconcat version 1.0\nfile o.mp4\n")
    assert all(r.startswith("unreadable: not a readable video") for r in reasons(original, path).values())
    write(tmp_path, [forged(f) for f in ORIGINAL], **MJPEG, movflags="faststart")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    cut = reasons(original, path)
    assert cut[0] == cut[5] == cut[10] == ""
    assert cut[35].startswith("unreadable: cut off")
    with pytest.raises(InputError, match="no such file"):
        list(pair_frames(tmp_path / "none.mp4", path, EVERY, CONFIG))


def test_a_lost_frame_of_the_fake_is_not_replaced_by_its_neighbour(tmp_path: Path, original: Path) -> None:
    import av

    path = write(tmp_path, [forged(ORIGINAL[0])] * 40, **MJPEG)
    still = write_clip(tmp_path / "still.mp4", [ORIGINAL[0]] * 40)
    with av.open(str(path)) as container:
        packet = [p for p in container.demux(video=0) if p.size][10]
        data = bytearray(path.read_bytes())
        data[packet.pos : packet.pos + packet.size] = bytes(packet.size)
    path.write_bytes(bytes(data))
    seen = reasons(still, path)
    assert seen.pop(10).startswith("unreadable: this frame")
    assert set(seen.values()) == {""}


def _shaken(frames: list[np.ndarray]) -> list[np.ndarray]:
    """With texture, so that an encoder finds frames that no other refers to."""
    noise = np.random.default_rng(3).integers(-12, 13, (144, 400, 1))
    return [
        np.clip(f.astype(int) + noise[:, 7 * i % 200 : 7 * i % 200 + 192], 0, 255).astype(np.uint8)
        for i, f in enumerate(frames)
    ]


@pytest.mark.parametrize(
    ("fake", "step", "read"),
    [
        (list(range(40)), 5, 1),
        (list(range(40)), 3, 1),
        (list(range(33)), 5, 1),
        ([1, *range(40)], 5, 2),
        ([*range(1, 40)], 5, 2),
        ([*range(1, 40)], 3, 2),
        ([i for i in range(40) if i not in (21, 22)], 5, 2),
        ([i for i in range(40) if not 17 <= i < 28], 5, 2),
    ],
    ids=["whole", "whole, one side", "short", "late", "early", "early, one side", "two are gone", "many are gone"],
)
def test_neighbours_are_decoded_only_where_they_are_called_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake: list[int], step: int, read: int
) -> None:
    """What is found is the same as with every frame at hand; an aligned clip is read once and spares frames."""
    scenes = _shaken(ORIGINAL)
    options = {"bf": "3", "b-pyramid": "none", "crf": "6"}
    original = write_clip(tmp_path / "o.mp4", scenes, options=options)
    path = write_clip(tmp_path / "fake.mp4", [forged(scenes[i]) for i in fake], options=options)
    every, came = range(0, 40, step), list[int]()

    class Counting(PyAvSource):
        def decode(self, path, needed=None):
            came.append(0)
            frames = super().decode(path, needed)
            while True:
                try:
                    frame = next(frames)
                except StopIteration as end:
                    return end.value
                came[-1] += 1
                yield frame

    def decided(wanted) -> tuple[dict[int, int], frozenset[int], bool]:
        came.clear()
        with follow([path], CONFIG, wanted, Counting()) as (clip,):
            for frame in read_frames(original, indices=every):
                clip.pair(frame)
            decision = clip.decide()
        return decision.targets, decision.absent, decision.proven

    everything = decided(None)
    (decoded,) = came
    assert decided(every) == everything
    assert {fake[j] for j in everything[0].values()} <= set(everything[0])
    assert all(fake[j] == i for i, j in everything[0].items() if i >= 5)
    assert len(came) == read
    if read == 1:
        assert came[0] < 0.8 * decoded


def test_one_frame_of_a_fake_is_held_at_a_time(tmp_path: Path, original: Path) -> None:
    alive: list[weakref.ref[Decoded]] = []

    class Watched(PyAvSource):
        def decode(self, path, needed=None):
            for frame in super().decode(path, needed):
                alive.append(weakref.ref(frame))
                assert sum(one() is not None for one in alive) <= 3  # here, in the window, in the generator
                yield frame
            return len(alive)

    with follow([write(tmp_path, ORIGINAL)], CONFIG, source=Watched()) as (clip,):
        for frame in read_frames(original, every=7):
            clip.pair(frame)
        clip.decide()
    assert len(alive) == len(ORIGINAL)


def test_of_a_long_clip_fewer_points_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lags, "ROOM", 1000)
    sight = lags.Sight()
    values = np.arange(100, dtype=np.uint8)
    for index in range(40):
        sight.add(index, index / 25, values)
    assert sum(points.nbytes for points in sight.points.values()) <= 1000
    assert all((points == values[:: 1 << sight.thinned]).all() for points in sight.points.values())
    assert (sight.halved(sight.thinned + 1) == values[:: 2 << sight.thinned]).all()


def test_a_closed_family_leaves_no_file_open(tmp_path: Path, original: Path) -> None:
    import os

    fake = write(tmp_path, ORIGINAL)

    def opened() -> bool:
        links = (f"/proc/self/fd/{n}" for n in os.listdir("/proc/self/fd"))
        return any(os.path.realpath(link) == str(fake.resolve()) for link in links)

    with follow([fake], CONFIG) as (clip,):
        clip.pair(Frame(0, 0.0, ORIGINAL[0]))
        assert opened()
    assert not opened()
    assert FakeClip(fake, CONFIG).alignment.frames == {}


def test_the_outer_eighth_is_all_that_counts() -> None:
    a = np.full((160, 240), 100, np.uint8)
    b = a.copy()
    b[20:140, 30:210] = 0  # all but the outer eighth
    assert border_difference(rim(a), rim(b)) == 0
    b[:20] = 103
    ring = 160 * 240 - 120 * 180
    assert border_difference(rim(a), rim(b)) == pytest.approx(3 * 20 * 240 / ring)
    assert sum(part.size for part in rim(a)) == ring
    coloured = np.random.default_rng(0).integers(0, 256, (43, 57, 3), dtype=np.uint8)
    for part, whole in zip(grey_rim(coloured), rim(cv2.cvtColor(coloured, cv2.COLOR_RGB2GRAY)), strict=True):
        np.testing.assert_array_equal(part, whole)


def test_a_fake_face_must_differ_in_more_than_32_pixels_by_more_than_20() -> None:
    face = np.full((256, 256, 3), 100, np.uint8)
    for pixels, by, verdict in ((33, 21, True), (32, 255 - 100, False), (256 * 256, 20, False), (256 * 256, 21, True)):
        other = face.copy()
        other.reshape(-1, 3)[:pixels] += np.uint8(by)
        assert changed(face, other, CONFIG) is verdict
    assert not changed(face, face, CONFIG)


@pytest.mark.shared_data
def test_known_pairs_of_public_data(shared_data: Path) -> None:
    """A cut-out FaceForensics pair, and the Celeb-DF pair that drifts away after about frame 150."""
    ff = shared_data / "faceforensics"
    (pair,) = pair_frames(
        ff / "original_sequences/youtube/c40/videos/469.mp4",
        ff / "manipulated_sequences/NeuralTextures/c40/videos/469_481.mp4",
        [20],
        CONFIG,
    )
    assert pair.reason == ""
    assert pair.geometry is not None
    assert (pair.geometry.window, pair.geometry.size) == ((11, 0), (832, 480))
    celeb = shared_data / "celeb-df-v2"
    wanted = [*range(0, 140, 20), *range(150, 300, 30)]
    drifting = {
        p.index: p.reason
        for p in pair_frames(
            celeb / "Celeb-real/id60_0003.mp4", celeb / "Celeb-synthesis/id60_id61_0003.mp4", wanted, CONFIG
        )
    }
    assert drifting == {i: "" if i < 140 else "misaligned" for i in wanted}
