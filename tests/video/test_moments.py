"""Which moment the frames of a fake show, from points that are made here: no codec, the truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from mrigan.video.lags import Sight
from mrigan.video.moments import Decision, decide
from mrigan.video.points import ACROSS, DOWN, outside

COUNT = 200
FACE = [(50.0, 25.0, 78.0, 50.0)]
MASK = outside(FACE, (ACROSS, DOWN), 0.15)


def moments(seed: int = 0, still: bool = False, pace: float = 1.0) -> np.ndarray:
    """(COUNT, points) of a textured person who sways before a background at rest."""
    rng = np.random.default_rng(seed)
    rest = np.random.default_rng(99).integers(40, 200, (DOWN, ACROSS)).astype(float)
    person = np.random.default_rng(98).integers(40, 200, (DOWN + 60, ACROSS + 60)).astype(float)
    y, x = np.mgrid[:DOWN, :ACROSS]
    shape = ((x - 64) / 40) ** 2 + ((y - 40) / 34) ** 2 < 1
    walk = np.cumsum(np.cumsum(rng.normal(0, 0.15, (COUNT, 2)), axis=0) * 0.3, axis=0)
    walk = 30 + 25 * np.sin(pace * walk / 12) * (not still)
    frames = []
    for dy, dx in walk:
        iy, ix, fy, fx = int(dy), int(dx), dy % 1, dx % 1
        part = [person[iy + a : iy + a + DOWN, ix + b : ix + b + ACROSS] for a, b in ((0, 0), (0, 1), (1, 0), (1, 1))]
        weights = ((1 - fy) * (1 - fx), (1 - fy) * fx, fy * (1 - fx), fy * fx)
        frames.append(np.where(shape, sum(w * p for w, p in zip(weights, part, strict=True)), rest).ravel())
    return np.array(frames)


def forged(frames: np.ndarray) -> np.ndarray:
    return np.where(MASK, frames, 255 - frames)


def sight(frames: np.ndarray, indices, *, rate: float = 25.0, times=None, seed: int = 1) -> Sight:
    noise, found = np.random.default_rng(seed), Sight()
    for n, i in enumerate(indices):
        values = np.clip(np.rint(frames[n] + noise.normal(0, 2, frames[n].shape)), 0, 255).astype(np.uint8)
        found.add(i, times[n] if times is not None else i / rate, values)
    return found


def decided(frames: np.ndarray, fake: np.ndarray, shown, **settings) -> Decision:
    """What is decided about a fake that shows the moments `shown`."""
    wanted = range(0, COUNT, 10)
    original = sight(frames[::10], wanted)
    cut = sight(fake[list(shown)], range(len(shown)), seed=2, **settings)
    return decide(original, dict.fromkeys(wanted, MASK), cut, complete=True)


@pytest.mark.parametrize("lag", [0, 1, 3, 7, 40, -1, -3, -40])
def test_any_constant_lag_is_found(lag: int) -> None:
    every = moments()
    shown = [0] * lag + list(range(COUNT)) if lag >= 0 else list(range(-lag, COUNT))
    decision = decided(every, forged(every), shown)
    assert decision.proven
    assert decision.targets == {i: i + lag for i in range(0, COUNT, 10) if i + lag >= 0}


@pytest.mark.parametrize("lost", [[95], list(range(61, 75)), [55, 125, 126]])
def test_lost_frames_change_the_lag(lost: list[int]) -> None:
    every = moments()
    shown = [i for i in range(COUNT) if i not in lost]
    targets = decided(every, forged(every), shown).targets
    assert len(targets) >= 17
    assert all(shown[j] == i for i, j in targets.items())


@pytest.mark.parametrize(
    "shown",
    [
        [int(i / 1.05) for i in range(COUNT)],
        [int(i / 1.15) for i in range(COUNT)],
        [int(i * 1.05) for i in range(int(COUNT / 1.05))],
        list(range(COUNT))[::-1],
    ],
    ids=["slower", "much slower", "faster", "reversed"],
)
def test_stretched_and_reversed_fakes_have_no_pair(shown: list[int]) -> None:
    every = moments()
    assert not decided(every, forged(every), shown).targets


@pytest.mark.parametrize(
    "shown",
    [
        [int(i * 1.05) for i in range(int(COUNT / 1.05))],
        sorted([i for i in range(COUNT) if i % 20 != 5] + [i for i in range(COUNT) if i % 20 == 11]),
        [i for i in range(COUNT) if i % 10 != 5],
    ],
    ids=["faster", "lost and doubled in turn", "each tenth lost"],
)
def test_slow_movements_are_no_excuse(shown: list[int]) -> None:
    """No lag is worth its price then, but single frames fit their neighbours better."""
    slow = moments(pace=0.02)
    targets = decided(slow, forged(slow), shown).targets
    assert sum(shown[j] != i for i, j in targets.items()) <= 0.02 * len(targets)
    assert len(decided(slow, forged(slow), range(COUNT)).targets) == COUNT / 10


def test_frames_lost_and_doubled_in_turn_under_noise_are_no_pairs() -> None:
    """Single frames tell nothing then, and some runs of one lag seem to hold by chance."""
    slow = moments(pace=0.03)
    shown = sorted([i for i in range(COUNT) if i % 20 != 5] + [i for i in range(COUNT) if i % 20 == 11])
    noisy = forged(slow) + np.random.default_rng(5).normal(0, 3, slow.shape)
    targets = decided(slow, noisy, shown).targets
    assert all(shown[j] == i for i, j in targets.items())
    assert len(decided(slow, noisy, range(COUNT)).targets) >= 19


def of_another_rate(every: np.ndarray, ours: int, theirs: int, rounded: int) -> tuple[Decision, list[int]]:
    """What is decided about a fake whose rate was converted, and the moments that it shows."""
    place = [(2 * i * theirs + (1 - rounded) * ours) // (2 * ours) for i in range(COUNT)]
    shown = [max(i for i in range(COUNT) if place[i] <= j) for j in range(place[-1] + 1)]
    wanted = range(0, COUNT, 10)
    original, cut = sight(every[::10], wanted, rate=ours), sight(forged(every)[shown], range(len(shown)), rate=theirs)
    return decide(original, dict.fromkeys(wanted, MASK), cut, complete=True), shown


@pytest.mark.parametrize(("ours", "theirs"), [(25, 30), (25, 50), (24, 60)])
@pytest.mark.parametrize("still", [False, True])
def test_a_fake_of_a_higher_rate_has_all_moments_though_little_moves(ours: int, theirs: int, still: bool) -> None:
    decision, shown = of_another_rate(moments(pace=0.03, still=still), ours, theirs, 0)
    assert len(decision.targets) >= 19
    assert not decision.proven
    assert all(shown[j] == i for i, j in decision.targets.items())


@pytest.mark.parametrize(
    ("ours", "theirs", "rounded", "least"),
    [
        (25, 20, 0, 18),
        (25, 20, 1, 0),
        (30, 25, 0, 18),
        (30, 25, 1, 11),
        (25, 24, 1, 14),
        (25, 30, 1, 18),
        (60, 30, 1, 0),
    ],
)
def test_a_fake_of_another_rate_shows_the_frames_that_its_converter_took(
    ours: int, theirs: int, rounded: int, least: int
) -> None:
    """Rounded to the nearest (0) or down (1): then each frame of the fake is the last of its time, not the nearest.

    At 25 → 20 and 60 → 30 frames a second, rounded down, it has none of those that are wanted.
    """
    decision, shown = of_another_rate(moments(pace=0.3), ours, theirs, rounded)
    assert len(decision.targets) >= least
    assert (decision.proven, bool(decision.targets)) == (least > 0, least > 0)
    assert all(shown[j] == i for i, j in decision.targets.items())


def test_moments_between_the_frames_of_a_fake_have_no_pair() -> None:
    slow, slower = moments(pace=0.5), moments(pace=0.05)
    thirds = [int(1.5 * j + 0.5) for j in range(133)]  # two frames of three, as converters take them
    gaps = [i for i in range(COUNT) if i % 30 or i == 0]  # some frames were lost; the others kept their times
    at_thirds, at_gaps = [j * 1.5 / 25 for j in range(133)], [i / 25 for i in gaps]
    for frames, shown, times in ((slow, thirds, at_thirds), (slow, gaps, at_gaps), (slower, gaps, at_gaps)):
        targets = decided(frames, forged(frames), shown, times=times).targets
        assert len(targets) >= 7
        assert all(shown[j] == i for i, j in targets.items())
    unclear = decided(slower, forged(slower), thirds, times=at_thirds)
    assert all(thirds[j] == i for i, j in unclear.targets.items())


def test_another_take_and_a_mirrored_fake_have_no_pair() -> None:
    every = moments()
    assert not decided(every, forged(moments(seed=7)), range(COUNT)).targets
    mirrored = forged(every).reshape(-1, DOWN, ACROSS)[:, :, ::-1].reshape(COUNT, -1)
    assert not decided(every, mirrored, range(COUNT)).targets


def test_frames_belong_together_by_time_or_by_index_as_fits() -> None:
    every = moments()
    doubled = [i for i in range(COUNT) for _ in range(1 + (i % 5 == 4))]  # 25 frames a second shown at 30
    targets = decided(every, forged(every), doubled, rate=30.0).targets
    assert len(targets) == COUNT / 10
    assert all(doubled[j] == i for i, j in targets.items())
    renamed = decided(every, forged(every), range(COUNT), rate=30.0)  # the same frames, called 30 a second
    assert renamed.targets == {i: i for i in range(0, COUNT, 10)}


def test_where_nothing_moves_the_index_counts_and_is_marked() -> None:
    still = moments(still=True)
    decision = decided(still, forged(still), range(COUNT))
    assert decision.targets == {i: i for i in range(0, COUNT, 10)}
    assert not decision.proven
    assert not decision.inside


def test_faces_alone_tell_that_nothing_is_forged() -> None:
    """Nothing moves but the face, and it is the same three frames later."""
    every = moments()
    only_the_face = np.where(MASK, moments(still=True), every)
    decision = decided(only_the_face, only_the_face, range(3, COUNT))
    assert decision.inside
    assert decision.targets == {i: i - 3 for i in range(10, COUNT, 10)}


def test_half_of_the_frames_prove_an_aligned_clip_and_no_other() -> None:
    every, wanted = moments(), range(0, COUNT, 10)
    original, masks = sight(every[::10], wanted), dict.fromkeys(wanted, MASK)
    came = [j for j in range(COUNT) if j % 2 == 0 or j % 30 in {9, 11}]
    aligned = decide(original, masks, sight(forged(every)[came], came, seed=2), complete=False)
    assert (aligned.proven, aligned.unsure, len(aligned.targets)) == (True, False, COUNT / 10)
    late = forged(every)[[min(j + 1, COUNT - 1) for j in came]]
    assert decide(original, masks, sight(late, came, seed=2), complete=False).unsure


def test_frames_two_away_prove_what_few_neighbours_do_not() -> None:
    """Four of six frames before a wanted one show the wanted one: they alone prove nothing."""
    slow, wanted = moments(pace=0.05), range(0, COUNT, 10)
    original, masks = sight(slow[::10], wanted), dict.fromkeys(wanted, MASK)

    def half(shown) -> Decision:
        frames = [j + 1 if j in {19, 79, 109, 139} else j for j in shown]
        came = [j for j in range(len(frames)) if j % 2 == 0 or j % 30 in {19, 21}]
        return decide(original, masks, sight(forged(slow)[[frames[j] for j in came]], came, seed=2), complete=False)

    aligned = half(range(COUNT))
    assert (aligned.proven, aligned.targets) == (True, {i: i for i in wanted})
    assert half([i for i in range(COUNT) if i != 95]).unsure
    assert half([i for i in range(COUNT) if i != 145]).unsure
    assert half(range(1, COUNT)).unsure
