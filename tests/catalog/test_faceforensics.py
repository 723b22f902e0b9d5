"""FaceForensics++ with all its names and lists, generated and real."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from mrigan.catalog import audit, scan_catalog
from mrigan.errors import CatalogError
from tests.catalog.results import by_id, differences

from . import trees


@pytest.fixture(scope="module")
def pairs() -> dict[str, list[tuple[str, str]]]:
    return trees.faceforensics_pairs()


@pytest.fixture(scope="module")
def faceforensics(tmp_path_factory, pairs) -> Path:
    root = tmp_path_factory.mktemp("ff")
    every = [pair for rows in pairs.values() for pair in rows]
    trees.faceforensics(root, every)
    trees.faceforensics(root, every[:3], ("raw", "c40"), actors=False)
    trees.write_pairs(root / "splits", pairs)
    return root


def test_faceforensics_ties_every_fake(faceforensics):
    catalog, result = scan_catalog("faceforensics", faceforensics)
    clips = by_id(catalog)
    assert Counter(clip.method for clip in catalog.clips if clip.compression == "c23") == {
        "original": 1_363, "DeepFakeDetection": 3_068, **dict.fromkeys(trees.FF_METHODS, 1_000)
    }  # fmt: skip
    assert not result.problems
    assert all(clip.original in clips for clip in catalog.clips if clip.label == "fake")
    for clip in catalog.clips:
        if clip.label == "fake":
            original = clips[clip.original]
            assert (original.compression, original.targets) == (clip.compression, clip.targets)
            target, donor = clip.name.split("__")[0].split("_")
            assert clip.targets[0].removeprefix("actor ") == target
            assert clip.donors[0].removeprefix("actor ") == donor
    actor = clips["faceforensics/DeepFakeDetection/c23/" + _first(faceforensics, "DeepFakeDetection")]
    assert clips[actor.original].name == "__".join([actor.name[:2], actor.name.split("__")[1]])
    missing = {reason: count for reason, count in differences(result).items() if "raw" in reason or "c40" in reason}
    parts = ("youtube", *trees.FF_METHODS)
    assert missing == {
        f"of the 1,000 published clips of {part} in {c} are missing": 994 for part in parts for c in ("raw", "c40")
    } | {f"of the 8 published parts are missing in {c}": 2 for c in ("raw", "c40")}
    assert differences(result) == missing  # c23 is whole


def _first(root: Path, method: str) -> str:
    return min((root / f"manipulated_sequences/{method}/c23/videos").iterdir()).stem


def test_faceforensics_compressions_of_one_clip_stay_together(faceforensics):
    catalog, _ = scan_catalog("faceforensics", faceforensics)
    sides: dict[str, set[str]] = {}
    for clip in catalog.clips:
        sides.setdefault(clip.name, set()).add(clip.split)
    assert {len(splits) for splits in sides.values()} == {1}
    assert audit(catalog) == []


def test_faceforensics_official_splits_are_the_lists(faceforensics, pairs):
    catalog, result = scan_catalog("faceforensics", faceforensics, splits=faceforensics / "splits")
    split_of = {clip: split for split, rows in pairs.items() for pair in rows for clip in pair}
    for clip in catalog.clips:
        assert clip.split == split_of.get(clip.targets[0], "")
    actors = [clip for clip in catalog.clips if clip.targets[0].startswith("actor")]
    assert len(actors) == 3_431
    assert {clip.split for clip in actors} == {""}
    assert any("3431 clips (actors)" in note for note in result.notes)
    assert audit(catalog) == []  # no conversion_dict: nobody knows of shared uploads
    assert any("no conversion_dict.json" in note for note in result.notes)


def test_faceforensics_shared_uploads_leak_on_the_lists_and_not_on_ours(faceforensics, pairs, tmp_path):
    """Four uploads of two clips: two inside a split, two across; the audit names the two."""
    inside = [(pairs["train"][0][0], pairs["train"][5][1]), (pairs["test"][0][0], pairs["test"][0][1])]
    across = [(pairs["train"][1][0], pairs["val"][1][0]), (pairs["val"][2][1], pairs["test"][3][0])]
    sources = {f"{k:03d}": f"own{k} 0" for k in range(1000)}
    for number, couple in enumerate(inside + across):
        sources |= {clip: f"upload {number} {place}" for place, clip in enumerate(couple)}
    lists = trees.write_pairs(tmp_path / "dataset" / "splits", pairs)
    (tmp_path / "dataset" / "conversion_dict.json").write_text(json.dumps(sources))
    catalog, _ = scan_catalog("faceforensics", faceforensics, splits=lists)
    leaks = audit(catalog)
    assert {(leak.kind, leak.key) for leak in leaks} == {
        ("upload source", "faceforensics: upload 2"),
        ("upload source", "faceforensics: upload 3"),
    }
    assert set(leaks[0].clips) == {"train", "val"}
    assert leaks[0].clips["val"][0].startswith("faceforensics/original/c23/")
    root = tmp_path / "copy"
    trees.faceforensics(root, [pair for rows in pairs.values() for pair in rows], methods=("Deepfakes",), actors=False)
    shutil.copy(tmp_path / "dataset" / "conversion_dict.json", root)
    ours, _ = scan_catalog("faceforensics", root)
    assert {clip.source for clip in ours.clips if clip.targets[0] in inside[0]} == {"upload 0"}
    assert audit(ours) == []
    sides = Counter(split for clip, split in {(c.name, c.split) for c in ours.clips if c.label == "real"})
    assert sides["train"] == pytest.approx(800, abs=25)


@pytest.mark.shared_data
def test_the_official_splits_of_faceforensics_leak_seven_uploads(shared_data, tmp_path):
    """With the publisher's own lists, on all clips of two methods: seven uploads cross, and nothing else."""
    lists = shared_data / "faceforensics"
    pairs = [
        pair for split in ("train", "val", "test") for pair in json.loads((lists / f"splits/{split}.json").read_text())
    ]
    trees.faceforensics(tmp_path, pairs, methods=("Deepfakes", "NeuralTextures"), actors=False)
    catalog, result = scan_catalog("faceforensics", tmp_path, splits=lists / "splits")
    assert Counter(clip.split for clip in catalog.clips) == {"train": 2_160, "val": 420, "test": 420}
    assert set(differences(result)) == {
        "of the 3 published compressions are missing",
        "of the 8 published parts are missing in c23",
    }
    leaks = audit(catalog)
    assert {leak.kind for leak in leaks} == {"upload source"}
    crossing = {
        tuple(sorted(clip.rpartition("/")[2] for ids in leak.clips.values() for clip in ids if "/original/" in clip))
        for leak in leaks
    }
    assert crossing == {("605", "606"), ("639", "640"), ("755", "756"), ("837", "838"), ("875", "876"), ("954", "955"),
                        ("982", "983")}  # fmt: skip


