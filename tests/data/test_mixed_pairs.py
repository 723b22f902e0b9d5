"""Stored fakes mixed into self-blends: who stands beside whom, how many, and that both are treated alike."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mrigan.config import FacesConfig, MapConfig, load_config, to_dict
from mrigan.data import BlendedShards, PairedPlan, PairRecipe, SelfBlends, ShardSet, eval_batches
from mrigan.data.originals import stored_pairs
from mrigan.errors import ConfigError, ShardError
from mrigan.imaging.blending import ColourJitter
from mrigan.mri.self_blends import without_floor
from mrigan.training.train import train
from tests.data.blending import CLEAN, MARGIN, SIZE, loader, opened
from tests.data.shards import encode, make_samples, picture, write_shards

PLAIN = replace(CLEAN, colour=ColourJitter(shift_prob=0, prob=0))


def faces_set(folder: Path, reals: int, fakes: int) -> Path:
    """Shards of 8 faces without MRIs."""
    return write_shards(folder / "set", make_samples(reals, fakes, pairs=False), kind="faces", per_shard=8)


def described(shards: ShardSet, i: int) -> dict:
    return json.loads(bytes(shards.read(i)[2]))


def test_a_stored_fake_stands_beside_the_face_that_it_was_made_of(landmark_pairs: Path) -> None:
    shards = opened(landmark_pairs, share=0.5)
    counts = ShardSet.open([landmark_pairs], "train").counts()
    assert shards.stored.tolist() == [0] * counts["reals"] + [1] * counts["fakes"]
    beside = [(described(shards, 2 * k), described(shards, 2 * k + 1)) for k in np.flatnonzero(shards.stored)]
    for real, fake in beside:
        assert (real["label"], fake["label"], fake["original"]) == ("real", "fake", real["clip"])
        assert all(real[name] == fake[name] for name in ("person", "frame", "box", "frame_size"))
    rows = shards.rows.to_pylist()
    assert len(rows) == len(shards)
    for i in range(shards.blends, len(shards)):
        about = described(shards, i)
        assert all(rows[i][name] == about[name] for name in ("clip", "label", "person", "frame"))
        assert rows[i]["method"] != "self-blend"


@pytest.mark.parametrize("share", [0.25, 0.5, 0.8])
def test_an_epoch_has_the_share_and_all_of_the_scarce_kind(landmark_pairs: Path, share: float) -> None:
    shards = opened(landmark_pairs, share=share)
    there = np.bincount(shards.stored)
    plan = PairedPlan(shards.stored, 3, share=share)
    drawn = []
    for epoch in range(2):
        pairs = plan.epoch(epoch)
        assert len(set(pairs.tolist())) == len(pairs) == plan.epoch_length // 2
        kinds = np.bincount(shards.stored[pairs], minlength=2)
        assert kinds[0] == pytest.approx(share * len(pairs), abs=0.51)
        assert (kinds <= there).all()
        assert (kinds >= there - 1).any()
        drawn.append(set(pairs.tolist()))
    assert drawn[0] != drawn[1]
    ids = plan.batch(1, 8)
    assert (ids[1::2] == ids[::2] + 1).all()
    assert not (ids[::2] % 2).any()


def test_both_of_a_stored_pair_are_treated_alike(landmark_pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a fake is the very picture of its original, no treatment makes them differ."""
    shards = opened(landmark_pairs, PairRecipe(erase_prob=0.5), share=0.5)
    view = ShardSet.view

    def same(self: BlendedShards, i: int) -> tuple[memoryview, memoryview | None, memoryview]:
        stored = view(self, i)
        return (view(self, i - 1)[0], *stored[1:]) if i >= self.blends and i % 2 else stored

    monkeypatch.setattr(BlendedShards, "view", same)
    seen = 0
    with loader(shards, range(6), 16, share=0.5) as batches:
        for batch in batches:
            assert batch.mri is not None
            kinds = shards.stored[batch.ids[::2] // 2]
            for k in np.flatnonzero(kinds).tolist():
                assert (batch.face[2 * k] == batch.face[2 * k + 1]).all()
                assert not batch.mri[2 * k].any()
                seen += 1
    assert seen > 20


def test_the_stored_mri_is_cut_and_mirrored_as_its_face(landmark_pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An MRI that is the face itself, on black, comes out as the face does."""
    shards = opened(landmark_pairs, PLAIN, share=0.5)
    view = ShardSet.view
    box = np.array([30.0, 40, 100, 120])
    inside = np.zeros((160, 160, 3), np.uint8)
    inside[40:120, 30:100] = picture(1, 160)[40:120, 30:100]  # outside the box black: no floor
    png = encode(inside, "png")

    def shown(self: BlendedShards, i: int) -> tuple[memoryview, memoryview | None, memoryview]:
        face, mri, text = view(self, i)
        if i < self.blends:
            return face, mri, text
        about = {"box": box.tolist(), "frame_size": [160, 160]}
        return memoryview(png), memoryview(png), memoryview(json.dumps(json.loads(bytes(text)) | about).encode())

    monkeypatch.setattr(BlendedShards, "view", shown)
    shards.margin = 10.0  # the stored picture is the whole frame
    seen = 0
    with loader(shards, range(4), 16, share=0.5) as batches:
        for batch in batches:
            assert batch.mri is not None
            for k in np.flatnonzero(shards.stored[batch.ids[::2] // 2]).tolist():
                assert batch.mri[2 * k + 1].any()
                assert (batch.mri[2 * k + 1] == batch.face[2 * k + 1]).all()
                seen += 1
    assert seen > 10


def test_each_fake_finds_the_nearest_frame_of_its_person(tmp_path: Path) -> None:
    """The oracle looks through all rows. Fakes may be of another frame, of another person, or without an original."""
    samples = make_samples(40, 60, pairs=False)
    rng = np.random.default_rng(0)
    for sample in samples:
        sample.row |= {"family": f"f{rng.integers(4)}", "person": int(rng.integers(3)), "frame": int(rng.integers(200))}
    for sample in samples[40:45]:
        sample.row["family"] = "nobody's"
    for real, fake in zip(samples[:8], samples[-8:], strict=True):
        fake.row |= {name: real.row[name] for name in ("family", "person", "frame")}
    write_shards(tmp_path / "a", samples[:70], kind="faces")
    write_shards(tmp_path / "b", samples[70:], kind="faces")
    shards = ShardSet.open([tmp_path / "b", tmp_path / "a"], "train")
    by_key = {sample.key: sample.row for sample in samples}
    rows = [by_key[shards.key(i)] for i in range(len(shards))]
    pairs = stored_pairs(shards)
    found = dict(zip(pairs.fakes.tolist(), pairs.originals.tolist(), strict=True))
    distances = Counter()
    for i in np.flatnonzero(shards.labels == 1).tolist():
        own = [abs(rows[k]["frame"] - rows[i]["frame"]) for k in np.flatnonzero(shards.labels == 0)
               if all(rows[k][name] == rows[i][name] for name in ("family", "person"))]  # fmt: skip
        assert (i in found) == bool(own)
        if own:
            real = rows[found[i]]
            assert shards.labels[found[i]] == 0
            assert all(real[name] == rows[i][name] for name in ("family", "person"))
            assert abs(real["frame"] - rows[i]["frame"]) == min(own)
            distances[min(own) > 0] += 1
    assert pairs.left_out == 60 - len(found) >= 5
    assert pairs.other_frame == distances[True] > 0
    assert distances[False] >= 8
    assert f"{pairs.left_out} are left out" in str(pairs)


@pytest.mark.parametrize(("reals", "fakes"), [(4, 0), (0, 3)])
def test_sets_of_one_class_have_no_pairs(tmp_path: Path, reals: int, fakes: int) -> None:
    shards = ShardSet.open(
        [write_shards(tmp_path / "set", make_samples(reals, fakes, pairs=False), kind="faces")], "train"
    )
    pairs = stored_pairs(shards)
    assert (len(pairs.fakes), len(pairs.originals), pairs.left_out) == (0, 0, fakes)
    if reals:
        with pytest.raises(ShardError, match=r"no stored fake"):
            BlendedShards(shards, MARGIN, PairRecipe(), 0.5)


def test_scored_samples_stand_there_once(landmark_pairs: Path) -> None:
    base = ShardSet.open([landmark_pairs], "val")
    shards = BlendedShards(base, MARGIN, PLAIN, 0.5, scored=True)
    counts = base.counts()
    assert shards.counts()["reals"] == counts["reals"]
    assert shards.counts()["fakes"] == counts["reals"] + counts["fakes"]
    rows = shards.rows.select(["key", "method"]).to_pylist()
    assert len({tuple(row.values()) for row in rows}) == len(rows)
    assert len(set(shards.keys.tolist())) == len(shards)
    ids = np.arange(len(shards))
    with eval_batches(shards, ids, 50, size=SIZE) as first, eval_batches(shards, ids[::-1], 7, size=SIZE) as second:
        faces = [np.concatenate([batch.face.numpy() for batch in batches]) for batches in (first, second)]
    assert (faces[0] == faces[1][::-1]).all()
    real = {shards.key(i): i for i in range(0, shards.blends, 2)}
    for i in range(shards.blends, len(shards)):
        assert shards.drawn_by(i) in real  # a fake is treated as its original is


def test_the_floor_outside_the_face_is_taken_off() -> None:
    rng = np.random.default_rng(0)
    noise, forged = rng.integers(10, 31, (100, 100, 3)), np.zeros((100, 100, 3), int)
    forged[40:60, 40:60] = 120
    box = np.array([20.4, 29.6, 79.7, 90.2])
    outside = np.ones((100, 100), bool)
    outside[30:90, 20:80] = False
    floor = noise[outside].mean(axis=0)
    out = without_floor((noise + forged).astype(np.uint8), box)
    expected = np.clip((noise + forged - floor) * 255 / (255 - floor), 0, 255)
    assert np.abs(out - expected).max() <= 0.5
    assert out[outside].mean() < noise[outside].mean() / 5
    white = np.full((20, 20, 3), 255, np.uint8)
    assert not without_floor(white, box).any()
    black_outside = np.zeros((100, 100, 3), np.uint8)
    black_outside[30:90, 20:80] = picture(0, 100)[30:90, 20:80]
    assert (without_floor(black_outside, box) == black_outside).all()
    assert (without_floor(white, np.array([-5, -5, 25, 25])) == white).all()  # nothing lies outside


def test_mris_of_another_metric_are_refused(landmark_pairs: Path) -> None:
    shards = opened(landmark_pairs, replace(CLEAN, metric="l1"), share=0.5)
    with (
        pytest.raises(ConfigError, match="stored MRIs are of the metric 'ssim'"),
        loader(shards, range(2), 16, share=0.5) as batches,
    ):
        list(batches)


def test_fakes_without_mris_are_learned_from_where_no_mri_is_needed(landmark_pairs: Path, tmp_path: Path) -> None:
    base = ShardSet.open([landmark_pairs], "train")
    assert BlendedShards(base, MARGIN, CLEAN, 0.5).kind == "pairs"
    faces = ShardSet.open([faces_set(tmp_path, 6, 6)], "train")
    assert BlendedShards(faces, MARGIN, CLEAN, 1.0).kind == "pairs"
    assert BlendedShards(faces, MARGIN, CLEAN, 0.5).kind == "faces"
    with pytest.raises(ShardError, match="hold no MRIs"):
        SelfBlends(BlendedShards(faces, MARGIN, CLEAN, 0.5), mri=True)


def test_a_window_follows_the_shards_of_the_pairs(tmp_path: Path) -> None:
    base = ShardSet.open(
        [write_shards(tmp_path / "set", make_samples(64, 4, pairs=False), kind="faces", per_shard=8)], "train"
    )
    shards = BlendedShards(base, MARGIN, CLEAN)
    plan = PairedPlan(shards.stored, 0, shards.window(2, 4))
    tars = [shards._index["shard"][plan.batch(step, 8)] for step in range(16)]
    assert max(len(set(tar.tolist())) for tar in tars) <= 2
    assert sum(len(set(tar.tolist())) for tar in tars) < 24  # from front to back, not here and there


def test_a_map_detector_learns_from_both(landmark_pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two halves of a run give the weights of a whole one."""
    options = [f"data.shards={landmark_pairs}", "data.self_blend.share=0.5", "train.batch_size=8", "train.steps=4",
               "model.backbone=test_efficientnet.r160_in1k", "model.weights=random", "model.size=64", "model.hidden=16",
               "checkpoint.every=2", "eval.every=4", "tracking.enabled=false", "data.workers=0"]  # fmt: skip
    train("map", load_config(MapConfig, None, [*options, f"run.dir={tmp_path / 'whole'}"]))
    for steps in ("train.steps=2", "train.steps=4"):
        train("map", load_config(MapConfig, None, [*options, f"run.dir={tmp_path / 'halves'}", steps]))
    first, second = ((tmp_path / run / "model/detector.safetensors").read_bytes() for run in ("whole", "halves"))
    assert first == second
    with pytest.raises(ConfigError, match=r"data\.shuffle=window"):
        train("map", load_config(MapConfig, None, [*options, f"run.dir={tmp_path / 'no'}", "data.shuffle=window"]))
    with pytest.raises(ConfigError, match="holds pairs"):
        train("map", load_config(MapConfig, None, [*options, f"run.dir={tmp_path / 'no'}", "train.batch_size=5"]))
    monkeypatch.setattr("mrigan.training.pairs.face_settings", lambda _: to_dict(FacesConfig()))
    with pytest.raises(ConfigError, match=r"faces\.landmarks=none"):
        train("map", load_config(MapConfig, None, [*options, f"run.dir={tmp_path / 'no'}"]))
    assert not (tmp_path / "no").exists()
