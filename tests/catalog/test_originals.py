"""Fakes and their originals in manifests: names become files, and what is of one original lies on one side."""

from __future__ import annotations

import json
import os
import unicodedata
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mrigan.catalog import Catalog, audit, missing_originals, read_catalog, scan_catalog, write_catalog
from mrigan.cli.app import app

N = 24


def write(folder: Path, rows: list[dict], name: str = "clips.jsonl") -> Path:
    """A manifest of JSON lines, and a small file for each path that is not said to be missing."""
    for row in rows:
        if not row.pop("missing", False):
            path = folder / row["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(row["path"])
    file = folder / name
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def fake(path: str, original: str, **more) -> dict:
    return {"path": path, "label": "fake", "original": original, **more}


def real(path: str, **more) -> dict:
    return {"path": path, "label": "real", **more}


def sides(catalog: Catalog, key) -> dict[str, set[tuple[str, str]]]:
    found: dict[str, set[tuple[str, str]]] = {}
    for clip in catalog.clips:
        found.setdefault(key(clip), set()).add((clip.family, clip.split))
    return found


@pytest.mark.parametrize("column", ["compression", "dataset", "method"])
@pytest.mark.parametrize(
    "names", [("raw/r{}.mp4", "raw/r{}.mp4"), ("raw/É{}.mp4", "./RAW\\E\u0301{}.mp4"), ("raw/r{}.mp4", "r{}.mp4")]
)
def test_fakes_of_a_missing_original_are_one_family(tmp_path, column, names):
    rows = [
        fake(f"{which}/f{i}.mp4", name.format(i), **{column: which})
        for i in range(N)
        for which, name in zip("ab", names, strict=True)
    ]
    rows += [real(f"others/r{i}x.mp4") for i in range(N)]
    catalog, _ = scan_catalog("manifest", write(tmp_path, rows))
    torn = sides(catalog, lambda clip: clip.path.partition("/")[2])
    assert all(len(found) == 1 for found in torn.values())
    assert {split for found in torn.values() for _, split in found} == {"train", "val", "test"}
    assert audit(catalog) == []
    assert {len(fakes) for fakes in missing_originals(catalog).values()} == {2}
    assert len(missing_originals(catalog)) == N


def test_compressions_of_one_missing_original_are_named_by_their_own_paths(tmp_path):
    rows = [
        fake(f"fakes/{c}/{i}.mp4", f"reals/{c}/{i}.mp4", compression=c) for i in range(N) for c in ("c23", "c40", "raw")
    ]
    rows += [
        real(f"reals/c23/{i}.mp4", compression="c23") for i in range(0, N, 2)
    ]  # these are there in one compression
    catalog, _ = scan_catalog("manifest", write(tmp_path, rows))
    assert all(len(found) == 1 for found in sides(catalog, lambda clip: clip.name.rpartition("/")[2]).values())
    paired = [clip for clip in catalog.clips if clip.original]
    assert {clip.compression for clip in paired} == {"c23"}  # a fake is never compared with another compression
    assert len(paired) == N // 2
    for family in catalog.families():
        assert all(clip.original == (family.original and family.original.id) for clip in family.fakes)


def test_a_fake_of_a_fake_is_of_the_family_of_the_first_original(tmp_path):
    rows = [real("r.mp4"), fake("f.mp4", "r.mp4"), fake("g.mp4", "f.mp4"), fake("h.mp4", "g.mp4")]
    rows += [fake("f2.mp4", "gone.mp4"), fake("g2.mp4", "f2.mp4"), fake("a.mp4", "b.mp4"), fake("b.mp4", "a.mp4")]
    rows += [fake("itself.mp4", "./itself.mp4"), real("lost.mp4", missing=True), fake("l.mp4", "lost.mp4")]
    catalog, result = scan_catalog("manifest", write(tmp_path, rows))
    clips = {clip.path: clip for clip in catalog.clips}
    r = clips["r.mp4"].id
    assert {clips[f"{n}.mp4"].family for n in "rfgh"} == {r}
    assert {clips[f"{n}.mp4"].original for n in "fgh"} == {r}  # the real face under all of them
    assert clips["f2.mp4"].family == clips["g2.mp4"].family == "clips/original/-/gone.mp4"
    assert clips["a.mp4"].family == clips["b.mp4"].family
    assert clips["itself.mp4"].family == clips["itself.mp4"].id
    assert [clips[p].original for p in ("g2.mp4", "a.mp4", "itself.mp4", "l.mp4")] == [None] * 4
    assert any(note.startswith("5 fakes of fakes") for note in result.notes)


SPELLINGS = {
    "videos/R0.mp4": "videos/R0.mp4",
    "./videos//R0.mp4": "videos/R0.mp4",
    "videos\\R0.mp4": "videos/R0.mp4",
    ".\\VIDEOS\\r0.MP4": "videos/R0.mp4",
    "R0.mp4": "videos/R0.mp4",
    "r0.MP4": "videos/R0.mp4",
    "R0": "videos/R0.mp4",
    "../videos/R0.mp4": "videos/R0.mp4",
    "/mnt/old disk/videos/R0.mp4": "videos/R0.mp4",
    "D:\\set\\videos\\R0.mp4": "videos/R0.mp4",
    "videos/E\u0301 1.mp4": "videos/É 1.mp4",
    "e\u0301%201.mp4": "videos/É 1.mp4",
    "%C3%89%201.mp4": "videos/É 1.mp4",
    "file:///x/videos/%C3%89%201.mp4": "videos/É 1.mp4",
    "other/R0.mp4": None,
    "R.mp4": None,
    "0.mp4": None,
    "..": None,
    "": None,
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_an_original_is_found_however_its_name_is_written(tmp_path, name):
    composed = unicodedata.normalize("NFC", "videos/É 1.mp4")
    catalog, _ = scan_catalog("manifest", write(tmp_path, [real("videos/R0.mp4"), real(composed), fake("f.mp4", name)]))
    clip = next(clip for clip in catalog.clips if clip.label == "fake")
    expected = SPELLINGS[name]
    assert clip.original == (expected and f"clips/original/-/{unicodedata.normalize('NFC', expected)}")


def test_an_absolute_path_below_the_root_is_found(tmp_path):
    rows = [real("a/r.mp4"), real("b/r.mp4"), fake("f.mp4", f"{tmp_path.resolve()}/b/r.mp4")]
    catalog, _ = scan_catalog("manifest", write(tmp_path, rows))
    assert [clip.original for clip in catalog.clips if clip.original] == ["clips/original/-/b/r.mp4"]


@pytest.mark.parametrize(
    ("reals", "name"),
    [
        (("a/r.mp4", "b/r.mp4"), "r.mp4"),
        (("r.MP4", "R.mp4"), "r.mp4"),
        (("x/a/r.mp4", "y/a/r.mp4"), "A\\r.mp4"),
        (("r.mp4", "r.avi"), "r"),
    ],
)
def test_an_original_that_several_files_fit_fails_the_audit(tmp_path, reals, name):
    rows = [real(path) for path in reals] + [fake(f"f{i}.mp4", name) for i in range(3)]
    rows += [real("plain.mp4"), fake("plain-f.mp4", "plain.mp4")]
    catalog, result = scan_catalog("manifest", write(tmp_path, rows))
    assert any(note.startswith("3 fakes whose original fits several files") for note in result.notes)
    fakes = [clip for clip in catalog.clips if clip.path[0] == "f"]
    assert {clip.original for clip in fakes} == {None}
    assert len({clip.family for clip in fakes}) == 1
    write_catalog(catalog, tmp_path / "c.parquet")
    leaks = audit(read_catalog(tmp_path / "c.parquet"))
    assert [leak.kind for leak in leaks] == ["unclear original"]
    assert set(leaks[0].fits) == set(reals)
    result = CliRunner().invoke(app, ["catalog", "audit", str(tmp_path / "c.parquet")])
    assert result.exit_code == 1
    assert "missing original" not in result.output
    for path in reals:
        assert path in result.output


def test_the_exact_path_wins_over_other_spellings(tmp_path):
    rows = [real("a/r.mp4"), real("a/R.mp4"), real("r.mp4"), fake("f.mp4", "a/R.mp4"), fake("g.mp4", "r.mp4")]
    catalog, _ = scan_catalog("manifest", write(tmp_path, rows))
    found = {clip.path: clip.original for clip in catalog.clips if clip.label == "fake"}
    assert found == {"f.mp4": "clips/original/-/a/R.mp4", "g.mp4": "clips/original/-/r.mp4"}
    assert audit(catalog) == []


def test_the_audit_lists_missing_originals(tmp_path):
    rows = [fake(f"{c}/f.mp4", f"x/{c}/r.mp4", compression=c) for c in ("c23", "c40")] + [fake("g.mp4", "y.mp4")]
    catalog, _ = scan_catalog("manifest", write(tmp_path, [*rows, real("z.mp4"), fake("h.mp4", "")]))
    write_catalog(catalog, tmp_path / "c.parquet")
    result = CliRunner().invoke(app, ["catalog", "audit", str(tmp_path / "c.parquet")])
    assert result.exit_code == 0
    for name in ("x/c23/r.mp4", "x/c40/r.mp4", "y.mp4"):
        assert name in result.output
    assert "2 originals are named but missing" in result.output
    assert "h.mp4" not in result.output


@pytest.mark.parametrize("key", ["group", "identity", "targets", "donor", "source", "donor_sources"])
def test_what_binds_in_a_manifest_binds_over_its_data_sets(tmp_path, key):
    rows = [real(f"{d}/{i}.mp4", dataset=d, **{key: f"k{i}"}) for i in range(N) for d in ("one", "two")]
    catalog, _ = scan_catalog("manifest", write(tmp_path, rows))
    assert all(len({split for _, split in found}) == 1 for found in
               sides(catalog, lambda clip: clip.path.partition("/")[2]).values())  # fmt: skip
    assert audit(catalog) == []
    field = {"identity": "targets", "donor": "donors"}.get(key, key)
    torn = catalog.with_splits({c.id: "train" if c.dataset == "one" else "test" for c in catalog.clips})
    assert len(audit(torn)) == N, field
    assert all(leak.key.startswith("one+two: k") for leak in audit(torn))


def test_a_plain_catalog_is_split_as_ever(tmp_path):
    """The hash of all rows, splits included, of a manifest without faults, as it was before names were looked up."""
    rows = []
    for i in range(40):
        rows.append(real(f"real/{i:03d}.mp4", identity=f"p{i % 31}", compression="c23"))
        rows += [
            fake(f"fake/{m}/{i:03d}.mp4", f"real/{i:03d}.mp4", identity=f"p{i % 31}", donor=f"d{i % 37}",
                 method=m, compression="c23")
            for m in ("swap", "reenact")
        ]  # fmt: skip
    rows += [fake(f"lost/{i}.mp4", f"gone/{i // 2}.mp4", method="swap") for i in range(10)]
    catalog, _ = scan_catalog("manifest", write(tmp_path, rows))
    assert catalog.hash == "c126af3ec6e013e3d1a69f92936d50b3c2274d340d95ed0e03e8debcf3b3575c"
    assert os.path.samefile(catalog.root, tmp_path)
