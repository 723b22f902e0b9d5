"""Splits and their audit: nobody on two sides, whatever ties the clips."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrigan.catalog import Catalog, Clip, assign_splits, audit, official_splits
from mrigan.errors import CatalogError, ConfigError


def family(index: int, fakes: int = 4, group: str = "", people: tuple[str, ...] = (), donor: str = "") -> list[Clip]:
    name = f"f{index:04d}"
    real = Clip("set", "original", "", name, f"{name}.mp4", "real", targets=people, group=group)
    return [real] + [
        Clip(
            "set",
            f"m{k}",
            "",
            f"{name}_{k}",
            f"{name}_{k}.mp4",
            "fake",
            original=real.id,
            targets=people,
            donors=(donor,) if donor else (),
            group=group,
        )
        for k in range(fakes)
    ]


def catalog(*families: list[Clip]) -> Catalog:
    return Catalog(Path("/videos"), [clip for clips in families for clip in clips])


def sides(clips: list[Clip], key) -> dict[str, set[str]]:
    """Oracle of the property test: by plain enumeration, on which sides each key is."""
    found: dict[str, set[str]] = {}
    for clip in clips:
        for value in key(clip):
            found.setdefault(value, set()).add(clip.split)
    return found


names = st.sampled_from([f"p{k}" for k in range(12)])


@st.composite
def graphs(draw) -> Catalog:
    clips = []
    for index in range(draw(st.integers(1, 25))):
        people = tuple(draw(st.lists(names, max_size=2, unique=True)))
        clips += family(
            index,
            draw(st.integers(0, 3)),
            draw(st.sampled_from(["", "", "g1", "g2", "g3"])),
            people,
            draw(st.one_of(st.just(""), names)),
        )
    lost = draw(st.sets(st.integers(0, 24)))  # these originals are missing: their fakes know the family only
    kept = [
        replace(clip, original=None) if int(clip.family[-4:]) in lost and clip.label == "fake" else clip
        for clip in clips
        if not (clip.label == "real" and int(clip.name[-4:]) in lost)
    ]
    return Catalog(Path("/videos"), kept)


@settings(max_examples=60, deadline=None)
@given(graphs(), st.integers(0, 3), st.sampled_from([(0.8, 0.1, 0.1), (0.5, 0.5, 0), (0.34, 0.33, 0.33), (1, 0, 0)]))
def test_no_person_family_or_group_on_two_sides(unsplit, seed, shares):
    fractions = dict(zip(("train", "val", "test"), shares, strict=True))
    split = assign_splits(unsplit, fractions, seed)
    assert [clip.id for clip in split.clips] == [clip.id for clip in unsplit.clips]
    assert all(fractions[clip.split] > 0 for clip in split.clips)
    for key in (lambda c: [c.family], lambda c: c.targets + c.donors, lambda c: [c.group] if c.group else []):
        assert all(len(found) == 1 for found in sides(split.clips, key).values())
    assert audit(split) == []
    assert split.hash == assign_splits(unsplit, fractions, seed).hash


@pytest.mark.parametrize("count", [3, 4, 7, 12])
@pytest.mark.parametrize("seed", range(5))
def test_small_sets_have_reals_and_fakes_in_every_split(count, seed):
    split = assign_splits(catalog(*(family(k) for k in range(count))), seed=seed)
    for name in ("train", "val", "test"):
        assert {clip.label for clip in split.clips if clip.split == name} == {"real", "fake"}
    sizes = Counter(clip.split for clip in split.clips)
    assert sizes["train"] >= max(sizes["val"], sizes["test"])


def test_too_few_families_leave_the_small_splits_empty_first():
    assert {clip.split for clip in assign_splits(catalog(family(0))).clips} == {"train"}
    assert {clip.split for clip in assign_splits(catalog(family(0), family(1))).clips} == {"train", "val"}


def test_fractions_are_met_per_data_set_and_label():
    large = [clip for k in range(300) for clip in family(k, fakes=2)]
    other = [replace(clip, dataset="other", family="", original=None) for clip in large]
    split = assign_splits(Catalog(Path("/videos"), large + [replace(clip, path=f"o/{clip.path}") for clip in other]))
    for dataset in ("set", "other"):
        for label in ("real", "fake"):
            counts = Counter(c.split for c in split.clips if c.dataset == dataset and c.label == label)
            assert counts["train"] / counts.total() == pytest.approx(0.8, abs=0.03)
            assert counts["val"] / counts.total() == pytest.approx(0.1, abs=0.03)


def test_one_giant_component_goes_to_train():
    giant = [clip for k in range(50) for clip in family(k, people=("everybody",))]
    split = assign_splits(catalog(giant, *(family(k) for k in range(100, 106))))
    assert {clip.split for clip in split.clips if clip.targets} == {"train"}
    assert {clip.split for clip in split.clips} == {"train", "val", "test"}


def test_seeds_differ_and_clips_of_unpaired_sets_are_spread():
    reals = [Clip("set", "original", "", f"r{k}", f"r{k}.mp4", "real") for k in range(20)]
    fakes = [Clip("set", "swap", "", f"f{k}", f"f{k}.mp4", "fake") for k in range(20)]
    split = assign_splits(Catalog(Path("/videos"), reals + fakes), seed=1)
    for name in ("train", "val", "test"):
        assert {clip.label for clip in split.clips if clip.split == name} == {"real", "fake"}
    assert split.hash != assign_splits(split, seed=2).hash


def test_people_are_known_within_their_data_set_only():
    a = [replace(clip, dataset="a", family="", original=None) for clip in family(0, 0, people=("id1",))]
    b = [replace(clip, dataset="b", family="", original=None, path="b.mp4") for clip in family(0, 0, people=("id1",))]
    split = assign_splits(Catalog(Path("/videos"), a + b), {"train": 0.5, "val": 0.5})
    assert {clip.split for clip in split.clips} == {"train", "val"}


def test_impossible_fractions():
    for fractions in ({"train": 1.2, "val": -0.2}, {"train": 0.0}, {"training": 1.0}):
        with pytest.raises(ConfigError, match="cannot split by"):
            assign_splits(catalog(family(0)), fractions)


@pytest.mark.parametrize(
    ("kind", "clips"),
    [
        (
            "family",
            [
                Clip("s", "a", "", "1", "1.mp4", "fake", family="lost", split="train"),
                Clip("s", "a", "", "2", "2.mp4", "fake", family="lost", split="test"),
            ],
        ),
        (
            "original",
            [
                Clip("s", "original", "", "1", "1.mp4", "real", split="train"),
                Clip("s", "a", "", "2", "2.mp4", "fake", original="s/original/-/1", family="x", split="val"),
            ],
        ),
        (
            "target person",
            [
                Clip("s", "original", "", "1", "1.mp4", "real", targets=("ann",), split="train"),
                Clip("s", "original", "", "2", "2.mp4", "real", targets=("ann",), split="val"),
            ],
        ),
        (
            "upload source",
            [
                Clip("s", "original", "", "1", "1.mp4", "real", source="u", split="train"),
                Clip("s", "original", "", "2", "2.mp4", "real", source="u", split="val"),
            ],
        ),
        (
            "upload source",
            [
                Clip("s", "original", "", "1", "1.mp4", "real", source="u", split="train"),
                Clip("s", "a", "", "2", "2.mp4", "fake", donor_sources=("u",), split="val"),
            ],
        ),
        (
            "donor person",
            [
                Clip("s", "original", "", "1", "1.mp4", "real", targets=("ann",), split="train"),
                Clip("s", "a", "", "2", "2.mp4", "fake", targets=("bob",), donors=("ann",), split="val"),
            ],
        ),
        (
            "group",
            [
                Clip("s", "original", "", "1", "1.mp4", "real", group="part 1", split="val"),
                Clip("s", "original", "", "2", "2.mp4", "real", group="part 1", split="test"),
            ],
        ),
        (
            "file",
            [
                Clip("s", "original", "", "1", "1.mp4", "real", split="val"),
                Clip("s", "a", "", "2", "1.mp4", "fake", split="test"),
            ],
        ),
    ],
)
def test_audit_catches_each_kind_of_leak(kind, clips):
    leaks = audit(Catalog(Path("/videos"), clips))
    assert [leak.kind for leak in leaks] == [kind]
    assert {clip for ids in leaks[0].clips.values() for clip in ids} == {clip.id for clip in clips}
    assert all(clip.id in str(leaks[0]) for clip in clips)
    same_side = [replace(clip, split="train") for clip in clips]
    assert audit(Catalog(Path("/videos"), same_side)) == []


def test_a_random_clip_split_does_not_pass():
    """Splits drawn clip by clip put one person on both sides; the audit must see it."""
    clips = [replace(clip, split=("train", "test")[index % 2]) for index, clip in enumerate(catalog(family(0)).clips)]
    assert {leak.kind for leak in audit(Catalog(Path("/videos"), clips))} == {"family", "original"}


def test_official_splits_need_every_clip():
    clips = family(0, 1)
    with pytest.raises(CatalogError, match="2 of 2 clips have no split"):
        official_splits(catalog(clips))
    split = official_splits(catalog([replace(clip, official_split="test") for clip in clips]))
    assert {clip.split for clip in split.clips} == {"test"}
