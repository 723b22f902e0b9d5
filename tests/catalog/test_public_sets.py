"""Every public data set as it is published, name by name: what is found, tied, compared with what is published."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest

from mrigan.catalog import READERS, Catalog, Leak, audit, scan_catalog
from mrigan.errors import CatalogError, ConfigError

from . import trees


def by_id(catalog: Catalog) -> dict:
    return {clip.id: clip for clip in catalog.clips}


def differences(result) -> dict[str, int]:
    return {problem.reason: problem.count for problem in result.differences}


def problems(result) -> dict[str, int]:
    return {problem.reason: problem.count for problem in result.problems}


def keys(leaks: list[Leak], kind: str) -> set[str]:
    return {leak.key for leak in leaks if leak.kind == kind}


# FaceForensics++


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
        f"of the 1,000 published clips of {part} in {c} are not here": 994 for part in parts for c in ("raw", "c40")
    } | {f"of the 8 published parts are not here in {c}": 2 for c in ("raw", "c40")}
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
        "of the 3 published compressions are not here",
        "of the 8 published parts are not here in c23",
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
    assert found["of the 1,000 published clips of FaceSwap in c23 are not here"] == (f"{target}_{donor}",)
    assert found["of the 1,000 published clips of youtube in c23 are not here"] == (every[1][0],)
    assert found["fakes of pairs that are on no split list"] == (f"FaceSwap/{wrong}",)
    assert found["skipped: not called like the data set's clips"] == (
        "manipulated_sequences/FaceSwap/c23/videos/1_2.mp4",
    )
    assert found["passed over: neither a clip nor a list"] == ("manipulated_sequences/FaceSwap/c23/videos/notes.txt",)
    assert found["passed over: no part of the data set"] == ("manipulated_sequences/Other",)
    assert found["fakes with a missing original (kept, no MRI)"] == (
        f"manipulated_sequences/FaceSwap/c23/videos/{every[1][0]}_{every[1][1]}.mp4",
    )
    assert by_id(catalog)[f"faceforensics/FaceSwap/c23/{wrong}"].original == f"faceforensics/original/c23/{target}"


@pytest.mark.parametrize(
    ("split", "text", "message"),
    [
        ("val", None, "no split list there"),
        ("val", "{}", "not a list of pairs"),
        ("val", '[["000"]]', "not a pair"),
        ("val", '[["000", 3]]', "not a pair"),
        ("val", '[["000", "../x"]]', "not a pair"),
        ("val", '[["004", "001"], ["001", "002"]]', "clip 001 is there twice"),
        ("val", '[["003", "001"]]', "clip 003 is there twice: in train and val"),
        ("val", "[[", "broken JSON"),
        ("val", "[" * 100_000, "broken JSON"),
        ("conversion_dict", '{"000": 3}', "entry '000'"),
        ("conversion_dict", '{"000": "a 0", "000": "b 0"}', "'000' is there twice"),
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


@pytest.fixture(scope="module")
def celeb_df(tmp_path_factory) -> tuple[Path, list[str]]:
    """A whole copy, and a test list of 178 reals and 340 fakes whose originals are not among the reals."""
    root = tmp_path_factory.mktemp("celeb")
    trees.celeb_df(root)
    fakes = sorted(f"Celeb-synthesis/{path.name}" for path in (root / "Celeb-synthesis").iterdir())[::16][:340]
    originals = {_original(path) for path in fakes}
    reals = sorted(f"Celeb-real/{path.name}" for path in (root / "Celeb-real").iterdir())
    listed = [path for path in reals if path not in originals][:108]
    listed += [f"YouTube-real/{k:05d}.mp4" for k in range(70)] + fakes
    assert len(listed) == 518
    lines = [f"{0 if path.startswith('Celeb-s') else 1} {path}" for path in listed]
    (root / "List_of_testing_videos.txt").write_text("\n".join(lines))
    return root, listed


def _original(fake: str) -> str:
    target, _, number = Path(fake).stem.split("_")
    return f"Celeb-real/{target}_{number}.mp4"


def test_celeb_df_one_is_real_and_every_fake_is_tied(celeb_df):
    root, listed = celeb_df
    catalog, result = scan_catalog("celeb-df", root, splits=root)
    assert (result.differences, result.problems) == ([], [])
    assert Counter(clip.label for clip in catalog.clips) == {"real": 890, "fake": 5_639}
    for clip in catalog.clips:
        assert (clip.split == "test") == (clip.path in listed)
        if clip.label == "fake":
            target, donor, number = clip.name.split("_")
            assert (clip.targets, clip.donors) == ((target,), (donor,))
            assert clip.original == f"celeb-df-v2/original/-/{target}_{number}"


def test_celeb_df_audit_names_the_originals_that_lie_in_train(celeb_df):
    root, listed = celeb_df
    catalog, _ = scan_catalog("celeb-df", root, splits=root / "List_of_testing_videos.txt")
    in_train = {_original(path) for path in listed if path.startswith("Celeb-synthesis/")}
    assert len(in_train) > 100
    fakes = {f"Celeb-synthesis/{path.name}" for path in (root / "Celeb-synthesis").iterdir()}
    torn = in_train | {_original(path) for path in fakes - set(listed)} & set(listed)  # the latter: fakes in train
    expected = {f"celeb-df-v2/original/-/{Path(path).stem}" for path in torn}
    leaks = audit(catalog)
    assert keys(leaks, "original") == keys(leaks, "family") == expected
    by_key = {leak.key: leak for leak in leaks if leak.kind == "original"}
    for path in in_train:
        key = f"celeb-df-v2/original/-/{Path(path).stem}"
        assert by_key[key].clips["train"][0] == key  # the original itself
    assert keys(leaks, "target person")


@pytest.mark.shared_data
def test_the_test_list_of_celeb_df_leaks(shared_data, tmp_path):
    """The publisher's list on a copy with all of its clips: no listed fake has its original in the test set."""
    file = shared_data / "celeb-df-v2" / "List_of_testing_videos.txt"
    listed = [line.split()[1] for line in file.read_text().splitlines()]
    trees.celeb_df(tmp_path, listed)
    catalog, result = scan_catalog("celeb-df", tmp_path, splits=file)
    assert not result.differences
    assert Counter((c.label, c.split) for c in catalog.clips)["fake", "test"] == 340
    clips = by_id(catalog)
    fakes = [clip for clip in catalog.clips if clip.split == "test" and clip.label == "fake"]
    in_train = {clip.original for clip in fakes if clips[clip.original].split == "train"}
    assert (len({clip.original for clip in fakes}), len(in_train)) == (213, 164)
    assert in_train <= keys(audit(catalog), "original")


