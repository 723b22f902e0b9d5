"""`pack.match`: reals and fakes agree exactly in what is named, in each split; every reader takes the same samples."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mrigan.checked_json import read_checked_json, write_checked_json
from mrigan.data import EpochPlan, ShardSet
from mrigan.errors import ConfigError, ShardError
from mrigan.files import hash_json, sha256_file
from mrigan.packing import build_shards, plan_shards, shard_stats
from mrigan.packing.shortcuts import balanced_accuracy
from mrigan.packing.stats_view import show
from mrigan.shardset.matching import matched
from tests.packing.conftest import PNG, Built, config, tree

BOTH = "pack.match=[compression,face_px]"


def rows(count: int = 6000) -> pa.Table:
    """Fakes from c40 and of larger faces more often than reals; two splits."""
    rng = np.random.default_rng(0)
    fake = rng.random(count) < 0.6
    compression = np.where(rng.random(count) < np.where(fake, 0.8, 0.3), "c40", "c23")
    width = rng.lognormal(5, 0.3, count) * np.where(fake, 1.4, 1.0)
    return pa.table({
        "key": [f"{i:012x}-000000-00" for i in rng.permutation(count)], "label": np.where(fake, "fake", "real"),
        "split": np.where(rng.random(count) < 0.8, "train", "val"), "compression": compression,
        "face_px": pa.array(width, pa.float32()),
    })  # fmt: skip


def histogram(table: pa.Table, label: str, split: str) -> Counter[tuple[str, int]]:
    """Faces by compression and quarter of an octave of their width, counted one by one."""
    return Counter(
        (row["compression"], int(np.floor(4 * np.log2(row["face_px"]))))
        for row in table.to_pylist()
        if (row["label"], row["split"]) == (label, split)
    )


def test_the_two_histograms_agree_and_the_smaller_side_of_each_cell_is_whole() -> None:
    table = rows()
    taken = table.filter(pa.array(matched(table, ["compression", "face_px"], 0)))
    for split in ("train", "val"):
        real, fake = (histogram(taken, label, split) for label in ("real", "fake"))
        before = [histogram(table, label, split) for label in ("real", "fake")]
        assert real == fake == before[0] & before[1]  # of two Counters: the smaller count
        assert balanced_accuracy(*before) > 0.75
        assert balanced_accuracy(real, fake) == 0.5


def test_the_choice_hangs_on_key_and_seed_alone() -> None:
    table = rows(2000)

    def chosen(of: pa.Table, seed: int = 0) -> set[str]:
        return set(of["key"].filter(pa.array(matched(of, ["compression"], seed))).to_pylist())

    shuffled = table.take(np.random.default_rng(1).permutation(len(table)))
    assert chosen(shuffled) == chosen(table)
    assert chosen(table, 1) != chosen(table)
    assert len(chosen(table, 1)) == len(chosen(table))
    larger = table.filter(pa.array(matched(table, ["compression"], 0)))
    assert set(larger["split"].to_pylist()) == {"train", "val"}
    assert not matched(table.slice(0, 0), ["compression", "face_px"], 0).size


@pytest.fixture
def planned(copy: Callable[[], Path]) -> Path:
    """The small set as if it had been planned with `pack.match`, its fakes' faces wider and more compressed."""
    folder = copy()
    table = pq.read_table(folder / "samples.parquet").to_pylist()
    for i, row in enumerate(table):
        fake = row["label"] == "fake"
        row["compression"] = "c40" if i % 5 < (4 if fake else 1) else "c23"
        row["face_px"] = 100.0 if (i % 3 > 0) == fake else 60.0
    pq.write_table(pa.Table.from_pylist(table, pq.read_schema(folder / "samples.parquet")), folder / "samples.parquet")
    plan, match = read_checked_json(folder / "plan.json")[0], ["compression", "face_px"]
    for settings in (plan["config"], plan["decides"]["config"]):
        settings["pack"]["match"] = match
    samples = sha256_file(folder / "samples.parquet")
    changed = {"plan.json": plan, "manifest.json": {"samples_sha256": samples, "match": match, "seed": 0}}
    for path in folder.glob("*.json"):  # the sidecars, too
        data = read_checked_json(path)[0] | changed.get(path.name, {})
        write_checked_json(path, data | {"plan_hash": hash_json(plan["decides"])})
    return folder


