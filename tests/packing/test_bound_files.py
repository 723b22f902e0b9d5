"""No value and no byte of a set's own files changes unseen: verify finds it, nobody trains on it or builds with it."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mrigan.catalog import Catalog, read_catalog, write_catalog
from mrigan.checked_json import CHECKSUM, write_checked_json
from mrigan.data import ShardSet
from mrigan.errors import MriganError, ShardError
from mrigan.files import hash_json, sha256_file
from mrigan.packing import build_shards, check_shards, plan_shards, repair_shards, shard_stats
from mrigan.packing.derive import plan_from
from mrigan.packing.unit import UnitMaker, UnitTask
from mrigan.packing.watch import Watch
from mrigan.scoring.face_settings import face_settings
from mrigan.shardset.manifest import write_manifest
from mrigan.shardset.plan_file import Plan
from tests.packing.conftest import PNG, Built, config, tree

REGIONS = 4  # of each small file, one bit flipped in each
MARKER, SIDECAR = "units/val-000000.json", "val-fake-000000.json"
JSONS = ("plan.json", "manifest.json", MARKER, SIDECAR)


def make(plan: Plan) -> Path:
    """Build in this process: a set of two units takes a second."""
    maker = UnitMaker(plan)
    for unit in plan.units:
        maker(UnitTask(unit), lambda progress: None)
    write_manifest(plan)
    return plan.folder


@pytest.fixture(scope="module")
def small(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two units, a family each."""
    folder = tmp_path_factory.mktemp("bound")
    (folder / "videos").mkdir()
    clips = [clip for clip in read_catalog(built.catalog).clips
             if clip.split == "val" or clip.name in ("hopper", "hopper-swap")]  # fmt: skip
    for clip in clips:
        shutil.copy(built.clips.path(clip), folder / "videos" / clip.path)
    write_catalog(Catalog(folder / "videos", clips), folder / "catalog.parquet")
    return make(plan_shards(folder / "catalog.parquet", config(*PNG, "faces.every=5"), folder / "shards"))


@pytest.fixture(scope="module")
def other(small: Path) -> Path:
    """Another set of the same clips and faces."""
    return make(plan_from(small, ["faces.margin=0.3"], small.parent / "other"))


@pytest.fixture
def folder(small: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small, tmp_path / "shards"))


def own_files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and path.parent != folder / "log"]


def small_files(folder: Path) -> list[Path]:
    return [path for path in own_files(folder) if path.suffix != ".tar"]


def found(folder: Path, full: bool = False) -> bool:
    """Whether verify says that something is wrong, in words."""
    try:
        return not check_shards(folder, full=full, workers=1).ok
    except ShardError:
        return True


def content(path: Path) -> Any:
    """What any reader of JSON or Parquet finds in a file."""
    if path.suffix == ".json":
        return json.loads(path.read_bytes())
    if path.suffix == ".parquet":
        return str(pq.ParquetFile(path).read().to_pydict())
    return path.read_bytes()


def trained_on(folder: Path) -> Any:
    """All that a training reads of the set, None where it is refused in words."""
    try:
        sets = [ShardSet.open([folder], split) for split in ("train", "val")]
        samples = [
            (s.hash, s.kind, s.labels.tolist(), s.keys.tolist(), [s.read(i) for i in range(len(s))]) for s in sets
        ]
        return samples, face_settings([folder])
    except MriganError:
        return None


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each value in a JSON object, those of the checksum and of empty lists too."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    inside = [leaf for key, item in items for leaf in leaves(item, (*path, key))]
    yield from inside or [path]


def replaced(data: Any, path: tuple[Any, ...], change: Callable[[Any], Any]) -> Any:
    """A copy of `data` with one value changed."""
    if not path:
        return change(data)
    copy = dict(data) if isinstance(data, dict) else list(data)
    copy[path[0]] = replaced(data[path[0]], path[1:], change)
    return copy