@pytest.mark.shared_data
def test_real_celeb_df(shared_data):
    catalog, result = scan_catalog("celeb-df", shared_data / "celeb-df-v2", splits=shared_data / "celeb-df-v2")
    assert len(catalog) == 12
    assert differences(result)["of the 590 published clips of Celeb-real are not here"] == 584
    assert {leak.key for leak in audit(catalog) if leak.kind == "original"} == {
        f"celeb-df-v2/original/-/{name}" for name in ("id32_0003", "id40_0003", "id58_0002")
    }
    ours, _ = scan_catalog("celeb-df", shared_data / "celeb-df-v2")
    assert audit(ours) == []
    assert {clip.split for clip in ours.clips} == {"train", "val", "test"}


def test_celeb_df_donors_chain_all_people(celeb_df):
    root, _ = celeb_df
    catalog, result = scan_catalog("celeb-df", root)
    assert {clip.split for clip in catalog.clips if clip.label == "fake"} == {"train"}
    assert any("100% of synthesis" in note and "--relax-donors" in note for note in result.notes)
    assert any("val has no fake" in note for note in result.notes)
    assert audit(catalog) == []
    relaxed, result = scan_catalog("celeb-df", root, relax_donors=True)
    fakes = Counter(clip.split for clip in relaxed.clips if clip.label == "fake")
    assert fakes["test"] / fakes.total() == pytest.approx(0.1, abs=0.02)
    assert {(leak.kind, leak.allowed) for leak in audit(relaxed)} == {("donor person", True)}
    strict = Catalog(relaxed.root, relaxed.clips)  # the same splits without the record
    assert {leak.allowed for leak in audit(strict)} == {False}


