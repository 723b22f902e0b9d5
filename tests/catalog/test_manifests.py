"""Manifests: their columns, what is counted, and label files that must not lead anywhere else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mrigan.catalog import scan_catalog
from mrigan.errors import CatalogError, ConfigError


def manifest(folder: Path, text: str, files: list[str] = (), name: str = "clips.csv") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(b"video")
    (folder / name).write_text(text)
    return folder / name


def reasons(result) -> dict[str, int]:
    return {problem.reason: problem.count for problem in result.problems}


MANIFEST = """path,label,original,identity,donor,method,compression,mood
real/a.mp4,real,,ann,,,c23,glad
real/b.mp4,0,,bob,,,c23,sad
fake/ab.mp4,FAKE,real/a.mp4,ann,bob,swap,c23,
fake/aa.mp4,1,./real//a.mp4,ann,ann;joe,reenact,c23,
"""
FILES = ["real/a.mp4", "real/b.mp4", "fake/ab.mp4", "fake/aa.mp4"]


def test_manifest_csv(tmp_path):
    catalog, result = scan_catalog("manifest", manifest(tmp_path, MANIFEST, FILES))
    clips = {clip.path: clip for clip in catalog.clips}
    assert clips["fake/ab.mp4"].id == "clips/swap/c23/fake/ab.mp4"
    assert clips["fake/ab.mp4"].original == clips["real/a.mp4"].id == clips["fake/aa.mp4"].original
    assert (clips["fake/aa.mp4"].targets, clips["fake/aa.mp4"].donors) == (("ann",), ("ann", "joe"))
    assert clips["real/b.mp4"].method == "original"
    assert result.notes[0] == "columns not used: mood"
    assert len({clip.split for clip in catalog.clips}) == 1  # joined by ann and bob


def test_manifest_json_lines_and_another_root(tmp_path):
    rows = [
        {"path": "a.mp4", "label": 0, "identity": ["ann"], "dataset": "mine", "frames": 30},
        {"path": "b.mp4", "label": 1, "original": "a.mp4", "dataset": "mine", "targets": "ann", "donors": ["bob"]},
    ]
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / "videos").mkdir(exist_ok=True)
        (tmp_path / "videos" / name).write_bytes(b"")
    file = manifest(tmp_path / "lists", "\n".join(map(json.dumps, rows)), name="clips.jsonl")
    catalog, result = scan_catalog("manifest", file, base=tmp_path / "videos")
    assert [clip.id for clip in catalog.clips] == ["mine/-/-/b.mp4", "mine/original/-/a.mp4"]
    assert catalog.clips[0].original == "mine/original/-/a.mp4"
    assert all(catalog.path(clip).is_file() for clip in catalog.clips)
    assert not any("columns" in note for note in result.notes)
    with pytest.raises(ConfigError, match="--root is for a manifest"):
        scan_catalog("dfdc", tmp_path, base=tmp_path)


def test_manifest_with_one_name_in_two_methods_keeps_both(tmp_path):
    text = "path,label,name,method\nx/1.mp4,fake,1,x\ny/1.mp4,fake,1,y\n"
    catalog, _ = scan_catalog("manifest", manifest(tmp_path, text, ["x/1.mp4", "y/1.mp4"]))
    assert [clip.id for clip in catalog.clips] == ["clips/x/-/1", "clips/y/-/1"]


def test_manifest_missing_originals(tmp_path):
    text = "path,label,original\nf1.mp4,fake,gone.mp4\nf2.mp4,fake,gone.mp4\nf3.mp4,fake,unlisted.mp4\ngone.mp4,real,\n"
    catalog, result = scan_catalog("manifest", manifest(tmp_path, text, ["f1.mp4", "f2.mp4", "f3.mp4"]))
    assert reasons(result) == {"fakes with a missing original (kept, no MRI)": 3, "skipped: listed but not on disk": 1}
    assert [clip.original for clip in catalog.clips] == [None] * 3
    assert len({clip.family for clip in catalog.clips}) == 2


def test_manifest_official_splits_are_used(tmp_path):
    text = "path,label,original,split\na.mp4,real,,train\nf.mp4,fake,a.mp4,test\nb.mp4,real,,validation\n"
    catalog, result = scan_catalog("manifest", manifest(tmp_path, text, ["a.mp4", "b.mp4", "f.mp4"]))
    assert {clip.path: clip.split for clip in catalog.clips} == {"a.mp4": "train", "f.mp4": "test", "b.mp4": "val"}
    assert "the splits of the manifest are used" in result.notes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\nx.mp4,real\n", "column path missing"),
        ("path\nx.mp4\n", "column label missing"),
        ("", "column path and label missing"),
        ("path,label\n", "no rows"),
        ("path,label\nx.mp4,deepfake\n", r"label 'deepfake' of x\.mp4"),
        ("path,label\nx.mp4,real\n./x.mp4,real\n", r"x\.mp4 is listed twice(.|\n)*to do: remove one"),
        ("path,label,name\nx.mp4,real,n\ny.mp4,real,n\n", r"two clips have the id clips/original/-/n(.|\n)*to do: "),
        ("path,label,split\nx.mp4,real,train\ny.mp4,real,\n", "1 of 2 clips have a split"),
        ("path,label,split\nx.mp4,real,holdout\n", "split 'holdout'"),
        ("path,label,original\nx.mp4,real,\ny.mp4,real,x.mp4\n", "is real and has an original"),
        ("path,label\nx.mp4,real,oops\n", "2 fields"),
        ('path,label\n"x.mp4,real\n', "broken CSV"),
        ('{"path": "x.mp4", "label": "real"}\n{"path": ', "broken JSON"),
        ('{"path": "x.mp4"}', "without path and label"),
        ('{"path": ["x.mp4"], "label": 1}', "neither a text"),
        ("path,label\n../../etc/passwd,real\n", r"'../../etc/passwd' points out"),
        ("path,label\n/etc/passwd,real\n", r"is an absolute path(.|\n)*write the path relative to .*set"),
        ("path,label\nlink.mp4,real\n", "is a link that leads out"),
        ("path,label\n,real\n", "is not a file name"),
    ],
)
def test_bad_manifests(tmp_path, text, message):
    (tmp_path / "secret").write_bytes(b"")
    file = manifest(tmp_path / "set", text, ["x.mp4", "y.mp4"])
    (tmp_path / "set" / "link.mp4").symlink_to(tmp_path / "secret")
    with pytest.raises(CatalogError, match=message):
        scan_catalog("manifest", file)


def test_absolute_paths_in_the_manifests_folder_are_as_good_as_relative_ones(tmp_path):
    folder = tmp_path / "set"
    text = "path,label\n{}x.mp4,real\n{}y.mp4,fake\n"
    expected, _ = scan_catalog("manifest", manifest(folder, text.format("", ""), ["x.mp4", "y.mp4"]))
    written, _ = scan_catalog("manifest", manifest(folder, text.format(f"{folder}/", f"{folder}/"), []))
    assert written.clips == expected.clips


def test_a_video_is_no_manifest(tmp_path):
    (tmp_path / "x.csv").write_bytes(b"\x00\x00\x00\x20ftypisom\xff\xfe")
    with pytest.raises(CatalogError, match="UTF-8"):
        scan_catalog("manifest", tmp_path / "x.csv")


@pytest.mark.shared_data
def test_real_celeb_df_and_faceforensics_by_manifest(shared_data, tmp_path):
    lines = ["path,label,original,identity,donor,method,dataset,compression"]
    for file in sorted((shared_data / "celeb-df-v2").glob("Celeb-*/*.mp4")):
        people = file.stem.split("_")
        original = "" if len(people) == 2 else f"celeb-df-v2/Celeb-real/{people[0]}_{people[2]}.mp4"
        lines.append(
            f"{file.relative_to(shared_data)},{'fake' if original else 'real'},{original},{people[0]},"
            f"{people[1] if original else ''},synthesis,celeb-df-v2,"
        )
    for file in sorted((shared_data / "faceforensics").glob("*/*/c40/videos/*.mp4")):
        target, _, donor = file.stem.partition("_")
        original = f"faceforensics/original_sequences/youtube/c40/videos/{target}.mp4" if donor else ""
        lines.append(
            f"{file.relative_to(shared_data)},{'fake' if donor else 'real'},{original},{target},{donor},"
            f"{file.parts[-4]},faceforensics,c40"
        )
    (tmp_path / "clips.csv").write_text("\n".join(lines))
    catalog, result = scan_catalog("manifest", tmp_path / "clips.csv", base=shared_data)
    assert len(catalog) == 42
    assert not result.problems
    assert sum(clip.original is not None for clip in catalog.clips) == 30
    assert len(catalog.families()) == 12
    couples = {clip.split for clip in catalog.clips if clip.name.rpartition("/")[2][:3] in ("469", "481")}
    assert len(couples) == 1  # swapped into each other: one side
    for split in ("train", "val", "test"):
        assert {clip.label for clip in catalog.clips if clip.split == split} == {"real", "fake"}


def test_relaxing_donors_is_advised_only_where_it_unties_something(tmp_path):
    files = [f"{i}.mp4" for i in range(8)]
    one_group = "path,label,group\n" + "".join(
        f"{file},{'real' if i % 2 else 'fake'},all\n" for i, file in enumerate(files)
    )
    _, result = scan_catalog("manifest", manifest(tmp_path / "group", one_group, files))
    linked = [note for note in result.notes if "linked by" in note]
    assert len(linked) == 1
    assert "--relax-donors" not in linked[0]
    donors = "path,label,identity,donor\n" + "".join(f"{file},fake,{i},{i + 1}\n" for i, file in enumerate(files))
    _, result = scan_catalog("manifest", manifest(tmp_path / "donors", donors, files))
    assert any("linked by" in note and "--relax-donors" in note for note in result.notes)
