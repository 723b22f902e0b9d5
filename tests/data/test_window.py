"""The window's order: as exact as the full shuffle, from few open shards, on any number of ranks."""

from __future__ import annotations

import itertools
import pickle
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrigan.data import EpochPlan, ShardSet, window
from mrigan.data.open_shards import OpenShards
from mrigan.data.window import SPAN, ShardWindow
from mrigan.errors import ConfigError
from tests.builders import train_loader
from tests.data.shards import SIZE


def make_set(reals: int, fakes: int, per_shard: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, shard numbers and offsets of samples in no order; a shard holds one class, as real ones do."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1], [reals, fakes])
    number = np.concatenate([np.arange(reals) // per_shard, 1000 + np.arange(fakes) // per_shard])
    offset = np.concatenate([np.arange(reals) % per_shard, np.arange(fakes) % per_shard]) * 40_000
    order = rng.permutation(reals + fakes)
    return labels[order], number[order], offset[order]


def make_plan(made: tuple[np.ndarray, ...], shards: int, batch: int, seed: int = 0, balance: bool = True) -> EpochPlan:
    labels, number, offset = made
    return EpochPlan(labels, seed, ShardWindow(shards, batch, number, offset), balance)


sets = st.tuples(st.integers(1, 90), st.integers(1, 90), st.integers(1, 20), st.integers(0, 99)).map(
    lambda t: make_set(*t)
)


@settings(max_examples=80, deadline=None)
@given(sets, st.integers(2, 20), st.integers(1, 40), st.booleans())
def test_epochs_hold_what_those_of_the_full_shuffle_hold(
    made: tuple[np.ndarray, ...], shards: int, batch: int, balance: bool
) -> None:
    mine, full = make_plan(made, shards, batch, 5, balance), EpochPlan(made[0], 5, balance=balance)
    assert mine.epoch_length == full.epoch_length
    for epoch in (0, 1, 7):
        assert sorted(mine.epoch(epoch).tolist()) == sorted(full.epoch(epoch).tolist())
        if balance:  # said outright: all of the smaller class once, as many others
            counts = np.bincount(made[0][mine.epoch(epoch)], minlength=2)
            assert counts.tolist() == [min(np.bincount(made[0], minlength=2))] * 2
            assert len(set(mine.epoch(epoch).tolist())) == mine.epoch_length


@settings(max_examples=60, deadline=None)
@given(sets, st.integers(2, 20), st.integers(1, 40), st.integers(0, 5))
def test_at_no_place_are_more_shards_open_than_the_window(
    made: tuple[np.ndarray, ...], shards: int, batch: int, epoch: int
) -> None:
    plan = make_plan(made, shards, batch)
    number = made[1]
    lanes = min(shards // 2, batch)
    first = epoch * plan.epoch_length
    spans: dict[tuple[int, int], list[int]] = defaultdict(list)
    for place, i in enumerate(plan.epoch(epoch)):
        lane = (first + place) % batch * lanes // batch
        spans[lane, int(number[i])].append(place)
    is_open = np.zeros(plan.epoch_length, int)
    for places in spans.values():
        is_open[places[0] : places[-1] + 1] += 1
    assert is_open.max() <= shards
    for label in (0, 1):  # a shard belongs to one lane, but for those at a border
        numbers = [n for _, n in spans if (n >= 1000) == (label == 1)]
        assert len(numbers) - len(set(numbers)) <= lanes - 1


def test_a_shard_is_read_from_front_to_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "SPAN", 16)
    made = make_set(600, 900, 100)
    plan = make_plan(made, 8, 24)
    _, number, offset = made
    back = []
    for epoch in (0, 3):
        seen: dict[tuple[int, int], list[int]] = defaultdict(list)
        for place, i in enumerate(plan.epoch(epoch).tolist()):
            lane = (epoch * plan.epoch_length + place) % 24 * 4 // 24
            seen[lane, int(number[i])].append(int(offset[i]) // 40_000)
        for places in seen.values():
            ranks = np.argsort(np.argsort(places))  # among those of the shard that were drawn
            assert (np.abs(ranks - np.arange(len(ranks))) < 16).all()
            back += [b < a for a, b in itertools.pairwise(places)]
    assert 0.3 < np.mean(back) < 0.55  # and within a span at random
    assert SPAN == 256


def test_a_rank_reads_the_shards_of_its_own_lanes() -> None:
    made = make_set(4000, 5000, 100)
    plan = make_plan(made, 16, 64)
    readers: dict[int, set[int]] = defaultdict(set)
    for step in range(plan.epoch_length // 64):
        ids = plan.batch(step, 64)
        for rank in range(8):
            for i in plan.rank_slice(ids, rank, 8):
                readers[int(made[1][i])].add(rank)
    assert len(readers) == 90
    assert sum(len(ranks) - 1 for ranks in readers.values()) <= 2 * 7  # the borders, of each class
    assert {rank for ranks in readers.values() for rank in ranks} == set(range(8))


@settings(max_examples=40, deadline=None)
@given(sets, st.integers(2, 9), st.integers(0, 10**6), st.sampled_from([(1, 4), (2, 3), (4, 6), (8, 2)]))
def test_resume_at_any_step_on_any_number_of_ranks(
    made: tuple[np.ndarray, ...], shards: int, step: int, worlds: tuple[int, int]
) -> None:
    batch = 24
    before, after = make_plan(made, shards, batch), pickle.loads(pickle.dumps(make_plan(made, shards, batch)))
    parts = [
        [plan.rank_slice(plan.batch(step, batch), rank, world) for rank in range(world)]
        for plan, world in ((before, worlds[0]), (after, worlds[1]))
    ]
    assert (np.concatenate(parts[0]) == np.concatenate(parts[1])).all()
    stream = np.concatenate(
        [
            after.epoch(e)
            for e in range(step * batch // after.epoch_length, 2 + (step + 1) * batch // after.epoch_length)
        ]
    )
    start = step * batch % after.epoch_length
    assert (np.concatenate(parts[0]) == stream[start : start + batch]).all()


def test_orders_differ_by_seed_epoch_and_window_and_mix_the_classes() -> None:
    made = make_set(2000, 2000, 100)
    orders = [
        make_plan(made, 16, 32).epoch(0),
        make_plan(made, 16, 32).epoch(1),
        make_plan(made, 16, 32, seed=1).epoch(0),
        make_plan(made, 8, 32).epoch(0),
    ]
    for k, a in enumerate(orders):
        for b in orders[:k]:
            assert (a == b).mean() < 0.02
        for lane in range(8):  # the classes come in a random mixture in each lane
            mine = made[0][a.reshape(-1, 32)[:, lane * 4 : lane * 4 + 4].ravel()]
            runs = np.count_nonzero(np.diff(mine)) + 1
            assert abs(runs - 251) < 67  # 6 standard deviations of sqrt(500) / 2
    first_shards = {tuple(made[1][make_plan(made, 2, 32, seed=s).epoch(0)[:64]][:4].tolist()) for s in range(9)}
    assert len(first_shards) > 5


def test_wrong_use() -> None:
    made = make_set(5, 5, 2)
    with pytest.raises(ConfigError, match=r"data.window=1(.|\n)*usually 64"):
        make_plan(made, 1, 4)
    with pytest.raises(ValueError, match="batches of 4, not of 8"):
        make_plan(made, 2, 4).batch(0, 8)


def test_a_loader_opens_each_shard_about_once(pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = ShardSet.open([pairs], "train", kind="pairs")
    opened: list[int] = []
    read = OpenShards.read

    def watched(self: OpenShards, number: int, start: int, count: int) -> bytes:
        if number not in self._open:
            opened.append(number)
        assert len(self) <= 4
        return read(self, number, start, count)

    monkeypatch.setattr(OpenShards, "read", watched)
    shards.open_shards.max_open = 4

    def opens(plan: EpochPlan) -> int:
        opened.clear()
        shards.close()
        options = {"global_batch": 6, "start_step": 0, "stop_step": 10, "workers": 0, "size": SIZE}
        with train_loader(shards, plan, **options) as batches:  # an epoch
            seen = [i for batch in batches for i in batch.ids.tolist()]
        assert sorted(seen) == sorted(plan.epoch(0).tolist())
        return len(opened)

    assert len(set(shards.places()[0])) == 9  # 3 of reals, 6 of fakes
    assert opens(EpochPlan(shards.labels, 1, ShardWindow(2, 6, *shards.places()))) == 9
    assert opens(EpochPlan(shards.labels, 1)) > 20