def test_celeb_df_validation_out_of_the_official_training_set(celeb_df):
    root, listed = celeb_df
    catalog, _ = scan_catalog(
        "celeb-df", root, splits=root, fractions={"train": 0.9, "val": 0.1, "test": 0}, relax_donors=True
    )
    assert {clip.path for clip in catalog.clips if clip.split == "test"} == set(listed)
    rest = [clip for clip in catalog.clips if clip.split != "test"]
    assert Counter(c.split for c in rest)["val"] / len(rest) == pytest.approx(0.1, abs=0.02)
    people = {split: {p for c in rest if c.split == split for p in c.targets} for split in ("train", "val")}
    assert not people["train"] & people["val"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 Celeb-real/id0_0000.mp4", r"Celeb-real/id0_0000\.mp4 is labelled 0"),
        ("1 Celeb-synthesis/id0_id1_0000.mp4", "is labelled 1"),
        ("1 Celeb-real/id0_0000.mp4\n1 Celeb-real/id0_0000.mp4", "listed twice"),
        ("1 Celeb-real/../../etc/passwd.mp4", "not a line"),
        ("Celeb-real/id0_0000.mp4 1", "not a line"),
        ("\n", "empty"),
        (b"\xff\xfe", "UTF-8"),
    ],
)
def test_celeb_df_broken_lists(tmp_path, text, message):
    trees.touch(tmp_path, ["Celeb-real/id0_0000.mp4"])
    file = tmp_path / "list.txt"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(CatalogError, match=message):
        scan_catalog("celeb-df", tmp_path, splits=file)


# DFDC and its relatives


def test_dfdc_complete_and_not(tmp_path):
    trees.dfdc(tmp_path, clips=2_000, reals=400)
    _, result = scan_catalog("dfdc", tmp_path)
    assert differences(result) == {"of the 119,154 published entries of the lists are not here": 117_154}
    shutil.rmtree(tmp_path / "dfdc_train_part_7")
    catalog, result = scan_catalog("dfdc", tmp_path)
    assert [(p.count, p.examples) for p in result.differences] == [(1, ("dfdc_train_part_7",))]
    assert audit(catalog) == []
    with pytest.raises(ConfigError, match="no official lists"):
        scan_catalog("dfdc", tmp_path, splits=tmp_path)


def test_dfdc_preview(tmp_path):
    trees.dfdc_preview(tmp_path)
    rows = json.loads((tmp_path / "dataset.json").read_text())
    catalog, result = scan_catalog("dfdc-preview", tmp_path, splits=tmp_path)
    assert (result.differences, result.problems) == ([], [])
    clips = by_id(catalog)
    for clip in catalog.clips:
        assert (clip.label, clip.split) == (rows[clip.path]["label"], rows[clip.path]["set"])
        if clip.label == "fake":
            donor, _, source = Path(clip.path).name.partition("_")
            original = clips[clip.original]
            assert original.path == f"original_videos/{clip.targets[0]}/{source}"
            assert (clip.donors, original.targets) == ((donor,), clip.targets)
    assert audit(catalog) == []
    victim = next(clip for clip in catalog.clips if clip.label == "real")
    (tmp_path / victim.path).unlink()
    trees.touch(tmp_path, ["method_A/1/1_A/2_1_A_000.mp4"])
    catalog, result = scan_catalog("dfdc-preview", tmp_path)
    assert differences(result) == {
        "clips of dataset.json are not here": 1,
        "of the 1,131 published real clips are not here": 1,
    }
    assert problems(result)["skipped: on disk but not in dataset.json"] == 1
    assert problems(result)["fakes with a missing original (kept, no MRI)"] == sum(
        clip.family == victim.id for clip in catalog.clips
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"method_A/1/x.mp4": {"label": "real", "set": "train"}}', "labelled real"),
        ('{"method_A/1/x.mp4": {"label": "fake"}}', "no label and set"),
        ('{"../x.mp4": {"label": "fake", "set": "train"}}', "climbs out"),
        ('{"x.mp4": {"label": "fake", "set": "train"}}', "in no folder"),
        ('["x.mp4"]', "not a list of clips"),
    ],
)
def test_dfdc_preview_broken_lists(tmp_path, text, message):
    trees.touch(tmp_path, ["original_videos/1/1_A_000.mp4"])
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(CatalogError, match=message):
        scan_catalog("dfdc-preview", tmp_path)


