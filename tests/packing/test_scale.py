"""Large plans and tables at a small scale: counts, and memory that does not grow with the set (benchmarks/plan.py runs
the whole of DFDC)."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mrigan.packing import load_plan, read_rows
from mrigan.shardset.plan_file import unit_names
from mrigan.shardset.rows import ROW_GROUP, SCHEMA, Row, merge_rows, stream_rows, write_rows
from tests.conftest import ROOT
from tests.packing.conftest import Built

CLIPS, FACES = 600, 4


def test_the_simulation_of_dfdc_counts_every_row(tmp_path: Path) -> None:
    command = [sys.executable, "benchmarks/plan.py", "--clips", str(CLIPS), "--faces-per-clip", str(FACES)]
    subprocess.run([*command, "--json", tmp_path / "found.json"], cwd=ROOT, check=True, capture_output=True)
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["scan"]["clips"] == found["plan"]["clips"] == CLIPS
    assert found["audit"]["leaks"] == 0
    assert found["task"]["units"] == 1
    assert found["invent"]["rows"] == found["merge"]["rows"] == found["stats"]["rows"] == CLIPS * FACES
    assert found["merge"]["shards"] == 2 * found["plan"]["units"]


def a_unit(path: Path, rows: int) -> Path:
    row = Row("0123456789ab-000010-00", "dfdc/original/-/part/clip.mp4", "dfdc", "original", "", "part/clip.mp4",
              "real", "train", "dfdc/original/-/part/clip.mp4", "part", 0, 10, 0.3, "ok", "",
              mri_mean=0.0, face_px=90.0)  # fmt: skip
    write_rows(path, [Row(**{**vars(row), "key": f"{i:012x}-000010-00", "frame": i}) for i in range(rows)])
    return path


@pytest.mark.parametrize("units", [3, 60])
def test_a_merge_holds_a_row_group_and_a_unit(tmp_path: Path, units: int) -> None:
    unit, held = a_unit(tmp_path / "unit.parquet", 6000), []
    size = pq.read_table(unit).nbytes
    before = pa.total_allocated_bytes()

    def paths() -> Iterator[Path]:
        for _ in range(units):
            held.append(pa.total_allocated_bytes() - before)
            yield unit

    merge_rows(paths(), tmp_path / "all.parquet")
    assert max(held) < 3 * (ROW_GROUP / 6000 + 1) * size  # 60 units are 5 row groups
    rows = pq.ParquetFile(tmp_path / "all.parquet")
    assert rows.metadata.num_rows == units * 6000
    assert rows.metadata.num_row_groups == -(-units * 6000 // ROW_GROUP)


def test_merged_rows_are_the_units_rows_one_after_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mrigan.shardset.rows.ROW_GROUP", 7)
    sizes = (3, 0, 9, 20, 1)
    units = [a_unit(tmp_path / f"{i}.parquet", size) for i, size in enumerate(sizes)]
    merge_rows(units, tmp_path / "all.parquet")
    expected = pa.concat_tables([pq.read_table(path) for path in units])
    assert read_rows(tmp_path / "all.parquet").equals(expected)
    streamed = list(stream_rows(tmp_path / "all.parquet", ["frame"]))
    assert [table.num_rows for table in streamed] == [7, 7, 7, 7, 5]
    merge_rows([], tmp_path / "none.parquet")
    assert read_rows(tmp_path / "none.parquet").equals(SCHEMA.empty_table())


def test_a_worker_reads_its_units_only(built: Built) -> None:
    whole = load_plan(built.folder)
    names = unit_names(built.folder)
    assert names == [unit.name for unit in whole.units]
    some = load_plan(built.folder, only=names[3:5])
    assert some.units == whole.units[3:5]
    assert (some.hash, some.config, some.roots) == (whole.hash, whole.config, whole.roots)
    table = pq.ParquetFile(built.folder / "plan.parquet")
    assert table.num_row_groups == len(names)
    assert load_plan(built.folder, only=()).units == ()
