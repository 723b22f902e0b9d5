"""DFDC's reader: naming rules, counted skips, and label files that must not lead anywhere else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mrigan.catalog import Catalog, audit, scan_catalog
from mrigan.errors import CatalogError, ConfigError


def part(root: Path, number: int, entries: dict[str, dict] | str, files: list[str] | None = None) -> Path:
    """Write a DFDC part; `files` defaults to everything listed."""
    folder = root / f"dfdc_train_part_{number}"
    folder.mkdir(parents=True)
    (folder / "metadata.json").write_text(entries if isinstance(entries, str) else json.dumps(entries))
    for name in files if files is not None else entries:
        (folder / name).write_bytes(b"video")
    return folder


def family(name: str, fakes: int = 1) -> dict[str, dict]:
    entries: dict[str, dict] = {f"{name}.mp4": {"label": "REAL", "split": "train"}}
    for k in range(fakes):
        entries[f"{name}_{k}.mp4"] = {"label": "FAKE", "split": "train", "original": f"{name}.mp4"}
    return entries


def reasons(result) -> dict[str, int]:
    return {problem.reason: problem.count for problem in result.problems}


def test_dfdc_parts_are_groups_and_families_hold_together(tmp_path):
    for number in (0, 2, 10):
        part(tmp_path, number, family(f"a{number}", 2) | family(f"b{number}", 1))
    catalog, result = scan_catalog("dfdc", tmp_path)
    assert len(catalog) == 15
    assert not result.problems
    fake = next(clip for clip in catalog.clips if clip.path == "dfdc_train_part_10/a10_1.mp4")
    assert fake.id == "dfdc/-/-/dfdc_train_part_10/a10_1.mp4"
    assert fake.original == fake.family == "dfdc/original/-/dfdc_train_part_10/a10.mp4"
    assert (fake.group, fake.official_split) == ("dfdc_train_part_10", "train")
    assert {clip.split for clip in catalog.clips if clip.group == "dfdc_train_part_2"} == {fake_split(catalog, 2)}
    assert {fake_split(catalog, number) for number in (0, 2, 10)} == {"train", "val", "test"}
    assert len(catalog.families()) == 6
    assert catalog.path(fake).is_file()


def fake_split(catalog: Catalog, number: int) -> str:
    return next(clip.split for clip in catalog.clips if clip.path == f"dfdc_train_part_{number}/a{number}_0.mp4")


def test_one_part_is_split_by_family_and_says_so(tmp_path):
    folder = part(tmp_path, 7, {k: v for n in "abcdefghijkl" for k, v in family(n).items()})
    catalog, result = scan_catalog("dfdc", folder)
    assert {clip.split for clip in catalog.clips} == {"train", "val", "test"}
    assert {clip.group for clip in catalog.clips} == {""}
    assert "split by family" in result.notes[0]
    # The same clips have the same names when the folder above is scanned.
    assert [clip.id for clip in catalog.clips] == [clip.id for clip in scan_catalog("dfdc", tmp_path)[0].clips]


def test_missing_files_and_originals_are_counted_not_lost(tmp_path):
    entries = {
        "real.mp4": {"label": "REAL"},
        "gone.mp4": {"label": "REAL"},
        "of_gone_1.mp4": {"label": "FAKE", "original": "gone.mp4"},
        "of_gone_2.mp4": {"label": "FAKE", "original": "gone.mp4"},
        "of_null.mp4": {"label": "FAKE", "original": None},
        "of_nothing.mp4": {"label": "FAKE"},
        "of_unlisted.mp4": {"label": "FAKE", "original": "never.mp4"},
        "odd.mp4": {"label": "MAYBE"},
    }
    folder = part(tmp_path, 0, entries, [name for name in entries if name != "gone.mp4"] + ["extra.mp4"])
    before = {path: path.read_bytes() for path in folder.iterdir()}
    catalog, result = scan_catalog("dfdc", tmp_path)
    assert reasons(result) == {
        "fakes with a missing original (kept, no MRI)": 5,
        "skipped: label is neither REAL nor FAKE": 1,
        "skipped: listed but not on disk": 1,
        "skipped: on disk but not in metadata.json": 1,
    }
    assert [clip.original for clip in catalog.clips] == [None] * 6
    families = {clip.path.split("/")[1]: clip.family for clip in catalog.clips}
    assert families["of_gone_1.mp4"] == families["of_gone_2.mp4"]  # one person, whose original is lost: one side
    assert len(set(families.values())) == 5
    assert {path: path.read_bytes() for path in folder.iterdir()} == before  # inputs are read-only


def test_an_original_in_another_part_is_found(tmp_path):
    part(tmp_path, 0, {"y.mp4": {"label": "REAL"}})
    part(tmp_path, 1, {"x.mp4": {"label": "FAKE", "original": "y.mp4"}})
    part(tmp_path, 2, family("z"))
    catalog, _ = scan_catalog("dfdc", tmp_path)
    x = next(clip for clip in catalog.clips if clip.path.endswith("x.mp4"))
    assert x.original == "dfdc/original/-/dfdc_train_part_0/y.mp4"
    assert len({clip.split for clip in catalog.clips if clip.group != "dfdc_train_part_2"}) == 1


OUTSIDE = ["../../etc/passwd", "/etc/passwd", "a/../../x.mp4", "C:\\x.mp4", "..\\x.mp4", "."]


@pytest.mark.parametrize(("entry", "as_original"), [(e, o) for e in OUTSIDE for o in (False, True)] + [("", False)])
def test_metadata_that_points_outside_is_refused(tmp_path, entry, as_original):
    bad = {"x.mp4": {"label": "FAKE", "original": entry}} if as_original else {entry: {"label": "REAL"}}
    part(tmp_path, 0, family("ok") | bad, ["ok.mp4"])
    with pytest.raises(CatalogError) as caught:
        scan_catalog("dfdc", tmp_path)
    assert repr(entry) in str(caught.value)
    assert "dfdc_train_part_0/metadata.json" in str(caught.value)


def test_a_link_that_leads_out_is_refused(tmp_path):
    (tmp_path / "secret.mp4").write_bytes(b"secret")
    folder = part(tmp_path / "set", 0, family("ok") | {"x.mp4": {"label": "REAL"}}, ["ok.mp4", "ok_0.mp4"])
    (folder / "x.mp4").symlink_to(tmp_path / "secret.mp4")
    with pytest.raises(CatalogError, match=r"'x.mp4' is a link that leads out"):
        scan_catalog("dfdc", tmp_path / "set")


def test_a_part_may_itself_be_a_link(tmp_path):
    folder = part(tmp_path / "disk2", 0, family("ok"))
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / folder.name).symlink_to(folder)
    assert len(scan_catalog("dfdc", tmp_path / "set")[0]) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{not json", "broken JSON"),
        ("[1, 2]", "not a list of clips"),
        ('{"x.mp4": "FAKE"}', "not a list of clips"),
        ('{"x.mp4": {"label": "FAKE", "original": 3}}', "original 3 is not a file name"),
        ('{"x.mp4": {"label": "FAKE"}, "x.mp4": {"label": "REAL"}}', "'x.mp4' is listed twice"),
        ("[" * 100_000, "broken JSON"),
        ("{}", "no clips found"),
    ],
)
def test_broken_metadata(tmp_path, text, message):
    part(tmp_path, 0, text, ["x.mp4"])
    with pytest.raises(CatalogError, match=message):
        scan_catalog("dfdc", tmp_path)


def test_empty_and_absent_folders(tmp_path):
    with pytest.raises(CatalogError, match=r"dfdc_train_part_N/metadata\.json"):
        scan_catalog("dfdc", tmp_path)
    with pytest.raises(CatalogError, match="no such folder"):
        scan_catalog("dfdc", tmp_path / "absent")
    with pytest.raises(ConfigError, match="did you mean dfdc"):
        scan_catalog("dfcd", tmp_path)


@pytest.mark.shared_data
def test_real_dfdc(shared_data):
    catalog, result = scan_catalog("dfdc", shared_data / "dfdc")
    assert len(catalog) == 26
    assert [clip.original[-22:] for clip in catalog.clips if clip.original] == ["aayrffkzxn.mp4_0_0.mp4"]
    assert reasons(result) == {"fakes with a missing original (kept, no MRI)": 21}
    assert {clip.split for clip in catalog.clips} == {"train", "val", "test"}


def test_one_dfdc_name_in_two_parts_is_one_family_and_said(tmp_path):
    for number in range(4):
        part(tmp_path, number, family(f"a{number}") | family(f"b{number}"))
    part(tmp_path, 4, family("a0") | family("c4") | {"x.mp4": {"label": "FAKE", "original": "gone.mp4"}})
    part(tmp_path, 5, {"y.mp4": {"label": "FAKE", "original": "gone.mp4"}, "z.mp4": {"label": "FAKE"}} | family("c5"))
    catalog, result = scan_catalog("dfdc", tmp_path)
    clips = {clip.path.removeprefix("dfdc_train_part_"): clip for clip in catalog.clips}
    a0 = [clip for path, clip in clips.items() if "/a0" in path]
    assert len(a0) == 4
    assert {(clip.family, clip.split) for clip in a0} == {(clips["0/a0.mp4"].id, clips["0/a0.mp4"].split)}
    assert clips["4/a0_0.mp4"].original == clips["4/a0.mp4"].id  # each fake is compared with the file beside it
    assert {family.id for family in catalog.families()} >= {clips["0/a0.mp4"].id, clips["4/a0.mp4"].id}
    assert clips["4/x.mp4"].family == clips["5/y.mp4"].family == "dfdc/original/-/dfdc_train_part_4/gone.mp4"
    assert clips["4/x.mp4"].split == clips["5/y.mp4"].split
    assert any("a0.mp4: dfdc_train_part_0, dfdc_train_part_4" in note for note in result.notes)
    assert audit(catalog) == []


def test_a_dfdc_fake_of_a_fake_and_other_spellings(tmp_path):
    entries = family("r") | {
        "g.mp4": {"label": "fake", "original": "r_0.mp4"},
        "h.mp4": {"label": "Fake", "original": "videos/R.MP4"},
        "self.mp4": {"label": "FAKE", "original": "self.mp4"},
        "lost.mp4": {"label": "FAKE", "original": "r.mp4"},
        "of-lost.mp4": {"label": "FAKE", "original": "lost.mp4"},
    }
    part(tmp_path, 0, entries, [name for name in entries if name != "lost.mp4"])
    catalog, result = scan_catalog("dfdc", tmp_path)
    clips = {clip.name.rpartition("/")[2]: clip for clip in catalog.clips}
    assert {clips[name].original for name in ("r_0.mp4", "g.mp4", "h.mp4", "of-lost.mp4")} == {clips["r.mp4"].id}
    assert clips["self.mp4"].family == clips["self.mp4"].id
    assert reasons(result)["fakes of fakes (in the family of the first original)"] == 2


def test_dfdc_parts_that_are_not_read_are_named(tmp_path):
    for number in range(3):
        part(tmp_path, number, family(f"a{number}"))
    part(tmp_path / "dfdc_train_part_07", 7, family("n"))
    part(tmp_path / "zips" / "more", 8, family("m"))
    (tmp_path / "zips" / "loop").symlink_to(tmp_path)
    for name in ("dfdc_train_part_9/x.mp4", "dfdc_train_part_9/y.MP4", "pictures/p.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    catalog, result = scan_catalog("dfdc", tmp_path)
    assert len(catalog) == 6
    lines = [str(problem) for problem in result.problems]
    assert len(lines) == 2
    assert all(name in lines[1] for name in ("dfdc_train_part_07/dfdc_train_part_7", "zips/more/dfdc_train_part_8"))
    assert lines[0].endswith("(dfdc_train_part_9)")
    with pytest.raises(CatalogError, match=r"in this folder or .*more/dfdc_train_part_8"):
        scan_catalog("dfdc", tmp_path / "zips")