def test_who_reads_the_set_takes_the_same_samples(planned: Path, built: Built) -> None:
    every, some = ShardSet.open([built.folder], "train"), ShardSet.open([planned], "train")
    assert 0 < len(some) < len(every)
    assert int(some.labels.sum()) * 2 == len(some)
    assert some.rows["key"].to_pylist() == [key.decode() for key in some.keys]  # rows by id, as without
    real, fake = (histogram(some.rows, label, "train") for label in ("real", "fake"))
    assert real == fake
    assert some.hash != every.hash
    assert len(EpochPlan(some.labels, 0).epoch(0)) == len(some)  # nothing is left to balance
    assert some.read(0)[0] == every.read(int(np.flatnonzero(every.keys == some.keys[0])[0]))[0]


def test_stats_show_before_and_after(planned: Path) -> None:
    stats = shard_stats(planned)
    unmatched = sum(group.dropped["unmatched"] for group in stats.groups)
    faces = {label: sum(g.faces for g in stats.groups if (g.label, g.split) == (label, "train"))
             for label in ("real", "fake")}  # fmt: skip
    assert faces["real"] == faces["fake"] == len(ShardSet.open([planned], "train")) // 2
    train = stats.matching["train"]
    assert train["after"] | {"telling": {}} == {**faces, "telling": {}}
    assert train["before"]["telling"]["compression"] > 0.7
    assert train["after"]["telling"]["compression"] == train["after"]["telling"]["width of the face"] == 0.5
    lines = "\n".join(show(stats))
    assert f"{unmatched} unmatched" in lines
    assert f"train takes {faces['real']} of {train['before']['real']} real" in lines
    assert "compression alone tells them apart: 0." in lines
    assert json.loads(json.dumps(stats.as_dict()))["match"] == ["compression", "face_px"]


def test_it_changes_no_shard_and_no_plan_without_it(built: Built, tmp_path: Path) -> None:
    """Faces are all stored: only the tables differ, and a set without it is planned as it always was."""
    from mrigan.packing.plan import what_decides

    assert "match" not in what_decides(config(), "x")["config"]["pack"]
    assert config("pack.match=compression,face_px") == config(BOTH)
    assert what_decides(config(BOTH), "x")["config"]["pack"]["match"] == ["compression", "face_px"]
    plan_shards(built.catalog, config(*PNG, BOTH, f"pack.faces_dir={built.folder / 'faces'}"), tmp_path / "shards")
    summary = build_shards(tmp_path / "shards", workers=1)
    tars = {name: data for name, data in tree(tmp_path / "shards").items() if name.endswith(".tar")}
    assert tars == {name: data for name, data in tree(built.folder).items() if name.endswith(".tar")}
    stored = sum(len(part.filter(pa.compute.equal(part["status"], "ok")))
                 for part in [pq.read_table(tmp_path / "shards" / "samples.parquet")])  # fmt: skip
    assert summary.stored == stored
    left = sum(len(ShardSet.open([tmp_path / "shards"], split)) for split in ("train",))
    assert summary.unmatched > 0
    assert any(f"{summary.unmatched} of the stored faces are unmatched" in line for line in summary.lines())
    assert 0 < left < stored


def test_what_cannot_be_matched_is_said(planned: Path) -> None:
    with pytest.raises(ConfigError, match=r"no such fact: codec(.|\n)*compression, face_px, frame_size"):
        plan_shards(planned, config("pack.match=[codec]"), planned / "x")
    table = rows(50)
    with pytest.raises(ShardError, match="no face_px"):
        matched(table.drop_columns("face_px"), ["face_px"], 0)
    apart = [row | {"compression": row["label"]} for row in pq.read_table(planned / "samples.parquet").to_pylist()]
    pq.write_table(
        pa.Table.from_pylist(apart, pq.read_schema(planned / "samples.parquet")), planned / "samples.parquet"
    )
    manifest, _ = read_checked_json(planned / "manifest.json")
    manifest["samples_sha256"] = sha256_file(planned / "samples.parquet")
    write_checked_json(planned / "manifest.json", manifest)
    with pytest.raises(ShardError, match=r"pack\.match leaves none"):
        ShardSet.open([planned], "train")
    assert replace(shard_stats(planned)).matching["train"]["after"]["real"] == 0