def test_dfdc_test_set_is_all_test(tmp_path):
    trees.dfdc_test(tmp_path / "test")
    catalog, result = scan_catalog("dfdc-test", tmp_path / "test")
    assert (result.differences, result.problems) == ([], [])
    assert Counter((clip.label, clip.split) for clip in catalog.clips) == {
        ("real", "test"): 2500,
        ("fake", "test"): 2500,
    }
    assert all((clip.label == "fake") == (int(clip.name[1:6]) % 2) for clip in catalog.clips)  # 1 = FAKE
    assert {clip.original for clip in catalog.clips} == {None}


def test_dfdc_validation_set_and_videos_in_a_folder_of_their_own(tmp_path):
    root = tmp_path / "validation"
    trees.dfdc_test(root, 8)
    (root / "videos").mkdir()
    for file in root.glob("*.mp4"):
        file.rename(root / "videos" / file.name)
    (root / "videos" / "x00003.mp4").unlink()
    trees.touch(root, ["videos/extra.mp4"])
    catalog, result = scan_catalog("dfdc-test", root)
    assert {(clip.dataset, clip.split) for clip in catalog.clips} == {("dfdc-validation", "val")}
    assert problems(result) == {"skipped: listed but not on disk": 1, "skipped: on disk but not in labels.csv": 1}
    assert differences(result) == {"of the 4,000 published lines of labels.csv are not here": 3_992}
    assert all(catalog.path(clip).is_file() for clip in catalog.clips)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("filename,label\nx.mp4,2\n", "line 2"),
        ("name,is_fake\nx.mp4,1\n", "line 1"),
        ("filename,label\nx.mp4,1\nx.mp4,0\n", "listed twice"),
        ("filename,label\n../../x.mp4,1\n", "climbs out"),
        ('filename,label\n"x.mp4,1\n', "broken CSV"),
        ("filename,label\n", "no clips found"),
    ],
)
def test_dfdc_test_broken_labels(tmp_path, text, message):
    trees.touch(tmp_path, ["x.mp4"])
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(CatalogError, match=message):
        scan_catalog("dfdc-test", tmp_path)


def test_uadfv(tmp_path):
    trees.uadfv(tmp_path)
    catalog, result = scan_catalog("uadfv", tmp_path)
    assert (result.differences, result.problems) == ([], [])
    assert len(catalog.families()) == 49
    assert all(family.original and len(family.fakes) == 1 for family in catalog.families())
    (tmp_path / "real/0007.mp4").unlink()
    catalog, result = scan_catalog("uadfv", tmp_path)
    assert [problem.examples for problem in result.differences] == [("0007",)]
    assert problems(result) == {"fakes with a missing original (kept, no MRI)": 1}


# Stills


def test_ffhq_photos_and_photographers_stay_together(tmp_path):
    trees.ffhq(tmp_path, 420, ("thumbnails128x128", "in-the-wild-images"), size=3)
    rows = json.loads((tmp_path / "ffhq-dataset-v2.json").read_text())
    catalog, result = scan_catalog("ffhq", tmp_path)
    assert Counter((clip.label, clip.compression) for clip in catalog.clips) == {
        ("real", "128"): 420,
        ("real", "wild"): 420,
    }
    assert all(clip.path.endswith(".png") for clip in catalog.clips)
    for clip in catalog.clips:
        facts = rows[str(int(clip.name))]["metadata"]
        assert (clip.source, clip.group) == (facts["photo_url"], facts["author"])
    assert audit(catalog) == []
    assert differences(result) == {
        f"of the 70,000 published pictures of {variant} are not here": 69_580
        for variant in ("thumbnails128x128", "in-the-wild-images")
    }
    official, _ = scan_catalog("ffhq", tmp_path, splits=tmp_path)
    assert Counter(clip.split for clip in official.clips) == {"train": 720, "val": 120}
    (tmp_path / "thumbnails128x128/00000/00005.png").write_bytes(b"x")
    _, result = scan_catalog("ffhq", tmp_path / "thumbnails128x128")
    assert [(problem.count, problem.examples) for problem in result.problems] == [(1, ("00000/00005.png",))]


def test_ffhq_one_variant_alone_and_without_its_list(tmp_path):
    trees.ffhq(tmp_path, 30)
    with_list, _ = scan_catalog("ffhq", tmp_path / "thumbnails128x128")
    assert {clip.group for clip in with_list.clips} == {"a0", "a1"}
    (tmp_path / "ffhq-dataset-v2.json").unlink()
    without, result = scan_catalog("ffhq", tmp_path)
    assert [clip.id for clip in without.clips] == [clip.id for clip in with_list.clips]
    assert any("no ffhq-dataset-v2.json" in note for note in result.notes)


