"""Celeb-DF-v2 with all its names and its test list, generated and real."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from mrigan.catalog import Catalog, audit, scan_catalog
from mrigan.errors import CatalogError
from tests.catalog.results import by_id, differences, keys

from . import trees


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
    assert differences(result)["of the 590 published clips of Celeb-real are missing"] == 584
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
        (b"\xff\xff", "UTF-8"),
    ],
)
def test_celeb_df_broken_lists(tmp_path, text, message):
    trees.touch(tmp_path, ["Celeb-real/id0_0000.mp4"])
    file = tmp_path / "list.txt"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(CatalogError, match=message):
        scan_catalog("celeb-df", tmp_path, splits=file)


# DFDC and its relatives