def test_faceforensics_actors_are_one_chain_unless_donors_are_relaxed(faceforensics):
    catalog, result = scan_catalog("faceforensics", faceforensics)
    actors = [clip for clip in catalog.clips if clip.targets[0].startswith("actor")]
    assert {clip.split for clip in actors} == {"train"}
    assert any("100% of DeepFakeDetection" in note and "--relax-donors" in note for note in result.notes)
    relaxed, result = scan_catalog("faceforensics", faceforensics, relax_donors=True)
    assert not any("chained" in note for note in result.notes)
    assert {clip.split for clip in relaxed.clips if clip.method == "DeepFakeDetection"} == {"train", "val", "test"}
    leaks = audit(relaxed)
    assert {(leak.kind, leak.allowed) for leak in leaks} == {("donor person", True)}
    assert all(made.relax_donors for made in relaxed.making.values())


def test_faceforensics_open_clips_can_be_drawn(faceforensics):
    catalog, _ = scan_catalog("faceforensics", faceforensics, splits=faceforensics / "splits", relax_donors=True,
                              fractions={"train": 0.6, "val": 0.2, "test": 0.2})  # fmt: skip
    assert all(clip.split for clip in catalog.clips)
    youtube = [clip for clip in catalog.clips if not clip.targets[0].startswith("actor")]
    assert all(clip.split == clip.official_split for clip in youtube)
    actors = Counter(clip.split for clip in catalog.clips if clip.targets[0].startswith("actor"))
    assert actors["val"] / actors.total() == pytest.approx(0.2, abs=0.05)


