"""Splits of several shard folders: what one learns from is never what another is judged by."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mrigan.data import check_separate
from mrigan.data.separation import KINDS
from mrigan.errors import ShardError
from tests.data.shards import Sample, make_samples, write_shards


def folder(path: Path, *samples: list[Sample], **row: str) -> Path:
    """A set of these samples, with some fields of their rows changed."""
    changed = [replace(sample, row=sample.row | row) for part in samples for sample in part]
    write_shards(path, changed, kind="pairs")
    return path


def test_separate_splits_pass_whatever_the_folders(tmp_path: Path) -> None:
    one = folder(tmp_path / "one", make_samples(8, 8), make_samples(4, 4, split="val", seed=1))
    two = folder(tmp_path / "two", make_samples(8, 8, seed=2), make_samples(4, 4, split="test", seed=3))
    check_separate([one])
    check_separate([one, two, str(two)])


@pytest.mark.parametrize("kind", ["family", "clip", "key"])
def test_what_is_in_two_splits_is_refused_and_named(tmp_path: Path, kind: str) -> None:
    """The test split of one folder against the train split of another; also where neither is asked for."""
    train, test = make_samples(8, 8), make_samples(6, 6, split="test", seed=5)
    if kind == "key":  # another frame of a clip of that key
        test[3] = replace(test[3], key=train[0].key[:12] + "-999999-00")
    else:
        test[3] = replace(test[3], row=test[3].row | {kind: train[0].row[kind]})
    one, two = folder(tmp_path / "one", train), folder(tmp_path / "two", test)
    check_separate([one])
    check_separate([two])
    for order in ([one, two], [two, one]):
        with pytest.raises(ShardError) as caught:
            check_separate(order)
        told = str(caught.value)
        assert f"1 {KINDS[kind]} " in told
        assert (train[0].key[:12] if kind == "key" else train[0].row[kind]) in told
        assert all(place in told for place in (f"train of {one}", f"test of {two}"))


def test_a_folder_that_is_torn_by_itself_is_refused(tmp_path: Path) -> None:
    torn = folder(tmp_path / "torn", make_samples(8, 8), make_samples(4, 4, split="val", seed=1), family="f")
    with pytest.raises(ShardError, match="1 families are in two splits; f in train"):
        check_separate([torn])