def test_fdf_by_licence(tmp_path):
    trees.fdf(tmp_path, {"cc-by-2": 200, "cc-by-nc-sa-2": 100})
    catalog, result = scan_catalog("fdf", tmp_path)
    assert len(catalog) == 300
    assert all(clip.label == "real" for clip in catalog.clips)
    assert differences(result) == {
        "of the 352,961 published pictures of cc-by-2 are not here": 352_761,
        "of the 623,598 published pictures of cc-by-nc-sa-2 are not here": 623_498,
        "of the 199,502 published pictures of cc-by-sa-2 are not here": 199_502,
        "of the 295,192 published pictures of cc-by-nc-2 are not here": 295_192,
    }
    assert audit(catalog) == []
    assert {clip.split for clip in catalog.clips} == {"train", "val", "test"}
    assert {clip.id for clip in catalog.clips if clip.name == "cc-by-2/12"} == {"fdf/original/-/cc-by-2/12"}


@pytest.mark.parametrize("folder", ["images/128", "images", "cc-by-2"])
def test_fdf_as_others_unpack_it(tmp_path, folder):
    trees.touch(tmp_path, [f"{folder}/{k}.png" for k in range(12)] + ["metainfo.zip"])
    catalog, result = scan_catalog("fdf", tmp_path)
    assert len(catalog) == 12
    assert not result.problems


# All of them


@pytest.mark.parametrize("reader", [name for name in READERS if name != "manifest"])
def test_an_empty_folder_names_the_layout(reader, tmp_path):
    for root in (tmp_path, tmp_path / "absent"):
        with pytest.raises(CatalogError, match=r"to do: expected ROOT/"):
            scan_catalog(reader, root)


LAYOUTS = {
    "celeb-df": "Celeb-real/id0_0000.mp4",
    "faceforensics": "original_sequences/youtube/c23/videos/000.mp4",
    "uadfv": "real/0000.mp4",
    "dfdc-preview": "original_videos/1/1_A_000.mp4",
    "ffhq": "thumbnails128x128/00000/00000.png",
    "fdf": "images/cc-by-2/0.png",
}


@pytest.mark.parametrize(("reader", "path"), LAYOUTS.items())
def test_links_that_lead_out_are_refused(reader, path, tmp_path):
    (tmp_path / "secret").write_bytes(b"secret")
    root = tmp_path / "set"
    trees.touch(root, [path])
    catalog, _ = scan_catalog(reader, root)
    assert len(catalog) == 1
    link = (root / path).with_name(re.sub(r"0(?=\.\w+$)", "1", Path(path).name))
    assert not link.exists()
    link.symlink_to(tmp_path / "secret")
    with pytest.raises(CatalogError, match="is a link that leads out"):
        scan_catalog(reader, root)


@pytest.mark.parametrize(("reader", "path"), LAYOUTS.items())
def test_hostile_file_names_are_counted_and_shown_harmless(reader, path, tmp_path):
    trees.touch(tmp_path, [path])
    folder, suffix = (tmp_path / path).parent, Path(path).suffix
    for name in (b"a\nb", b"\xff\xfe", b"\x1b[31m"):
        (bytes(folder) + b"/" + name + suffix.encode()).decode("utf-8", "surrogateescape")
        with open(bytes(folder) + b"/" + name + suffix.encode(), "wb"):
            pass
    catalog, result = scan_catalog(reader, tmp_path)
    assert len(catalog) == 1
    assert problems(result)["skipped: a name with control characters, line breaks or no UTF-8"] == 3
    shown = " ".join(map(str, result.problems))
    assert shown.isprintable()
    shown.encode()  # no surrogates


@pytest.mark.parametrize(("reader", "path"), LAYOUTS.items())
def test_two_files_of_one_clip_are_refused(reader, path, tmp_path):
    other = {".mp4": ".avi", ".png": ".jpg"}[Path(path).suffix]
    trees.touch(tmp_path, [path, path.replace(Path(path).suffix, other)])
    with pytest.raises(CatalogError, match="two clips are called"):
        scan_catalog(reader, tmp_path)