def test_faceforensics_missing_and_foreign_files_are_named(pairs, tmp_path):
    every = [pair for rows in pairs.values() for pair in rows]
    trees.faceforensics(tmp_path, every, methods=("FaceSwap",), actors=False)
    lists = trees.write_pairs(tmp_path / "splits", pairs)
    (target, donor), folder = every[0], tmp_path / "manipulated_sequences/FaceSwap/c23/videos"
    (folder / f"{target}_{donor}.mp4").unlink()
    (tmp_path / f"original_sequences/youtube/c23/videos/{every[1][0]}.mp4").unlink()
    wrong = f"{target}_{every[2][0]}"
    trees.touch(
        tmp_path, [f"{folder.relative_to(tmp_path)}/{name}" for name in (f"{wrong}.mp4", "1_2.mp4", "notes.txt")]
    )
    trees.touch(
        tmp_path, ["manipulated_sequences/FaceSwap/masks/videos/000_003.mp4", "manipulated_sequences/Other/x.mp4"]
    )
    catalog, result = scan_catalog("faceforensics", tmp_path, splits=lists)
    found = {problem.reason: problem.examples for problem in (*result.differences, *result.problems)}
    assert found["of the 1,000 published clips of FaceSwap in c23 are missing"] == (f"{target}_{donor}",)
    assert found["of the 1,000 published clips of youtube in c23 are missing"] == (every[1][0],)
    assert found["fakes of pairs that are on no split list"] == (f"FaceSwap/{wrong}",)
    assert found["skipped: not named like the data set's clips"] == (
        "manipulated_sequences/FaceSwap/c23/videos/1_2.mp4",
    )
    assert found["skipped: neither a clip nor a list"] == ("manipulated_sequences/FaceSwap/c23/videos/notes.txt",)
    assert found["skipped: not a part of the data set"] == ("manipulated_sequences/Other",)
    assert found["fakes with a missing original (kept, no MRI)"] == (
        f"manipulated_sequences/FaceSwap/c23/videos/{every[1][0]}_{every[1][1]}.mp4",
    )
    assert by_id(catalog)[f"faceforensics/FaceSwap/c23/{wrong}"].original == f"faceforensics/original/c23/{target}"


@pytest.mark.parametrize(
    ("split", "text", "message"),
    [
        ("val", None, "no such split list"),
        ("val", "{}", "not a list of pairs"),
        ("val", '[["000"]]', "not a pair"),
        ("val", '[["000", 3]]', "not a pair"),
        ("val", '[["000", "../x"]]', "not a pair"),
        ("val", '[["004", "001"], ["001", "002"]]', "clip 001 is listed twice"),
        ("val", '[["003", "001"]]', "clip 003 is listed twice: in train and val"),
        ("val", "[[", "broken JSON"),
        ("val", "[" * 100_000, "broken JSON"),
        ("conversion_dict", '{"000": 3}', "entry '000'"),
        ("conversion_dict", '{"000": "a 0", "000": "b 0"}', "'000' is listed twice"),
        ("conversion_dict", "[]", "not a list of clips"),
    ],
)
def test_faceforensics_broken_lists(tmp_path, split, text, message):
    trees.faceforensics(tmp_path, [("000", "003")], methods=("Deepfakes",), actors=False)
    lists = trees.write_pairs(tmp_path / "splits", {"train": [("000", "003")], "val": [], "test": []})
    if split == "val":
        (lists / "val.json").unlink()
    if text is not None:
        (lists / f"{split}.json").write_text(text)
    with pytest.raises(CatalogError, match=message):
        scan_catalog("faceforensics", tmp_path, splits=lists)


# Celeb-DF-v2


def test_fakes_of_a_missing_original_are_one_family_over_compressions(tmp_path):
    folder = "manipulated_sequences/{}/{}/videos/{}.mp4"
    trees.touch(
        tmp_path, [folder.format("Deepfakes", c, f"{n:03d}_{n + 50:03d}") for c in ("c23", "c40") for n in range(9)]
    )
    trees.touch(tmp_path, ["original_sequences/youtube/c40/videos/003.mp4"])
    catalog, _ = scan_catalog("faceforensics", tmp_path)
    found: dict[str, set[str]] = {}
    for clip in catalog.clips:
        found.setdefault(clip.name[:3], set()).add(clip.family)
    assert all(len(families) == 1 for families in found.values())
    assert found["003"] == {"faceforensics/original/c40/003"}  # what is there names the family, and c23 makes no pair
    assert found["004"] == {"faceforensics/original/c23/004"}
    assert [clip.compression for clip in catalog.clips if clip.original] == ["c40"]
