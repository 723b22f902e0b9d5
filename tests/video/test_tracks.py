"""A person index is one person, whatever the order of the detections."""

from __future__ import annotations

import random

import pytest

from mrigan.video.face import Detection
from mrigan.video.tracks import Tracker, iou

STEP = 0.4  # seconds: every 10th frame at 25 fps


def face(x: float, y: float = 100, size: float = 80) -> Detection:
    five = tuple((x, y) for _ in range(5))
    return Detection((x - size / 2, y - size / 2, x + size / 2, y + size / 2), 0.99, five)


def follow(samples: list[dict[str, Detection]], shuffle: int | None = None, step: float = STEP) -> dict[str, set[int]]:
    """Person indices that each named face was given."""
    tracker = Tracker()
    for i, sample in enumerate(samples):
        detections = list(sample.values())
        if shuffle is not None:
            random.Random(shuffle + i).shuffle(detections)
        tracker.add(10 * i, i * step, detections)
    faces = tracker.faces()
    given: dict[str, set[int]] = {}
    for i, sample in enumerate(samples):
        for name, detection in sample.items():
            (person,) = (f.person for f in faces if f.frame == 10 * i and f.box == detection.box)
            given.setdefault(name, set()).add(person)
    assert len(faces) == sum(map(len, samples))
    assert faces == sorted(faces, key=lambda f: (f.frame, f.person))
    return given


def test_two_people_side_by_side_in_any_order() -> None:
    samples = [{"a": face(100 + 3 * i, size=90), "b": face(300 - 2 * i)} for i in range(20)]
    assert follow(samples) == {"a": {0}, "b": {1}}
    for seed in range(5):
        assert follow(samples, shuffle=seed) == {"a": {0}, "b": {1}}


def test_two_people_passing_each_other_at_a_distance_keep_their_numbers() -> None:
    samples = [{"a": face(100 + 20 * i, 80, 100), "b": face(500 - 20 * i, 190)} for i in range(20)]
    assert follow(samples, shuffle=1) == {"a": {0}, "b": {1}}


@pytest.mark.parametrize("hidden", [0, 1, 2])
def test_two_people_crossing_keep_their_ways(hidden: int) -> None:
    """b walks behind a and is not seen for some samples."""
    samples = [
        {"a": face(100 + 25 * i, size=100), "b": face(500 - 25 * i, size=80)}
        if abs(i - 8) >= hidden
        else {"a": face(100 + 25 * i, size=100)}
        for i in range(17)
    ]
    assert follow(samples, shuffle=3) == {"a": {0}, "b": {1}}


def test_a_face_that_turns_back_is_the_same_person() -> None:
    samples = [{"a": face(100 + 25 * (i if i < 10 else 20 - i))} for i in range(20)]
    assert follow(samples) == {"a": {0}}


def test_a_face_that_is_missed_for_some_samples_is_the_same_person() -> None:
    samples = [{"a": face(100 + 2 * i), **({} if 5 <= i < 12 else {"b": face(300 + i, size=60)})} for i in range(20)]
    assert follow(samples) == {"a": {0}, "b": {1}}


def test_a_newcomer_elsewhere_is_another_person() -> None:
    samples = [{"a": face(100)} for _ in range(5)] + [{"b": face(400)} for _ in range(3)]
    assert follow(samples) == {"a": {0}, "b": {1}}


def test_after_a_long_absence_a_face_in_the_same_place_is_not_taken_for_the_same() -> None:
    samples = [{"a": face(100)} for _ in range(5)] + [{} for _ in range(30)] + [{"b": face(100)} for _ in range(3)]
    assert follow(samples) == {"a": {0}, "b": {1}}


def test_a_face_of_quite_another_size_in_the_same_place_is_another_person() -> None:
    samples = [{"a": face(100, size=150)} for _ in range(5)] + [{"b": face(100, size=40)} for _ in range(5)]
    assert follow(samples) == {"a": {0}, "b": {1}}


def test_the_assignment_is_the_best_one_in_total() -> None:
    """Greedy matching would give a's new place to b, which is nearer, and leave b's for nobody."""
    samples = [{"a": face(100), "b": face(160)}, {"a": face(150), "b": face(205)}]
    assert follow(samples) == {"a": {0}, "b": {1}}


@pytest.mark.parametrize("count", [1, 3, 8])
def test_persons_are_numbered_by_their_total_area(count: int) -> None:
    samples = [{str(k): face(100 + 200 * k, size=40 + 10 * k) for k in range(count)} for _ in range(4)]
    assert follow(samples) == {str(k): {count - 1 - k} for k in range(count)}


def test_equals_are_numbered_by_their_appearance() -> None:
    samples = [{"a": face(100)}, {"a": face(101), "b": face(400)}, {"b": face(401)}]
    assert follow(samples) == {"a": {0}, "b": {1}}


def test_nothing_is_nobody() -> None:
    tracker = Tracker()
    tracker.add(0, 0.0, [])
    assert tracker.faces() == []


def test_intersection_over_union() -> None:
    assert iou((0, 0, 10, 10), (0, 0, 10, 10)) == 1
    assert iou((0, 0, 10, 10), (5, 0, 15, 10)) == pytest.approx(1 / 3)
    assert iou((0, 0, 10, 10), (10, 0, 20, 10)) == 0
