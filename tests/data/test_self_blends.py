"""Self-blends in the loader: exact pairs, the same on any number of ranks and workers, from real files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from mrigan.config import DetectorConfig, FacesConfig, SelfBlendConfig, load_config
from mrigan.data import BlendedShards, PairedPlan, PairRecipe, ShardSet, eval_batches, with_landmarks
from mrigan.errors import ConfigError, ShardError
from mrigan.evaluation import read_scores
from mrigan.models import load_bundle
from mrigan.mri.self_blends import GREY
from mrigan.training.pairs import pair_recipe
from mrigan.training.train import train
from tests.data.blending import CLEAN, MARGIN, SIZE, loader, opened, pictures
from tests.data.shards import make_samples, write_shards


def test_each_real_face_stands_beside_its_blend(landmark_pairs: Path) -> None:
    shards = opened(landmark_pairs)
    reals = ShardSet.open([landmark_pairs], "train").counts()["reals"]
    assert shards.counts() == {"samples": 2 * reals, "fakes": reals, "reals": reals}
    rows = shards.rows.drop_columns("mri_mean").to_pylist()  # NaN
    for real, blend in zip(rows[::2], rows[1::2], strict=True):
        assert real | {"label": "fake", "method": "self-blend"} == blend
    assert len(set(shards.keys.tolist())) == len(shards)
    seen = []
    with loader(shards, range(reals // 2)) as batches:  # one epoch
        for batch in batches:
            assert batch.label.tolist() == [0, 1, 0, 1]
            assert (batch.ids[1::2] == batch.ids[::2] + 1).all()
            seen += batch.ids.tolist()
    assert len(set(seen)) == len(seen) == reals // 2 * 4


def test_the_mri_is_that_of_the_two_pictures(landmark_pairs: Path) -> None:
    """Without loss of quality the oracle is scikit-image on the pictures that come out."""
    with loader(opened(landmark_pairs, CLEAN), range(4)) as batches:
        for batch in batches:
            assert batch.mri is not None
            assert not batch.mri[::2].any()
            for real, blend, mri in zip(batch.face[::2], batch.face[1::2], batch.mri[1::2], strict=True):
                a, b = (picture.numpy().transpose(1, 2, 0) for picture in (real, blend))
                similar = structural_similarity(a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
                                                full=True, channel_axis=-1, data_range=255)[1]  # fmt: skip
                expected = np.clip(np.rint((1 - similar) * 255), 0, 255)
                assert np.abs(expected - mri.numpy().transpose(1, 2, 0)).max() <= 1


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_pairs_do_not_depend_on_ranks_workers_or_where_one_begins(landmark_pairs: Path, share: float) -> None:
    shards = opened(landmark_pairs, share=share)
    alone = pictures(loader(shards, range(6), share=share))
    assert pictures(loader(shards, range(6), share=share, workers=2)) == alone
    assert pictures(loader(shards, range(2, 6), share=share)) == alone[2 * 4 :]
    parts = [pictures(loader(shards, range(6), share=share, rank=rank, world_size=2)) for rank in (0, 1)]
    assert [p for step in range(6) for part in parts for p in part[2 * step : 2 * step + 2]] == alone
    before = {i: face for face, _, i, _ in alone}
    epoch = PairedPlan(shards.stored, 3, share=share).epoch_length // 4
    later = pictures(loader(shards, range(epoch, 2 * epoch), share=share))
    both = [face != before[i] for face, _, i, _ in later if i in before]
    assert both
    assert all(both)


def test_held_out_pairs_are_the_same_each_time_and_cut_as_a_verdict_cuts(landmark_pairs: Path) -> None:
    shards = opened(landmark_pairs, CLEAN)
    ids = np.arange(6)
    first, second = (pictures(eval_batches(shards, ids, 4, size=SIZE)) for _ in range(2))
    assert first == second
    assert [i for *_, i, _ in first] == ids.tolist()
    one = pictures(eval_batches(shards, ids[3:4], 4, size=SIZE))
    assert one == first[3:4]  # each by itself, too


def test_what_is_blanked_is_grey_in_both_and_black_in_the_mri(landmark_pairs: Path) -> None:
    recipe = PairRecipe(degradation=CLEAN.degradation, erase_prob=1.0)
    with loader(opened(landmark_pairs, recipe), range(4)) as batches:
        for batch in batches:
            assert batch.mri is not None
            grey = (batch.face == torch.tensor(GREY, dtype=torch.uint8)[:, None, None]).all(1)
            both = grey[::2] & grey[1::2]
            assert (both.flatten(1).sum(1) >= 0.015 * SIZE**2).all()
            assert not batch.mri[1::2].permute(0, 2, 3, 1)[both].any()


def test_faces_without_landmarks_give_way_to_others(landmark_pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = opened(landmark_pairs)
    view, without = ShardSet.view, {0, 1}

    def hide(self: ShardSet, i: int) -> tuple[memoryview, memoryview | None, memoryview]:
        face, mri, text = view(self, i)
        hidden = json.dumps(json.loads(bytes(text)) | {"landmarks": None}).encode()
        return face, mri, memoryview(hidden) if i in without else text

    monkeypatch.setattr(BlendedShards, "view", hide)
    with loader(shards, range(len(shards) // 4)) as batches:
        seen = [(batch.label.tolist(), batch.ids) for batch in batches]
        labels = [label for of, _ in seen for label in of]
        assert all((ids[1::2] == ids[::2] + 1).all() for _, ids in seen)  # substitutes are pairs, too
        assert set(batches.skipped) == without
    assert labels == [0, 1] * (len(labels) // 2)
    without |= set(range(len(shards)))
    with pytest.raises(ShardError, match=r"faces\.landmarks=mesh"), loader(shards, range(1)) as batches:
        next(batches)


def test_scored_faces_without_landmarks_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    samples = make_samples(5, 3, pairs=False)
    mesh = [[1.0, 2.0]] * 468
    for number, sample in enumerate(samples):
        sample.about |= {"landmarks": mesh if number % 2 else None}
    write_shards(tmp_path / "set", samples, kind="faces")
    shards = ShardSet.open([tmp_path / "set"], "train")
    described = [json.loads(shards.read(i)[2]) for i in range(len(shards))]
    expected = [shards.key(i) for i, about in enumerate(described) if about["landmarks"] or about["label"] == "fake"]
    kept = with_landmarks(shards)
    assert [kept.key(i) for i in range(len(kept))] == expected
    left_out = len(shards) - len(expected)
    assert f"{left_out} of the 5 real faces are left out" in caplog.text
    for sample in samples:
        sample.about |= {"landmarks": None}
    write_shards(tmp_path / "none", samples, kind="faces")
    with pytest.raises(ShardError, match=r"any of the 5 real faces.*"):
        with_landmarks(ShardSet.open([tmp_path / "none"], "train"))


@pytest.mark.parametrize(
    "change",
    [{"landmarks": [[1, 2]]}, {"landmarks": "abc"}, {"landmarks": [[float("nan")] * 2] * 468}, {"box": [0, 0, 0, 0]},
     {"box": [5000, 5000, 5100, 5100]}, {"box": None}, {"frame_size": 3}],
)  # fmt: skip
def test_a_json_that_describes_no_face_is_a_bad_sample(
    landmark_pairs: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, object]
) -> None:
    view = ShardSet.view

    def changed(self: ShardSet, i: int) -> tuple[memoryview, memoryview | None, memoryview]:
        face, mri, text = view(self, i)
        return face, mri, memoryview(json.dumps(json.loads(bytes(text)) | change).encode())

    monkeypatch.setattr(BlendedShards, "view", changed)
    words = r"the json of sample .* describes no face"
    with pytest.raises(ShardError, match=words), loader(opened(landmark_pairs), range(1)) as batches:
        next(batches)


@pytest.mark.parametrize(("reals", "fakes"), [(6, 9), (6, 6), (6, 2), (6, 0)])
def test_rows_are_those_of_the_real_samples_alone(tmp_path: Path, reals: int, fakes: int) -> None:
    write_shards(tmp_path / "set", make_samples(reals, fakes, pairs=False), kind="faces")
    shards = BlendedShards(ShardSet.open([tmp_path / "set"], "train"), MARGIN, PairRecipe())
    assert shards.rows["key"].to_pylist() == [shards.key(i - i % 2) for i in range(2 * reals)]


def test_sets_that_cannot_be_blended_are_refused(landmark_pairs: Path) -> None:
    shards = ShardSet.open([landmark_pairs], "train")
    with pytest.raises(ConfigError, match=r"margin of 0.1; self-blends are cut with up to 0.25"):
        PairRecipe().check(FacesConfig(landmarks="mesh", margin=0.1))
    PairRecipe().check(FacesConfig(landmarks="mesh", margin=0.25))
    for other in ({"landmarks": "none"}, {"align": "points5"}, {"crop": "widen"}, {"resize": "letterbox"}):
        with pytest.raises(ConfigError, match="build the set with") as caught:
            PairRecipe().check(FacesConfig(**{"landmarks": "mesh", "margin": 0.3} | other))
        assert f"faces.{next(iter(other))}=" in caught.value.what
    with pytest.raises(ShardError, match="no real sample"):
        BlendedShards(shards.subset(np.flatnonzero(shards.labels == 1)), MARGIN, PairRecipe())


def test_the_settings_defaults_are_the_recipe() -> None:
    assert pair_recipe(SelfBlendConfig()) == PairRecipe()


@pytest.mark.parametrize("change", [{"margin": [0.3, 0.1]}, {"jpeg": [90, 40]}, {"hulls": [0.0] * 6}])
def test_settings_that_describe_no_recipe_are_refused(change: dict[str, list[float]]) -> None:
    with pytest.raises(ConfigError, match=rf"data\.self_blend\.{next(iter(change))}"):
        pair_recipe(SelfBlendConfig(**change))


def test_a_detector_learns_from_real_faces_alone(
    landmark_pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two halves of a run give the weights of a whole one, and a verdict cuts faces as they were learned. A held-out
    face without landmarks has no score."""
    whole_json = ShardSet.json
    first_real = int(np.flatnonzero(ShardSet.open([landmark_pairs], "val").labels == 0)[0])
    hidden = {("val", first_real): b'{"landmarks":null}'}
    monkeypatch.setattr(ShardSet, "json", lambda self, i: hidden.get((self.split, i)) or whole_json(self, i))
    options = [f"data.shards={landmark_pairs}", "data.self_blend.share=1", "model.size=64", "train.batch_size=8",
               "train.steps=4", "checkpoint.every=2", "eval.every=4", "tracking.enabled=false"]  # fmt: skip
    whole = load_config(DetectorConfig, "detector/cpu-smoke.yaml", [*options, f"run.dir={tmp_path / 'whole'}"])
    train("detector", whole)
    halves = [*options, f"run.dir={tmp_path / 'halves'}"]
    for steps in ("train.steps=2", "train.steps=4"):
        train("detector", load_config(DetectorConfig, "detector/cpu-smoke.yaml", [*halves, steps]))
    for name in ("model/detector.safetensors", "scores-val.parquet"):
        first, second = (read(tmp_path / run / name) for run in ("whole", "halves"))
        assert first == second, name
    card = load_bundle(tmp_path / "whole" / "model").card
    assert (card.faces.margin, card.faces.size) == (pytest.approx(0.135), 64)
    reals = ShardSet.open([landmark_pairs], "val").counts()["reals"] - 1
    scores = read_scores(tmp_path / "whole" / "scores-val.parquet").to_pylist()
    assert sorted(row["label"] for row in scores) == [0] * reals + [1] * reals
    assert {row["method"] for row in scores if row["label"]} == {"self-blend"}


def read(path: Path) -> object:
    return path.read_bytes() if path.suffix == ".safetensors" else read_scores(path).drop_columns("model").to_pylist()
