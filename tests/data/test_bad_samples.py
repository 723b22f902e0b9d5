"""Samples that went bad, in a loader: skipped, counted and told, alike on every world size; and what a resume reads."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from mrigan.data import EpochPlan, ShardSet, eval_batches
from mrigan.errors import ShardError
from tests.builders import train_loader
from tests.data.loading import WORKERS, load
from tests.data.shards import SIZE

pytestmark = pytest.mark.usefixtures("others")


def _break(folder: Path, row: dict) -> None:
    """Flip a bit in the face of a row."""
    with open(folder / row["shard"], "r+b") as file:
        file.seek(row["face_offset"] + row["face_size"] // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 64]))


@WORKERS
def test_bad_samples_are_skipped_counted_and_told(
    pairs: Path, tmp_path: Path, workers: int, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Path(shutil.copytree(pairs, tmp_path / "pairs"))
    shards = ShardSet.open([folder], "train")
    bad = [2, 20, 21, 40, 66]
    for i in bad:
        _break(folder, shards.rows.slice(i, 1).to_pylist()[0])
    plan = EpochPlan(shards.labels, seed=1)
    whole = ShardSet.open([pairs], "train")
    options = {"global_batch": 12, "start_step": 0, "stop_step": 20, "size": SIZE, "on_bad": "skip"}
    with train_loader(shards, plan, workers=workers, workers_are=kind, **options) as loader:
        batches = list(loader)
    assert [len(batch) for batch in batches] == [12] * 20
    assert set(loader.skipped) == {i for i in bad if any(i in plan.batch(step, 12) for step in range(20))} > {2}
    for i, text in loader.skipped.items():
        row = shards.rows.slice(i, 1).to_pylist()[0]
        assert f"{row['shard']} at byte {row['face_offset']}" in text
    assert f"bad samples that were skipped: {len(loader.skipped)}\n" in caplog.records[-1].message
    for batch in batches:
        wanted = plan.batch(batch.step, 12)
        replaced = np.flatnonzero(batch.ids.numpy() != wanted)
        assert set(wanted[replaced].tolist()) == set(wanted.tolist()) & set(bad)
        assert set(wanted[replaced].tolist()) <= {s.sample for s in batch.skipped} <= set(bad)  # substitutes among them
        assert not set(batch.ids.tolist()) & set(bad)
        assert batch.label.tolist() == shards.labels[wanted].tolist()  # a substitute is of the same class
        again = next(eval_batches(whole, batch.ids, 12, size=SIZE))  # and its own picture comes
        assert all(_same_or_mirrored(a, b) for a, b in zip(batch.face, again.face, strict=True))


def _same_or_mirrored(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.equal(a, b) or torch.equal(a, b.flip(2))


def test_every_world_skips_alike(pairs: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(pairs, tmp_path / "pairs"))
    shards = ShardSet.open([folder], "train")
    for i in (2, 20, 21, 40, 66):
        _break(folder, shards.rows.slice(i, 1).to_pylist()[0])
    plan = EpochPlan(shards.labels, seed=1)
    one = load(shards, plan, on_bad="skip")
    parts = [load(shards, plan, on_bad="skip", rank=rank, world_size=3, start_step=2) for rank in range(3)]
    for whole, *ranks in zip(one[2:], *parts, strict=True):
        assert torch.equal(whole.ids, torch.cat([batch.ids for batch in ranks]))
        assert torch.equal(whole.face, torch.cat([batch.face for batch in ranks]))
        assert set(whole.skipped) == {bad for batch in ranks for bad in batch.skipped}


def test_a_shard_that_goes_away_in_the_middle_is_skipped_until_nothing_is_left(pairs: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(pairs, tmp_path / "pairs"))
    shards = ShardSet.open([folder], "train")
    plan = EpochPlan(shards.labels, seed=1)
    gone = "train-fake-000002.tar"
    batches = train_loader(
        shards, plan, global_batch=12, start_step=0, stop_step=20, workers=0, size=SIZE, on_bad="skip"
    )
    next(batches)
    shards.close()
    (folder / gone).unlink()
    names = shards.rows["shard"].to_pylist()
    assert not [i for batch in batches for i in batch.ids.tolist() if names[i] == gone]
    assert {names[i] for i in batches.skipped} == {gone}
    assert all(f"{gone}" in text and "cannot be opened" in text for text in batches.skipped.values())
    shards.close()
    for tar in folder.glob("train-fake-*.tar"):
        tar.unlink()
    with pytest.raises(ShardError, match=r"and 20 substitutes of its class are bad; .*cannot be opened"):
        load(shards, plan, on_bad="skip")
    with pytest.raises(ShardError, match=r"cannot be opened: No such file"):
        load(shards, plan)


def test_a_resume_reads_what_it_needs_and_nothing_before(
    shards: ShardSet, plan: EpochPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []
    read = ShardSet.view
    monkeypatch.setattr(ShardSet, "view", lambda self, i: reads.append(i) or read(self, i))
    counts = []
    for start in (0, 3, 100, 10**7):
        reads.clear()
        with train_loader(
            shards, plan, global_batch=12, start_step=start, stop_step=10**8, workers=0, size=SIZE
        ) as loader:
            batch = next(loader)
        assert batch.ids.tolist() == plan.batch(start, 12).tolist() == reads
        counts.append(len(reads))
    assert counts == [12] * 4
