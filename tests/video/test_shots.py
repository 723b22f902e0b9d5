"""One person never holds two people: cuts, fades, small pictures, people who change places; and what is no cut."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import pytest

from mrigan.config import FacesConfig
from mrigan.video import Detection, FaceDetector, find_faces, read_frames
from mrigan.video.appearance import look_of, shot_difference, shot_of, small_of, unlikeness
from mrigan.video.tracks import GAP, Tracker
from tests.clips import write_clip
from tests.packing.videos import portraits

STEP = 0.4  # seconds: every 10th frame at 25 fps
Shown = list[tuple[tuple[float, float, float, float], str]]  # boxes and whose face is in them
Sample = tuple[np.ndarray, Shown]

COLLINS, HOPPER = ([p.frames(60)[i] for i in range(0, 60, 6)] for p in portraits())


def box(i: int) -> tuple[float, float, float, float]:
    """Where the face is in the i-th sample of either portrait: the camera pans."""
    return 110.0 - 6 * i, 50.0 - 3 * i, 198.0 - 6 * i, 160.0 - 3 * i


def alone(who: str, start: int, count: int) -> list[Sample]:
    frames = {"collins": COLLINS, "hopper": HOPPER}[who]
    return [(frames[i], [(box(i), who)]) for i in range(start, start + count)]


def wall() -> np.ndarray:
    """What is behind them: a cupboard, a lamp, and light from one side."""
    image = np.tile(np.linspace(90, 150, 320)[None, :, None], (240, 1, 3))
    cv2.rectangle(image, (10, 60), (70, 230), (100, 60, 40), -1)
    cv2.circle(image, (280, 60), 22, (230, 220, 160), -1)
    return image


def on_a_wall(who: str, count: int) -> list[Sample]:
    """The head alone, before one wall: both people at one place, in one light."""
    frame, (x0, y0, x1, y1) = {"collins": COLLINS, "hopper": HOPPER}[who][0], box(0)
    mask = np.zeros(frame.shape[:2], np.float32)
    centre, axes = ((x0 + x1) / 2, (y0 + y1) / 2), ((x1 - x0) * 1.3, (y1 - y0) * 1.4)
    cv2.ellipse(mask, (centre, axes, 0), 1.0, -1)
    mask = cv2.GaussianBlur(mask, (0, 0), 3)[..., None]
    samples = []
    for i in range(count):
        head, part = (np.roll(picture, i % 3, axis=1) for picture in (frame, mask))
        image = np.clip(head * part + wall() * (1 - part), 0, 255).astype(np.uint8)
        samples.append((image, [((x0 + i % 3, y0, x1 + i % 3, y1), who)]))
    return samples


def inset(samples: Sequence[Sample], background: np.ndarray) -> list[Sample]:
    """Each sample small, in the corner of a frame that does not change."""
    placed = []
    for image, shown in samples:
        frame = background.copy()
        frame[20:140, 300:460] = cv2.resize(image, (160, 120), interpolation=cv2.INTER_AREA)
        boxes = [((b[0] / 2 + 300, b[1] / 2 + 20, b[2] / 2 + 300, b[3] / 2 + 20), who) for b, who in shown]
        placed.append((frame, boxes))
    return placed


def persons(samples: Sequence[Sample]) -> dict[str, set[int]]:
    """The tracks of each person's faces. A name that starts with "?" is nobody's."""
    tracker, given = Tracker(), {}
    for i, (image, shown) in enumerate(samples):
        found = [Detection(b, 0.99, ()) for b, _ in shown]
        for (_, who), number in zip(shown, tracker.add(10 * i, STEP * i, found, image), strict=True):
            given.setdefault(who, set()).add(number)
    return {who: numbers for who, numbers in given.items() if not who.startswith("?")}


def apart(given: dict[str, set[int]]) -> bool:
    return not given["collins"] & given["hopper"]


def test_a_cut_to_another_head_at_the_same_place() -> None:
    given = persons(alone("collins", 0, 5) + alone("hopper", 5, 5))
    assert given == {"collins": {0}, "hopper": {1}}


def test_shot_and_reverse_shot() -> None:
    samples = []
    for start in range(0, 10, 2):
        samples += alone("collins" if start % 4 else "hopper", start, 2)
    assert apart(persons(samples))


def test_a_cut_in_one_room() -> None:
    """Nothing but the head changes."""
    assert apart(persons(on_a_wall("collins", 5) + on_a_wall("hopper", 5)))


@pytest.mark.parametrize(("steps", "wall"), [(1, False), (2, False), (3, False), (1, True), (2, True)])
def test_one_picture_fades_into_another(steps: int, wall: bool) -> None:
    first, second = (
        (on_a_wall("collins", 5), on_a_wall("hopper", 5)) if wall else (alone("collins", 0, 5), alone("hopper", 5, 5))
    )
    (a, shown), b = first[-1], second[0][0]
    mixed = [cv2.addWeighted(a, 1 - part, b, part, 0) for part in np.linspace(0, 1, steps + 2)[1:-1]]
    between = [(image, [(shown[0][0], "?mixed")]) for image in mixed]
    assert apart(persons([*first, *between, *second]))


def test_a_small_picture_in_a_frame_that_stays() -> None:
    background = cv2.resize(portraits()[0].image, (640, 480), interpolation=cv2.INTER_AREA)
    samples = inset(alone("collins", 0, 5) + alone("hopper", 5, 5), background)
    given = persons([(image, [*shown, ((100.0, 200.0, 220.0, 340.0), "host")]) for image, shown in samples])
    assert apart(given)
    assert len(given["host"]) == 1  # around this face nothing has changed


@pytest.mark.parametrize("gone", [2, 5, 10])
def test_who_comes_back_after_a_while_is_the_same_only_if_the_face_is(gone: int) -> None:
    assert gone * STEP < GAP
    absent: list[Sample] = [(wall().astype(np.uint8), [])] * gone
    first = on_a_wall("collins", 5)
    assert persons([*first, *absent, *on_a_wall("collins", 3)]) == {"collins": {0}}
    assert apart(persons([*first, *absent, *on_a_wall("hopper", 3)]))


def test_two_people_who_change_places() -> None:
    """Between two samples: by their places alone each would be the other."""
    left, right = on_a_wall("collins", 8), on_a_wall("hopper", 8)

    def both(i: int, swapped: bool) -> Sample:
        (a, [(b, who)]), (c, [(_, other)]) = (right[i], left[i]) if swapped else (left[i], right[i])
        return np.hstack([a, c]), [(b, who), ((b[0] + 320, b[1], b[2] + 320, b[3]), other)]

    given = persons([both(i, i >= 4) for i in range(8)])
    assert apart(given)


def test_a_patch_that_was_taken_for_a_face_is_nobody() -> None:
    black = [(np.zeros_like(COLLINS[0]), [(box(0), "hopper")])] * 3
    assert apart(persons(alone("collins", 0, 5) + black))


@pytest.mark.parametrize("level", [255, 0])
def test_a_flash_or_a_black_frame_is_no_cut(level: int) -> None:
    flash = [(np.full_like(COLLINS[0], level), [])]
    assert persons(alone("collins", 0, 5) + flash + alone("collins", 5, 5)) == {"collins": {0}}
    assert apart(persons(alone("collins", 0, 5) + flash + alone("hopper", 5, 5)))


def test_a_dim_flash_a_pan_and_a_turned_picture_are_one_shot() -> None:
    lights = [1, 1.3, 1, 0.7, 1, 1.2, 1, 1, 0.8, 1]
    lit = [(np.clip(image * light + 20, 0, 255).astype(np.uint8), shown)
           for (image, shown), light in zip(alone("collins", 0, 10), lights, strict=True)]  # fmt: skip
    assert persons(lit) == {"collins": {0}}
    turned = []
    for i, (image, shown) in enumerate(alone("collins", 0, 10)):
        (x0, y0, x1, y1), _ = shown[0]
        matrix = cv2.getRotationMatrix2D(((x0 + x1) / 2, (y0 + y1) / 2), 8.0 * (i % 2), 1.0)
        turned.append((cv2.warpAffine(image, matrix, image.shape[1::-1], borderMode=cv2.BORDER_REFLECT), shown))
    assert persons(turned) == {"collins": {0}}


def test_in_a_video_file_with_real_detections(tmp_path: object) -> None:
    frames = [*portraits()[0].frames(24), *portraits()[1].frames(24, start=24), *portraits()[0].frames(48)[24:]]
    path = write_clip(tmp_path / "cut.mp4", frames)  # type: ignore[operator]
    table = find_faces(read_frames(path, every=6), FaceDetector(FacesConfig()))
    who = {face.frame: face.person for face in table.faces}
    shots = [{person for frame, person in who.items() if start <= frame < start + 24} for start in (0, 24, 48)]
    assert [len(shot) for shot in shots] == [1, 1, 1]
    assert not shots[1] & (shots[0] | shots[2])


def test_looks_and_shots_are_measured_as_they_say() -> None:
    first, again, other = (small_of(image) for image in (COLLINS[0], COLLINS[1], HOPPER[1]))
    assert shot_difference(shot_of(first), shot_of(first)) == 0
    assert shot_difference(shot_of(first), shot_of(again)) < 0.3
    assert shot_difference(shot_of(first), shot_of(other)) > 0.8
    same, moved, another = (
        look_of(COLLINS[0], box(0), ()),
        look_of(COLLINS[1], box(1), ()),
        look_of(HOPPER[1], box(1), ()),
    )
    assert unlikeness(same, same) == 0
    assert unlikeness(same, moved) < 0.6
    assert unlikeness(same, another) > 1.5
    brighter = np.clip(COLLINS[0].astype(int) + 25, 0, 255).astype(np.uint8)
    assert unlikeness(same, look_of(brighter, box(0), ())) < 0.6
