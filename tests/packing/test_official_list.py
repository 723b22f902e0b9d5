"""A published test list whose fakes' originals lie in train: a set of its own, and never part of a training."""

from __future__ import annotations

import tarfile
from collections import Counter
from pathlib import Path

import pytest

from mrigan.catalog import Catalog, scan_catalog, write_catalog
from mrigan.errors import CatalogError
from mrigan.packing import load_plan, plan_shards, shard_stats, verify_shards
from mrigan.shardset.rows import read_rows
from tests.catalog import trees
from tests.clips import write_clip
from tests.packing.conftest import config, make
from tests.packing.videos import SHARP, portraits

LIST = "List_of_testing_videos.txt"
TEST = "pack.splits=[test]"
SETTINGS = ("pack.mri_format=png", "faces.every=5")
HOPPER, BROKEN = (f"celeb-df-v2/original/-/id{k}_0000" for k in (1, 2))
SWAPPED, LOST = (f"celeb-df-v2/synthesis/-/{name}_0000" for name in ("id0_id1", "id2_id0"))


def listed_ids(file: Path) -> set[str]:
    """The clips that a list names, by id."""
    method = {"1": "original", "0": "synthesis"}
    lines = (line.split() for line in file.read_text().splitlines())
    return {f"celeb-df-v2/{method[label]}/-/{Path(path).stem}" for label, path in lines}


def scanned(root: Path, splits: Path, out: Path) -> Path:
    catalog, _ = scan_catalog("celeb-df", root, splits=splits)
    write_catalog(catalog, out)
    return out


def build(catalog: Path, out: Path, *settings: str) -> None:
    """Plan and build, by one worker in this process."""
    plan = plan_shards(catalog, config(*settings), out)
    make(plan)


def samples(folder: Path) -> dict[str, bytes]:
    """What is in the tars, by the members' names."""
    found = {}
    for shard in folder.glob("*.tar"):
        with tarfile.open(shard) as tar:
            found |= {member.name: tar.extractfile(member).read() for member in tar}
    return found


