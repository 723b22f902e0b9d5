"""The epoch plan against a plain-Python oracle, its counts, and resuming on other numbers of ranks."""

from __future__ import annotations

import hashlib
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrigan.data import EpochPlan
from mrigan.errors import ConfigError, ShardError

labels_of = st.tuples(st.integers(1, 12), st.integers(1, 12), st.randoms(use_true_random=False)).map(
    lambda t: np.array(t[2].sample([0] * t[0] + [1] * t[1], t[0] + t[1]), np.uint8)
)


def oracle(labels: list[int], seed: int, epoch: int) -> list[int]:
    """The documented rule with Python integers and `sorted`: no NumPy."""

    def mix(i: int, purpose: str) -> int:
        text = f"mrigan epoch plan 1|{seed}|{epoch}|{purpose}".encode()
        word = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")
        x = ((i + 1) * 0x9E3779B97F4A7C15 + word) % 2**64
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) % 2**64
        return x ^ (x >> 31)

    classes = [[i for i, label in enumerate(labels) if label == c] for c in (0, 1)]
    smaller = min(map(len, classes))
    drawn = [
        sorted(ids, key=lambda i, c=c: mix(i, f"draw {c}"))[:smaller] if len(ids) > smaller else ids
        for c, ids in enumerate(classes)
    ]
    return sorted(drawn[0] + drawn[1], key=lambda i: mix(i, "order"))


@settings(max_examples=60, deadline=None)
@given(labels_of, st.integers(-3, 2**40), st.integers(0, 10**6))
def test_an_epoch_is_what_the_rule_says(labels: np.ndarray, seed: int, epoch: int) -> None:
    ids = EpochPlan(labels, seed).epoch(epoch)
    assert ids.dtype == np.int64
    assert ids.tolist() == oracle(labels.tolist(), seed, epoch)


def test_the_order_is_pinned() -> None:
    # A run resumes in the middle of an epoch, perhaps years later: no upgrade may change this list.
    plan = EpochPlan([0, 1, 1, 0, 1, 1, 0, 1], seed=7)
    assert [plan.epoch(e).tolist() for e in (0, 1)] == [[2, 6, 1, 3, 0, 5], [4, 6, 3, 7, 0, 5]]


@settings(max_examples=60, deadline=None)
@given(labels_of, st.integers(0, 99), st.integers(0, 5))
def test_the_smaller_class_comes_once_and_as_many_of_the_larger(labels: np.ndarray, seed: int, epoch: int) -> None:
    plan = EpochPlan(labels, seed)
    ids = plan.epoch(epoch)
    smaller = min((labels == 0).sum(), (labels == 1).sum())
    assert len(ids) == plan.epoch_length == 2 * smaller
    assert len(set(ids.tolist())) == len(ids)
    assert (labels[ids] == 0).sum() == (labels[ids] == 1).sum() == smaller


def test_the_larger_class_is_redrawn_each_epoch_evenly() -> None:
    labels = np.array([0] * 40 + [1] * 160)
    plan = EpochPlan(labels, seed=0)
    drawn = np.zeros(200, int)
    for epoch in range(400):
        drawn[plan.epoch(epoch)] += 1
    assert (drawn[:40] == 400).all()
    # Binomial(400, 1/4): mean 100, standard deviation 8.7; six of them hold for 160 samples.
    assert 48 < drawn[40:].min() < drawn[40:].max() < 152


def test_orders_look_shuffled_and_unlike_each_other() -> None:
    labels = np.arange(4000) % 2
    first, second = EpochPlan(labels, 0).epoch(0), EpochPlan(labels, 0).epoch(1)
    other = EpochPlan(labels, 1).epoch(0)
    for a, b in ((first, np.arange(4000)), (first, second), (first, other)):
        assert abs(np.corrcoef(a, b)[0, 1]) < 0.08  # 5 standard deviations of 1 / sqrt(4000)
    runs = np.count_nonzero(np.diff(labels[first])) + 1
    assert abs(runs - 2001) < 160  # 5 standard deviations of sqrt(4000) / 2


