"""The plan: complete, gapless, one split a unit, and never silently another one in the same folder."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from mrigan.catalog import Catalog, Clip, write_catalog
from mrigan.errors import CatalogError, ConfigError, ShardError
from mrigan.packing import load_plan, plan_shards
from tests.packing.conftest import Built, config, tree

SPLITS = ("train", "train", "train", "val", "test")


def clips(families: int) -> list[Clip]:
    rows = []
    for i in range(families):
        split = SPLITS[i % 5]
        real = Clip(f"set{i % 3}", "original", "", f"c{i}", f"c{i}.mp4", "real", split=split)
        fakes = [Clip(real.dataset, "swap", "", f"c{i}-{j}", f"c{i}-{j}.mp4", "fake", real.id, split=split)
                 for j in range(i % 7)]  # fmt: skip
        rows += [real, *fakes]
    return rows


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    write_catalog(Catalog(tmp_path, clips(300)), tmp_path / "catalog.parquet")
    return tmp_path / "catalog.parquet"


def test_every_clip_is_in_one_unit_of_its_split(catalog: Path, tmp_path: Path) -> None:
    plan = plan_shards(catalog, config("pack.shard_mib=8"), tmp_path / "out")
    planned = Counter(clip.id for unit in plan.units for family in unit.families for clip in family.clips)
    assert planned == Counter(clip.id for clip in clips(300))
    assert {(unit.split, clip.split) for unit in plan.units for f in unit.families for clip in f.clips} == \
        {(split, split) for split in SPLITS}  # fmt: skip
    for split in set(SPLITS):
        units = [unit for unit in plan.units if unit.split == split]
        assert [unit.name for unit in units] == [f"{split}-{i:06d}" for i in range(len(units))]
        assert len(units) > 3


def test_two_files_of_one_clip_and_fakes_without_their_original_are_planned_as_they_pair(tmp_path: Path) -> None:
    """Clips may share a family that do not pair: a plan that is read back is the one that was made."""
    real, copy = (Clip("s", "original", "", n, f"{n}.mp4", "real", family="one", split="train") for n in ("r", "copy"))
    fakes = [Clip("s", "swap", "", f"f{i}", f"f{i}.mp4", "fake", of, family="one", split="train")
             for i, of in enumerate((real.id, copy.id, copy.id, None))]  # fmt: skip
    write_catalog(Catalog(tmp_path, [real, copy, *fakes]), tmp_path / "catalog.parquet")
    plan = plan_shards(tmp_path / "catalog.parquet", config(), tmp_path / "out")
    found = {(f.original and f.original.name, *(clip.name for clip in f.fakes)) for f in plan.units[0].families}
    assert found == {("r", "f0"), ("copy", "f1", "f2"), (None, "f3")}
    assert load_plan(tmp_path / "out").units == plan.units


def test_a_shard_mixes_its_sources(catalog: Path, tmp_path: Path) -> None:
    plan = plan_shards(catalog, config("pack.shard_mib=64"), tmp_path / "out")
    large = max(plan.units, key=lambda unit: len(unit.families))
    assert len({family.id.split("/")[0] for family in large.families}) == 3


def test_the_larger_shard_keeps_the_size_and_the_cap(catalog: Path, tmp_path: Path) -> None:
    samples = 30  # assumed a clip
    for overrides, most in ((["pack.shard_mib=20"], 20 * 2**20 / 48_000), (["pack.shard_samples=200"], 200)):
        plan = plan_shards(catalog, config(*overrides), tmp_path / overrides[0])
        for unit in plan.units:
            larger = max(samples * sum(f.original is not None for f in unit.families),
                         samples * sum(len(f.fakes) for f in unit.families))  # fmt: skip
            assert larger <= most or len(unit.families) == 1
        assert len({unit.split for unit in plan.units}) == 3


def test_the_same_plan_again_changes_nothing(catalog: Path, tmp_path: Path) -> None:
    plan_shards(catalog, config(), tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    again = plan_shards(catalog, config(), tmp_path / "out")
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    assert again == load_plan(tmp_path / "out")
    other = plan_shards(catalog, config(), tmp_path / "elsewhere")
    assert (other.hash, other.units) == (again.hash, again.units)


def test_another_plan_is_refused_with_its_differences(built: Built, tmp_path: Path) -> None:
    before = tree(built.folder)
    with pytest.raises(ShardError) as error:
        plan_shards(built.catalog, config("faces.margin=0.2", "pack.mri_format=png"), built.folder)
    assert "config.faces.margin: 0.1 → 0.2" in str(error.value)
    assert "config.faces.every: 3 → 10" in str(error.value)
    assert "catalog" not in error.value.what
    write_catalog(Catalog(built.clips.root, built.clips.clips[1:]), tmp_path / "catalog.parquet")
    with pytest.raises(ShardError, match="catalog"):
        plan_shards(tmp_path / "catalog.parquet", load_plan(built.folder).config, built.folder)
    assert tree(built.folder) == before


def test_moved_videos_are_the_same_plan(catalog: Path, tmp_path: Path) -> None:
    first = plan_shards(catalog, config(), tmp_path / "out")
    (tmp_path / "moved").mkdir()
    write_catalog(Catalog(tmp_path / "moved", clips(300)), catalog)
    moved = plan_shards(catalog, config(), tmp_path / "out")
    assert moved.hash == first.hash
    assert set(load_plan(tmp_path / "out").roots.values()) == {tmp_path / "moved"}


def test_a_folder_with_other_things_is_refused(catalog: Path, tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "precious.mp4").write_bytes(b"x")
    with pytest.raises(ShardError, match=r"precious\.mp4"):
        plan_shards(catalog, config(), tmp_path / "videos")
    with pytest.raises(ShardError, match="a file"):
        plan_shards(catalog, config(), tmp_path / "videos" / "precious.mp4")


def test_a_family_on_two_sides_is_refused(tmp_path: Path) -> None:
    rows = clips(10)
    rows[2] = Clip(**{**vars(rows[2]), "split": "test"})
    assert rows[2].original
    write_catalog(Catalog(tmp_path, rows), tmp_path / "catalog.parquet")
    with pytest.raises(CatalogError, match=rows[2].original):
        plan_shards(tmp_path / "catalog.parquet", config(), tmp_path / "out")


@pytest.mark.parametrize(("override", "word"), [
    ("mri.metric=ssimm", "ssim"), ("pack.splits=[train,dev]", "dev"), ("faces.resize=lanczos", "area"),
    ("pack.jpeg_quality=101", "101"), ("mri.weights=nowhere.safetensors", "nowhere"), ("pack.shard_mb=3", "shard_mib"),
])  # fmt: skip
def test_wrong_settings_are_named(catalog: Path, tmp_path: Path, override: str, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        plan_shards(catalog, config(override), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_unsplit_or_unwanted_clips_are_an_error(tmp_path: Path) -> None:
    write_catalog(Catalog(tmp_path, [Clip("d", "original", "", "a", "a.mp4", "real")]), tmp_path / "catalog.parquet")
    with pytest.raises(CatalogError, match="no clip is in the splits"):
        plan_shards(tmp_path / "catalog.parquet", config(), tmp_path / "out")


def test_a_damaged_plan_is_an_error(catalog: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    plan_shards(catalog, config(), out)
    (out / "plan.parquet").write_bytes(b"PAR1")
    with pytest.raises(ShardError, match=r"plan\.parquet"):
        load_plan(out)
    plan_shards(catalog, config(), out)  # the same plan mends it
    load_plan(out)
    (out / "plan.json").write_text("{")
    with pytest.raises(ShardError, match="not a JSON object"):
        load_plan(out)