@pytest.fixture(scope="module")
def torn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real clips in the layout: a listed fake of an original in train, a listed original whose fake is in train, a
    listed fake of a broken original in train."""
    root = tmp_path_factory.mktemp("celeb")
    for folder in ("Celeb-real", "YouTube-real", "Celeb-synthesis"):
        (root / folder).mkdir()
    for k, person in enumerate(portraits()):
        write_clip(root / f"Celeb-real/id{k}_0000.mp4", person.frames(11), options=SHARP)
        write_clip(root / f"Celeb-synthesis/id{k}_id{1 - k}_0000.mp4", person.frames(11, forged=True), options=SHARP)
    (root / "Celeb-real/id2_0000.mp4").write_bytes(b"this is no video" * 100)
    mirrored = portraits()[0].mirrored()
    write_clip(root / "Celeb-synthesis/id2_id0_0000.mp4", mirrored.frames(11, forged=True), options=SHARP)
    write_clip(root / "YouTube-real/00000.mp4", mirrored.frames(11), options=SHARP)
    (root / LIST).write_text(
        "1 Celeb-real/id1_0000.mp4\n1 YouTube-real/00000.mp4\n"
        "0 Celeb-synthesis/id0_id1_0000.mp4\n0 Celeb-synthesis/id2_id0_0000.mp4\n"
    )
    scanned(root, root, root / "catalog.parquet")
    return root


@pytest.mark.shared_data
def test_the_published_list_is_a_set_of_its_own(shared_data: Path, tmp_path: Path) -> None:
    """On a copy with all clips of Celeb-DF-v2: the 518 listed videos, and 164 originals to compare with."""
    file = shared_data / "celeb-df-v2" / LIST
    trees.celeb_df(tmp_path / "clips", [line.split()[1] for line in file.read_text().splitlines()])
    catalog = scanned(tmp_path / "clips", file, tmp_path / "catalog.parquet")
    plan = plan_shards(catalog, config(TEST), tmp_path / "test")
    families = [family for unit in plan.units for family in unit.families]
    own = Counter(clip.id for family in families for clip in family.own)
    assert set(own) == listed_ids(file)
    assert set(own.values()) == {1}
    references = [family for family in families if family.reference]
    assert len(references) == 164
    assert {clip.split for family in references for clip in family.fakes} == {"test"}
    assert {family.reference.split for family in references if family.reference} == {"train"}
    assert {family.split for family in families} == {"test"}
    assert load_plan(tmp_path / "test") == plan
    said = "\n".join(plan.lines())
    assert "test: 518 clips" in said
    assert "164 originals of other splits" in said
    for splits in ("train", "train,test", "train,val,test"):
        with pytest.raises(CatalogError, match="catalog audit") as error:
            plan_shards(catalog, config(f"pack.splits=[{splits}]"), tmp_path / splits)
        assert "pack.splits=[test]" in str(error.value)
        assert not (tmp_path / splits).exists()


@pytest.mark.shared_data
def test_real_clips_of_the_published_list(shared_data: Path, tmp_path: Path) -> None:
    root = shared_data / "celeb-df-v2"
    catalog = scanned(root, root, tmp_path / "catalog.parquet")
    build(catalog, tmp_path / "set", TEST, "faces.every=150")
    rows = read_rows(tmp_path / "set" / "samples.parquet").to_pylist()
    there = {path.stem for path in root.glob("Celeb-*/*.mp4")}
    expected = {clip for clip in listed_ids(root / LIST) if clip.rpartition("/")[2] in there}
    assert {row["clip"] for row in rows} == expected
    assert {row["status"] for row in rows} == {"ok"}
    assert len(expected) == 3


def test_a_torn_list_end_to_end(torn: Path, tmp_path: Path) -> None:
    """Only listed clips are stored; a fake's face and MRI are those of a set in which nothing is torn."""
    with pytest.raises(CatalogError, match="catalog audit"):
        plan_shards(torn / "catalog.parquet", config(*SETTINGS), tmp_path / "all")
    build(torn / "catalog.parquet", tmp_path / "set", TEST, *SETTINGS)
    assert verify_shards(tmp_path / "set") == []
    rows = read_rows(tmp_path / "set" / "samples.parquet").to_pylist()
    stored = Counter(row["clip"] for row in rows if row["status"] == "ok")
    assert stored == {SWAPPED: 3, HOPPER: 3, "celeb-df-v2/original/-/00000": 3}
    others = {(row["clip"], row["status"], row["reason"].split(":")[0]) for row in rows if row["status"] != "ok"}
    assert others == {(LOST, "dropped", "missing_original"), (BROKEN, "failed", "unreadable")}
    assert {row["split"] for row in rows if row["clip"] != BROKEN} == {"test"}
    groups = shard_stats(tmp_path / "set").groups
    assert sum(group.faces for group in groups if group.split == "test") == 9
    # Not one of the published list: every clip in test, so that nothing is torn
    catalog, _ = scan_catalog("celeb-df", torn)
    whole = Catalog(catalog.roots, [*catalog.with_splits({clip.id: "test" for clip in catalog.clips}).clips])
    write_catalog(whole, tmp_path / "whole.parquet")
    build(tmp_path / "whole.parquet", tmp_path / "whole", TEST, *SETTINGS)
    ours, theirs = samples(tmp_path / "set"), samples(tmp_path / "whole")
    assert ours.keys() < theirs.keys()
    assert all(theirs[name] == data for name, data in ours.items())


def test_faces_of_a_torn_list_are_cut_where_the_original_has_them(torn: Path, tmp_path: Path) -> None:
    build(torn / "catalog.parquet", tmp_path / "pairs", TEST, *SETTINGS)
    build(torn / "catalog.parquet", tmp_path / "faces", TEST, *SETTINGS, "pack.kind=faces",
          f"pack.faces_dir={tmp_path}/pairs/faces")  # fmt: skip
    rows = read_rows(tmp_path / "faces" / "samples.parquet").to_pylist()
    stored = Counter(row["clip"] for row in rows if row["status"] == "ok")
    assert stored == {SWAPPED: 3, HOPPER: 3, "celeb-df-v2/original/-/00000": 3, LOST: 3}  # the last is searched itself
    pairs, faces = samples(tmp_path / "pairs"), samples(tmp_path / "faces")
    same = [name for name in pairs if name.endswith("face.jpg")]
    assert len(same) == 9
    assert all(faces[name] == pairs[name] for name in same)
