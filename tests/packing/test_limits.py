"""No shard is larger than it may be: what a unit gives beyond that lies in further shards, by the same rules."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections import Counter
from pathlib import Path

import pytest

from mrigan.data.reader import ShardSet
from mrigan.packing import build_shards, plan_shards, verify_shards
from mrigan.packing.repair import repair_shards
from mrigan.shardset.rows import read_rows
from mrigan.shardset.tar import cut, sample_size, write_shard
from tests.packing.conftest import PNG, Built, config, tree

MOST = 4


@pytest.fixture(scope="module")
def capped(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The set of `built` again, at most `MOST` samples a shard."""
    folder = tmp_path_factory.mktemp("limits") / "shards"
    faces = f"pack.faces_dir={built.folder / 'faces'}"
    plan_shards(built.catalog, config(*PNG, f"pack.shard_samples={MOST}", faces), folder)
    build_shards(folder, workers=1)
    return folder


def members(folder: Path) -> dict[str, bytes]:
    """Everything that lies in the tars of a set, by plain tarfile."""
    found: dict[str, bytes] = {}
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                file = tar.extractfile(member)
                assert file is not None
                assert member.name not in found
                found[member.name] = file.read()
    return found


def test_the_limits_hold_and_nothing_else_changes(built: Built, capped: Path) -> None:
    rows = [row for row in read_rows(capped / "samples.parquet").to_pylist() if row["status"] == "ok"]
    held = Counter(row["shard"] for row in rows)
    assert max(held.values()) == MOST
    assert {path.name for path in capped.glob("*.tar")} == held.keys()
    listed = json.loads((capped / "manifest.json").read_text())["shards"]
    assert {shard["shard"]: shard["samples"] for shard in listed} == held
    for (split, label, unit), number in Counter(tuple(name[:-4].split("-")[:3]) for name in held).items():
        first = f"{split}-{label}-{unit}"
        together = [held[f"{first}.tar"], *(held[f"{first}-{part}.tar"] for part in range(1, number))]
        assert number == -(-sum(together) // MOST)
        assert max(together) - min(together) <= 1
    assert members(capped) == members(built.folder)
    assert max(path.stat().st_size for path in built.folder.glob("*.tar")) <= 2**20  # its pack.shard_mib
    assert any(path.stem.endswith("-1") for path in built.folder.glob("*.tar"))
    assert verify_shards(capped) == []
    for split in ("train", "val"):
        ours, plain = (ShardSet.open([folder], split=split) for folder in (capped, built.folder))
        assert [ours.read(i) for i in range(len(ours))] == [plain.read(i) for i in range(len(plain))]


def test_another_builder_and_a_repair_make_the_same_parts(built: Built, capped: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(capped, tmp_path / "shards"))
    before, part = tree(folder), next(iter(folder.glob("*-2.tar")))
    unit = json.loads(part.with_suffix(".json").read_text())["unit"]
    for suffix in (".tar", ".idx", ".json"):  # of a build that was killed when it had read more clips than now
        shutil.copy(part.with_suffix(suffix), folder / f"{part.stem[:-2]}-9{suffix}")
    part.write_bytes(part.read_bytes()[:-600])
    assert {damage.file for damage in verify_shards(folder)} == {part.name, f"{part.stem[:-2]}-9.tar"}
    repair = repair_shards(folder, only_failed=True, workers=1)
    assert unit in repair.rebuilt
    assert tree(folder) == before
    for path in folder.glob(f"{part.stem[:-2]}*"):
        path.unlink()
    build_shards(folder, workers=2)
    assert tree(folder) == before


@pytest.mark.parametrize(("sizes", "most", "room"), [
    ([30_000] * 100, 7, 2**20), ([30_000] * 100, 1000, 2**20), ([2_000_000, 500, 700], 10, 2**20), ([512], 1, 2**20),
    ([n * 997 % 90_000 + 1 for n in range(300)], 1000, 2**20), ([100_000] * 10, 10, 10 * 101_888 - 1),
])  # fmt: skip
def test_samples_are_cut_into_few_archives_of_equal_length(
    sizes: list[int], most: int, room: int, tmp_path: Path
) -> None:
    parts = cut([sample_size([size]) for size in sizes], most, room)
    assert [i for part in parts for i in part] == list(range(len(sizes)))
    lengths = [len(part) for part in parts]
    assert max(lengths) <= most
    written = []
    for number, part in enumerate(parts):
        path = tmp_path / f"{number}.tar"
        write_shard(path, ((f"{i:06d}", [("bin", bytes(sizes[i]))]) for i in part), {})
        written.append(path.stat().st_size)
    assert all(size <= room or length == 1 for size, length in zip(written, lengths, strict=True))
    fewest = max(-(-len(sizes) // most), -(-sum(written) // room))
    assert len(parts) <= fewest + 1
    if len(set(sizes)) == 1:
        assert max(lengths) - min(lengths) <= 1
