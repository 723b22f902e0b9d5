"""Every public data set as it is published, name by name: what is found, tied, compared with what is published."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest

from mrigan.catalog import READERS, audit, scan_catalog
from mrigan.errors import CatalogError, ConfigError
from tests.catalog.results import by_id, differences, problems

from . import trees


def test_dfdc_complete_and_not(tmp_path):
    trees.dfdc(tmp_path, clips=2_000, reals=400)
    _, result = scan_catalog("dfdc", tmp_path)
    assert differences(result) == {"of the 119,154 published entries of the lists are missing": 117_154}
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
        "clips of dataset.json are missing": 1,
        "of the 1,131 published real clips are missing": 1,
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
        ('{"../x.mp4": {"label": "fake", "set": "train"}}', "points out"),
        ('{"x.mp4": {"label": "fake", "set": "train"}}', "is not in a folder"),
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
    assert differences(result) == {"of the 4,000 published lines of labels.csv are missing": 3_992}
    assert all(catalog.path(clip).is_file() for clip in catalog.clips)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("filename,label\nx.mp4,2\n", "line 2"),
        ("name,is_fake\nx.mp4,1\n", "line 1"),
        ("filename,label\nx.mp4,1\nx.mp4,0\n", "listed twice"),
        ("filename,label\n../../x.mp4,1\n", "points out"),
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
        f"of the 70,000 published pictures of {variant} are missing": 69_580
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
        "of the 352,961 published pictures of cc-by-2 are missing": 352_761,
        "of the 623,598 published pictures of cc-by-nc-sa-2 are missing": 623_498,
        "of the 199,502 published pictures of cc-by-sa-2 are missing": 199_502,
        "of the 295,192 published pictures of cc-by-nc-2 are missing": 295_192,
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
    assert problems(result)["skipped: the name has control characters, line breaks or is not UTF-8"] == 3
    shown = " ".join(map(str, result.problems))
    assert shown.isprintable()
    shown.encode()  # no surrogates


@pytest.mark.parametrize(("reader", "path"), LAYOUTS.items())
def test_two_files_of_one_clip_are_refused(reader, path, tmp_path):
    other = {".mp4": ".avi", ".png": ".jpg"}[Path(path).suffix]
    trees.touch(tmp_path, [path, path.replace(Path(path).suffix, other)])
    with pytest.raises(CatalogError, match="two clips have the id"):
        scan_catalog(reader, tmp_path)