@settings(max_examples=60, deadline=None)
@given(labels_of, st.integers(1, 40))
def test_batches_are_the_concatenated_epochs_cut_to_length(labels: np.ndarray, batch: int) -> None:
    plan = EpochPlan(labels, 3)
    stream = np.concatenate([plan.epoch(e) for e in range(3 + 5 * batch // plan.epoch_length)])
    marks = np.repeat(np.arange(len(stream) // plan.epoch_length), plan.epoch_length)
    for step in range(5):
        ids, epochs = plan.batch_with_epochs(step, batch)
        assert len(ids) == batch
        assert (ids == stream[step * batch : (step + 1) * batch]).all()
        assert (epochs == marks[step * batch : (step + 1) * batch]).all()
        assert (plan.batch(step, batch) == ids).all()


@settings(max_examples=40, deadline=None)
@given(labels_of, st.integers(0, 10**9), st.sampled_from([(1, 4), (2, 3), (4, 6), (8, 2)]))
def test_resume_at_any_step_on_any_number_of_ranks(labels: np.ndarray, step: int, worlds: tuple[int, int]) -> None:
    batch = 24
    before, after = EpochPlan(labels, 5), EpochPlan(labels, 5)
    parts = [
        [plan.rank_slice(plan.batch(step, batch), rank, world) for rank in range(world)]
        for plan, world in ((before, worlds[0]), (after, worlds[1]))
    ]
    assert all(len(part) == batch // world for side, world in zip(parts, worlds, strict=True) for part in side)
    assert (np.concatenate(parts[0]) == np.concatenate(parts[1])).all()
    assert len(after._cache) <= 2  # nothing before the step was drawn


def test_a_stop_in_mid_epoch_loses_nothing() -> None:
    labels = np.arange(60) % 2
    before = np.concatenate([EpochPlan(labels, 0).batch(step, 8) for step in range(3)])
    after = np.concatenate([EpochPlan(labels, 0).batch(step, 8) for step in range(3, 8)])
    epoch = np.concatenate([before, after])[:60]
    assert sorted(epoch.tolist()) == list(range(60))


def test_unbalanced_takes_all() -> None:
    plan = EpochPlan([1, 1, 1, 0], 0, balance=False)
    assert plan.epoch_length == 4
    assert sorted(plan.epoch(3).tolist()) == [0, 1, 2, 3]
    assert EpochPlan([1, 1], 0, balance=False).epoch_length == 2


@settings(max_examples=60, deadline=None)
@given(labels_of, st.integers(-3, 2**40), st.integers(0, 10**6), st.integers(1, 9), st.sampled_from([1, 2, 3]))
def test_unbalanced_epochs_hold_every_sample_once_on_all_ranks(
    labels: np.ndarray, seed: int, epoch: int, share: int, ranks: int
) -> None:
    """The ranks' batches put together are the epochs one after another, each of them all samples in a random order."""
    plan, count, batch = EpochPlan(labels, seed, balance=False), len(labels), share * ranks
    first = epoch * count // batch
    steps = range(first, first + 2 * count // batch + 2)
    parts = [[plan.rank_slice(plan.batch(k, batch), rank, ranks) for k in steps] for rank in range(ranks)]
    assert {len(part) for each in parts for part in each} == {share}
    stream = np.concatenate([np.concatenate(step) for step in zip(*parts, strict=True)])
    start = epoch * count - first * batch
    assert sorted(stream[start : start + count].tolist()) == list(range(count))
    assert stream[start : start + count].tolist() == plan.epoch(epoch).tolist()


@pytest.mark.parametrize(("labels", "words"), [([1, 1], "no real sample"), ([0], "no fake sample"), ([], "no real")])
def test_a_missing_class_is_an_error(labels: list[int], words: str) -> None:
    with pytest.raises(ShardError, match=words):
        EpochPlan(labels, 0)


def test_no_samples_at_all() -> None:
    with pytest.raises(ShardError, match="no samples"):
        EpochPlan([], 0, balance=False)


def test_ranks_share_evenly_or_not_at_all() -> None:
    with pytest.raises(ConfigError, match="10 cannot be divided evenly among 4"):
        EpochPlan.rank_slice(np.arange(10), 0, 4)


@pytest.mark.parametrize("call", [lambda p: p.epoch(-1), lambda p: p.batch(-1, 4), lambda p: p.batch(0, 0)])
def test_nothing_before_the_start(call) -> None:
    with pytest.raises(ValueError, match=r"negative|out of range"):
        call(EpochPlan([0, 1], 0))


def test_steps_round_up_to_whole_batches() -> None:
    plan = EpochPlan([0] * 30 + [1] * 50, 0)  # 60 an epoch
    assert [plan.steps(*args) for args in ((1, 60), (1, 59), (0.5, 30), (2, 7), (0.001, 60))] == [1, 2, 1, 18, 1]


def test_what_is_handed_out_cannot_change_the_plan() -> None:
    plan = EpochPlan([0, 1, 0, 1], 0)
    with pytest.raises(ValueError, match="read-only"):
        plan.epoch(0)[0] = 9
    batch = plan.batch(0, 2)
    batch[:] = 9
    assert 9 not in plan.epoch(0)
    assert (pickle.loads(pickle.dumps(plan)).epoch(2) == plan.epoch(2)).all()
