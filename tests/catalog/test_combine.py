"""Several data sets in one catalog, a part of one by families, moved roots, and the recipe of the paper's data."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrigan.catalog import (
    Catalog,
    Making,
    assign_splits,
    audit,
    merge_catalogs,
    move_roots,
    official_splits,
    read_catalog,
    scan_catalog,
    take,
    write_catalog,
)
from mrigan.errors import CatalogError, ConfigError

from . import trees
from .test_splits import catalog as catalog_of
from .test_splits import family


@pytest.fixture(scope="module")
def sets(tmp_path_factory) -> dict[str, Catalog]:
    root = tmp_path_factory.mktemp("sets")
    trees.dfdc(root / "dfdc", parts=10, clips=1_200, reals=200)
    trees.celeb_df(root / "celeb")
    trees.ffhq(root / "ffhq", 210)
    trees.fdf(root / "fdf", {"cc-by-2": 300})
    readers = {"dfdc": "dfdc", "celeb": "celeb-df", "ffhq": "ffhq", "fdf": "fdf"}
    return {reader: scan_catalog(reader, root / name)[0] for name, reader in readers.items()}


def test_merged_sets_keep_roots_splits_and_records(sets, tmp_path):
    merged = merge_catalogs(list(sets.values()))
    assert len(merged) == sum(map(len, sets.values()))
    for one in sets.values():
        ours = {clip.id: clip for clip in merged.clips}
        assert all(ours[clip.id] == clip and merged.path(clip) == one.path(clip) for clip in one.clips)
    assert all(merged.path(clip).is_file() for clip in merged.clips)
    assert merged.hash == merge_catalogs(list(sets.values())[::-1]).hash
    with pytest.raises(CatalogError, match="are in 4 folders"):
        _ = merged.root
    write_catalog(merged, tmp_path / "c.parquet")
    again = read_catalog(tmp_path / "c.parquet")
    assert (again.clips, again.roots, again.making, again.hash) == (
        merged.clips, merged.roots, merged.making, merged.hash
    )  # fmt: skip
    assert audit(merged) == []


def test_the_hash_does_not_know_where_the_sets_lie(sets):
    merged = merge_catalogs(list(sets.values()))
    moved = move_roots(merged, {"dfdc": Path("/mnt/dfdc")})
    assert moved.hash == merged.hash
    assert moved.roots["dfdc"] == Path("/mnt/dfdc")
    assert moved.roots["ffhq"] == merged.roots["ffhq"]
    with pytest.raises(ConfigError, match="no data set dfcd"):
        move_roots(merged, {"dfcd": Path("/mnt")})


def test_what_cannot_be_merged(sets):
    dfdc = sets["dfdc"]
    with pytest.raises(CatalogError, match="is in two of the catalogs"):
        merge_catalogs([dfdc, Catalog(dfdc.root, [replace(dfdc.clips[0])], dfdc.making)])
    with pytest.raises(CatalogError, match="has two folders"):
        merge_catalogs([dfdc, Catalog("/elsewhere", [replace(dfdc.clips[0], name="x")])])
    with pytest.raises(CatalogError, match="split in two different ways"):
        merge_catalogs([dfdc, Catalog(dfdc.root, [replace(dfdc.clips[0], name="x")])])


def test_paths_of_two_roots_are_two_files():
    """`real/1.mp4` of one folder is not `real/1.mp4` of another; below one folder it is."""
    a = replace(family(0, 0)[0], dataset="a", family="", path="x.mp4", split="train")
    b = replace(family(1, 0)[0], dataset="b", family="", path="x.mp4", split="test")
    assert audit(merge_catalogs([Catalog("/a", [a]), Catalog("/b", [b])])) == []
    assert [leak.kind for leak in audit(Catalog("/a", [a, b]))] == ["file"]


def test_half_of_dfdc_all_of_celeb_df_and_the_stills(sets):
    """MRI-GAN, section 4.4: half of the DFDC videos, whole families, and all of the others."""
    merged = take(merge_catalogs(list(sets.values())), {"dfdc": 0.5})
    whole = Counter((clip.dataset, clip.label) for catalog in sets.values() for clip in catalog.clips)
    half = Counter((clip.dataset, clip.label) for clip in merged.clips)
    for key, count in whole.items():
        assert half[key] == pytest.approx(count / 2, rel=0.03) if key[0] == "dfdc" else half[key] == count
    sizes = {family.id: len(family.clips) for family in sets["dfdc"].families()}
    for one in merged.families():
        if one.clips[0].dataset == "dfdc":
            assert len(one.clips) == sizes[one.id]  # never a part of a family
    assert merged.making["dfdc"].taken == 0.5
    assert merged.making["ffhq"].taken == 1
    before = {clip.id: clip.split for clip in sets["dfdc"].clips}
    assert all(before[clip.id] == clip.split for clip in merged.clips if clip.dataset == "dfdc")
    assert audit(merged) == []


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=40), st.floats(0.05, 1), st.integers(0, 3))
def test_taking_is_by_whole_families_seeded_and_nested(fakes, fraction, seed):
    catalog = assign_splits(catalog_of(*(family(k, count) for k, count in enumerate(fakes))))
    taken = take(catalog, {"set": fraction}, seed)
    kept = {one.id: len(one.clips) for one in taken.families()}
    whole = {one.id: len(one.clips) for one in catalog.families()}
    assert all(whole[key] == size for key, size in kept.items())
    for split in ("train", "val", "test"):
        size = sum(clip.split == split for clip in catalog.clips)
        got = sum(clip.split == split for clip in taken.clips)
        assert abs(got - fraction * size) <= max(whole.values())
        assert bool(got) == bool(size)
    assert take(catalog, {"set": fraction}, seed).hash == taken.hash
    smaller = take(catalog, {"set": fraction / 2}, seed)
    assert {clip.id for clip in smaller.clips} <= {clip.id for clip in taken.clips}


def test_seeds_take_other_families(sets):
    a, b = (take(sets["dfdc"], {"dfdc": 0.5}, seed) for seed in (1, 2))
    assert a.hash != b.hash
    assert take(sets["dfdc"], {"dfdc": 1.0}).hash == sets["dfdc"].hash


@pytest.mark.parametrize("fraction", [0, -0.5, 1.5, float("nan")])
def test_impossible_fractions_of_a_set(sets, fraction):
    with pytest.raises(ConfigError, match="cannot take"):
        take(sets["dfdc"], {"dfdc": fraction})


def test_unknown_sets_cannot_be_taken(sets):
    with pytest.raises(ConfigError, match="no data set ffhq"):
        take(sets["dfdc"], {"ffhq": 0.5})


def test_scan_takes_too(tmp_path):
    trees.dfdc(tmp_path, parts=5, clips=300, reals=50)
    half, _ = scan_catalog("dfdc", tmp_path, taken=0.5, seed=7)
    assert half.hash == take(scan_catalog("dfdc", tmp_path, seed=7)[0], {"dfdc": 0.5}, 7).hash
    assert half.making["dfdc"] == Making("drawn", 7, {"train": 0.8, "val": 0.1, "test": 0.1}, False, 0.5, 7)


def _manifest(folder, rows, name):
    """A manifest of (path, label, original, data set), and small files for its paths."""
    for path, *_ in rows:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(path)
    lines = ["path,label,original,dataset", *(",".join(row) for row in rows), ""]
    (folder / name).write_text("\n".join(lines))
    return folder / name


@pytest.mark.parametrize("there", [False, True])
def test_a_missing_original_of_two_data_sets_is_one_family_on_one_side(tmp_path, there):
    """DFDC by its reader, and fakes of the same originals in a manifest of one's own, each split by itself."""
    entries = {f"o{i}.mp4": {"label": "REAL"} for i in range(40) if there or i % 2}
    entries |= {f"f{i}.mp4": {"label": "FAKE", "original": f"o{i}.mp4"} for i in range(40)}
    part = tmp_path / "dfdc" / "dfdc_train_part_0"
    part.mkdir(parents=True)
    (part / "metadata.json").write_text(json.dumps(entries))
    for name in entries:
        (part / name).write_text(name)
    mine = [(f"g/{i}.mp4", "fake", f"videos/o{i}.mp4" if i % 3 else f"o{i}.mp4", "mine") for i in range(40)]
    mine += [(f"other/{i}.mp4", "real", "", "mine") for i in range(9)]
    dfdc = scan_catalog("dfdc", tmp_path / "dfdc", seed=1)[0]
    own = scan_catalog("manifest", _manifest(tmp_path / "own", mine, "m.csv"), seed=2)[0]
    for order in ([dfdc, own], [own, dfdc]):
        merged = merge_catalogs(order)
        clips = {clip.path.rpartition("/")[2]: clip for clip in merged.clips if not clip.path.startswith("other")}
        for i in range(40):
            fake, other = clips[f"f{i}.mp4"], clips[f"{i}.mp4"]
            assert (fake.family, fake.split) == (other.family, other.split)
            assert other.original is None  # on its side, but no pair: it may be cut or encoded otherwise
        assert audit(merged) == []
        assert {clip.split for clip in merged.clips} == {"train", "val", "test"}
    official = official_splits(own.with_clips([replace(clip, official_split="test") for clip in own.clips]))
    leaks = audit(merge_catalogs([dfdc, official]))  # what is published stays, and is said
    assert {leak.kind for leak in leaks} == {"family"}
    assert merge_catalogs([dfdc]).hash == dfdc.hash
