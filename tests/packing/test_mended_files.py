"""What is damaged in a set's own files is made again where that can be; sets of format 3 are read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mrigan.checked_json import CHECKSUM
from mrigan.errors import ShardError
from mrigan.files import hash_json
from mrigan.packing import build_shards, check_shards, plan_shards, repair_shards, shard_stats
from mrigan.packing.derive import plan_from
from tests.packing.bound import MARKER, SIDECAR, altered, found, leaves, own_files, replaced, trained_on
from tests.packing.conftest import PNG, config, tree


def test_what_can_be_made_again_is_mended(small: Path, folder: Path) -> None:
    """A marker without a key, the record of the clips, a table of detections, the totals: each alone, then all."""
    damages: dict[str, Callable[[bytes], bytes]] = {
        MARKER: lambda data: data.replace(b'"samples"', b'"samplez"', 1),
        SIDECAR: lambda data: data.replace(b"fake", b"real"),
        "inputs.parquet": lambda data: data[:-9],
        "manifest.json": lambda data: data.replace(b'"kind": "pairs"', b'"kind": "faces"'),
        sorted(path.relative_to(folder).as_posix() for path in (folder / "faces").iterdir())[0]: lambda data: data[9:],
    }
    whole = tree(small)
    for names in ([name] for name in damages), [list(damages)]:
        for group in names:
            for name in group:
                (folder / name).write_bytes(damages[name]((folder / name).read_bytes()))
            assert found(folder), group
            repair = repair_shards(folder, only_failed=True, workers=1)
            assert repair.ok
            left = set(whole) - set(tree(folder))
            assert left <= {name for name in group if name.startswith("faces/")}, group
            assert all(tree(folder)[name] == whole[name] for name in set(whole) - left), group
            assert check_shards(folder, workers=1).ok
            shutil.copytree(small / "faces", folder / "faces", dirs_exist_ok=True)


def test_a_damaged_plan_is_mended_by_planning_again(small: Path, folder: Path) -> None:
    (folder / "plan.json").write_bytes((folder / "plan.json").read_bytes().replace(b'"margin": 0.', b'"margin": 1.', 1))
    with pytest.raises(ShardError, match=r"damaged(.|\n)*same plan again"):
        repair_shards(folder, workers=1)
    catalog = small.parent / "catalog.parquet"
    with pytest.raises(ShardError, match="damaged"):  # it is not the plan that the units were made of
        plan_shards(catalog, config(*PNG, "faces.every=6"), folder)
    plan_shards(catalog, config(*PNG, "faces.every=5"), folder)
    assert tree(folder) == tree(small)
    assert check_shards(folder, workers=1).ok


def test_damaged_detections_are_found_again(small: Path, folder: Path) -> None:
    (table, *_) = sorted((folder / "faces").iterdir())
    whole = table.read_bytes()
    rows = pq.read_table(table)
    moved = rows.set_column(rows.schema.get_field_index("x0"), "x0", [[x + 1 for x in rows["x0"].to_pylist()]])
    pq.write_table(moved, table)
    for marker in (folder / "units").glob("*.json"):
        marker.unlink()
    build_shards(folder, workers=1)
    assert table.read_bytes() == whole
    assert tree(folder) == tree(small)


def as_format_3(folder: Path) -> None:
    """The set as earlier versions wrote it: no checksum in any file, another plan hash."""
    plan = json.loads((folder / "plan.json").read_text())
    decides = plan["decides"] | {"format": 3}
    plan_hash = hash_json(decides)
    for path in [path for path in own_files(folder) if path.suffix == ".json"]:
        data = json.loads(path.read_text().replace(plan["plan_hash"], plan_hash))
        for key in (CHECKSUM, "libraries" if path.parent.name == "units" else "", "units_sha256"):
            data.pop(key, None)
        for shard in data.get("shards", []):
            shard.pop(CHECKSUM, None)
        new = {"format": 3, "decides": decides} if path.name == "plan.json" else {"format": 3}
        path.write_text(json.dumps(data | {key: value for key, value in new.items() if key in data}))
    for path in [folder / "inputs.parquet", *(folder / "faces").iterdir()]:
        table = pq.ParquetFile(path).read()
        about = json.loads(table.schema.metadata.get(b"mrigan.faces", b"{}"))
        kept = {key: value for key, value in about.items() if key not in (CHECKSUM, "checked")}
        pq.write_table(table.replace_schema_metadata({"mrigan.faces": json.dumps(kept)} if kept else None), path)


def test_a_set_of_format_3_is_read_and_verify_says_what_it_cannot_prove(small: Path, folder: Path) -> None:
    good = trained_on(folder)
    as_format_3(folder)
    before = tree(folder)
    check = check_shards(folder, workers=1)
    assert (check.ok, len(check.unchecked)) == (True, 2)
    assert [line for line in check.lines() if "not proven: a set of format 3 has no checksums" in line]
    assert trained_on(folder) == good
    assert shard_stats(folder).built == 2
    catalog = small.parent / "catalog.parquet"
    with pytest.raises(ShardError, match="format: 3 → 4"):
        plan_shards(catalog, config(*PNG, "faces.every=5"), folder)
    build_shards(folder, workers=1)
    assert tree(folder) == before  # a finished set is not written again
    (folder / MARKER).write_text((folder / MARKER).read_text().replace('"samples"', '"samplez"', 1))
    with pytest.raises(ShardError, match="is of format 3"):
        repair_shards(folder, only_failed=True, workers=1)
    assert plan_from(folder, ["faces.margin=0.3"], folder.parent / "new").format == 4
    plan = json.loads((folder / "plan.json").read_text())
    for way in leaves(plan["config"]):
        if way[-1] not in ("faces_dir", "weights", "seconds_per_file"):  # they decide no byte
            (folder / "plan.json").write_text(json.dumps(plan | {"config": replaced(plan["config"], way, altered)}))
            assert found(folder), way