def altered(value: Any) -> Any:
    """Another value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str):
        return value[:-1] + ("0" if value[-1:] != "0" else "1")
    return "x" if value is None else [*value, 0] if isinstance(value, list) else {**value, "x": 0}


@pytest.mark.parametrize("name", JSONS)
def test_each_value_of_each_json_file_is_bound(folder: Path, name: str) -> None:
    path = folder / name
    whole = json.loads(path.read_text())
    good = trained_on(folder)
    ways = list(leaves(whole))
    assert len(ways) > 9
    for way in ways:
        path.write_text(json.dumps(replaced(whole, way, altered)))
        assert found(folder), f"{name}: {way}"
        assert trained_on(folder) in (None, good), f"{name}: {way}"


@pytest.mark.parametrize("name", JSONS)
def test_a_lost_or_doubled_key_is_damage(folder: Path, name: str) -> None:
    path = folder / name
    whole = json.loads(path.read_text())
    for key in whole:
        path.write_text(json.dumps({name: value for name, value in whole.items() if name != key}))
        assert found(folder), f"{name} without {key}"
    path.write_text(path.read_text().replace("{", '{"format": 3, "format": 4, ', 1))
    assert found(folder)


@pytest.mark.parametrize("value", ["7", -7, 1e308, None, [[[]]], {}])
def test_nonsense_with_the_right_checksum_is_found(folder: Path, value: Any) -> None:
    marker = json.loads((folder / MARKER).read_text())
    for key in ("rows", "counts", "rows_bytes", "rows_sha256", "shards", "inputs", "libraries", "unit"):
        write_checked_json(folder / MARKER, marker | {key: value})
        damages = check_shards(folder, full=False, workers=1).damages
        assert {damage.unit for damage in damages} >= {"val-000000"}, key


def test_each_value_of_the_manifest_is_what_the_units_say(folder: Path) -> None:
    whole = json.loads((folder / "manifest.json").read_text())
    del whole[CHECKSUM]
    for way in leaves(whole):
        write_checked_json(folder / "manifest.json", replaced(whole, way, altered))
        assert found(folder), way


@pytest.mark.parametrize(
    "edit", [lambda rows: rows.slice(1), lambda rows: rows.rename_columns(["kez", *rows.column_names[1:]])]
)
def test_another_table_of_the_set_is_found_and_mended_though_the_manifest_agrees(folder: Path, edit: Any) -> None:
    before, manifest = tree(folder), content(folder / "manifest.json")
    rows = pq.read_table(folder / "samples.parquet")
    pq.write_table(edit(rows), folder / "samples.parquet", compression="zstd")
    samples = {"samples_sha256": sha256_file(folder / "samples.parquet")}
    write_checked_json(folder / "manifest.json", {**manifest, **samples})
    assert [damage.file for damage in check_shards(folder).damages] == ["samples.parquet"]
    assert repair_shards(folder, workers=1).ok
    assert tree(folder) == before


def test_a_flipped_bit_in_each_region_of_each_small_file_is_found_or_changes_nothing(folder: Path) -> None:
    rng, seen = random.Random(0), 0
    good = trained_on(folder)
    for path in small_files(folder):
        whole, before = path.read_bytes(), content(path)
        for region in range(REGIONS):
            start, end = (len(whole) * edge // REGIONS for edge in (region, region + 1))
            data = bytearray(whole)
            at = rng.randrange(start, end)
            data[at] ^= 1 << rng.randrange(8)
            path.write_bytes(data)
            if found(folder):
                seen += 1
                assert trained_on(folder) in (None, good), f"{path.name} at {at}"
            else:
                assert content(path) == before, f"{path.name} at {at}"
        path.write_bytes(whole)
    assert seen > 0.9 * REGIONS * len(small_files(folder))


def test_a_file_of_zeros_or_half_a_file_is_found(folder: Path) -> None:
    for path in small_files(folder):
        whole = path.read_bytes()
        nonsense = (b"[" * 100_000, b"\xff\xfe{}") if path.name in JSONS else ()
        for data in (bytes(len(whole)), whole[: len(whole) // 2], *nonsense):
            path.write_bytes(data)
            assert found(folder), f"{path.name}: {data[:10]!r}"
        path.unlink()
        assert found(folder) or path.parent == folder / "faces", path.name  # found again when they are needed
        path.write_bytes(whole)


def test_files_that_change_places_are_found(folder: Path) -> None:
    for pattern in (
        "units/*.json",
        "units/*.parquet",
        "faces/*.parquet",
        "*-fake-*.json",
        "*-fake-*.idx",
        "*-fake-*.tar",
    ):
        one, two = sorted(folder.glob(pattern))[:2]
        first, second = one.read_bytes(), two.read_bytes()
        one.write_bytes(second)
        two.write_bytes(first)
        assert found(folder), pattern
        one.write_bytes(first)
        two.write_bytes(second)
    assert not found(folder)


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "circle of links"])
def test_what_stands_in_place_of_a_file_is_said_in_words(folder: Path, kind: str) -> None:
    """Whoever reads a pipe waits for ever, and a device swallows what is written: nothing may open them."""
    whole = tree(folder)
    for path in [*own_files(folder), *(folder / "log").iterdir()]:
        data = path.read_bytes()
        path.unlink()
        {"pipe": os.mkfifo, "device": lambda path: path.symlink_to(os.devnull), "folder": Path.mkdir,
         "circle of links": lambda path: path.symlink_to(path.name)}[kind](path)  # fmt: skip
        name = path.relative_to(folder)
        assert found(folder) or path.parent.name == "log", name
        trained_on(folder)
        with suppress(ShardError):
            Watch(folder).look()
        if kind != "circle of links":  # nothing can be written into one
            with pytest.raises(ShardError, match=f"{path.name}(.|\n)*to do:"):
                build_shards(folder, workers=1)
        path.rmdir() if kind == "folder" else path.unlink()
        path.write_bytes(data)
    assert tree(folder) == whole


def test_files_of_another_set_are_found(folder: Path, other: Path) -> None:
    for path in own_files(folder):
        stranger = other / path.relative_to(folder)
        whole = path.read_bytes()
        if stranger.is_file() and stranger.read_bytes() != whole:
            path.write_bytes(stranger.read_bytes())
            assert found(folder), path.name
            path.write_bytes(whole)
    assert not found(folder)


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


@pytest.mark.faults
def test_a_thousand_random_flips_over_all_files(folder: Path) -> None:
    rng, files, good, seen = random.Random(1), own_files(folder), trained_on(folder), 0
    for number in range(1000):
        path = rng.choice(files if number % 2 else small_files(folder))
        whole, before = path.read_bytes(), content(path)
        at = rng.randrange(len(whole))
        data = bytearray(whole)
        data[at] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        if found(folder, full=True):
            seen += 1
            assert trained_on(folder) in (None, good), f"{path.name} at {at}"
        else:
            assert content(path) == before, f"{path.name} at {at}"
        path.write_bytes(whole)
    assert seen > 900
