"""Self-blends in the loader: exact pairs, the same on any number of ranks and workers, from real files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from mrigan.catalog import scan_catalog, write_catalog
from mrigan.config import DetectorConfig, SelfBlendConfig, ShardsConfig, load_config
from mrigan.data import (
    BlendedShards,
    Loader,
    LoaderOptions,
    PairedPlan,
    PairRecipe,
    SelfBlends,
    ShardSet,
    eval_batches,
    make_loader,
    with_landmarks,
)
from mrigan.data.self_blends import GREY
from mrigan.errors import ConfigError, ShardError
from mrigan.evaluation import read_scores
from mrigan.imaging.degrading import Degradation
from mrigan.models import load_bundle
from mrigan.packing import build_shards, plan_shards
from mrigan.sample import make_sample
from mrigan.training.data import pair_recipe
from mrigan.training.train import train
from tests.data.shards import make_samples, write_shards

SIZE = 96
MARGIN = 0.3
CLEAN = PairRecipe(degradation=Degradation(small_prob=0, jpeg_prob=0, h264_prob=0), erase_prob=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, face_mesh: Path) -> Path:
    """Faces of invented people, with landmarks."""
    root = tmp_path_factory.mktemp("self-blends")
    make_sample(root / "sample", people=4, seconds=1.0, seed=0)
    catalog, _ = scan_catalog("dfdc", root / "sample", fractions={"train": 0.5, "val": 0.25, "test": 0.25})
    write_catalog(catalog, root / "catalog.parquet")
    config = load_config(
        ShardsConfig, "shards/faces.yaml",
        ["faces.landmarks=mesh", f"faces.margin={MARGIN}", "faces.size=160", "faces.every=3"],
    )  # fmt: skip
    plan_shards(root / "catalog.parquet", config, root / "shards")
    build_shards(root / "shards", workers=1)
    return root / "shards"


def opened(folder: Path, recipe: PairRecipe | None = None) -> BlendedShards:
    return BlendedShards(ShardSet.open([folder], "train"), MARGIN, recipe or PairRecipe())


def loader(shards: BlendedShards, steps: range, batch: int = 4, **options: int) -> Loader:
    samples = SelfBlends(shards, size=SIZE, seed=3, flip=0.5, train=True)
    ranks = {name: options.pop(name) for name in ("rank", "world_size") if name in options}
    plan = PairedPlan(len(shards), seed=3)
    return make_loader(samples, plan, steps, batch, options=LoaderOptions(**options), **ranks)  # type: ignore[arg-type]


def pictures(batches: Loader) -> list[tuple[bytes, bytes, int, float]]:
    with batches:
        return [(face.numpy().tobytes(), mri.numpy().tobytes(), int(i), float(label)) for batch in batches
                for face, mri, i, label in zip(batch.face, batch.mri, batch.ids, batch.label, strict=True)]  # fmt: skip


def test_each_real_face_stands_beside_its_blend(folder: Path) -> None:
    shards = opened(folder)
    reals = ShardSet.open([folder], "train").counts()["reals"]
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


def test_the_mri_is_that_of_the_two_pictures(folder: Path) -> None:
    """Without loss of quality the oracle is scikit-image on the pictures that come out."""
    with loader(opened(folder, CLEAN), range(4)) as batches:
        for batch in batches:
            assert batch.mri is not None
            assert not batch.mri[::2].any()
            for real, blend, mri in zip(batch.face[::2], batch.face[1::2], batch.mri[1::2], strict=True):
                a, b = (picture.numpy().transpose(1, 2, 0) for picture in (real, blend))
                similar = structural_similarity(a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
                                                full=True, channel_axis=-1, data_range=255)[1]  # fmt: skip
                expected = np.clip(np.rint((1 - similar) * 255), 0, 255)
                assert np.abs(expected - mri.numpy().transpose(1, 2, 0)).max() <= 1


def test_pairs_do_not_depend_on_ranks_workers_or_where_one_begins(folder: Path) -> None:
    shards = opened(folder)
    alone = pictures(loader(shards, range(6)))
    assert pictures(loader(shards, range(6), workers=2)) == alone
    assert pictures(loader(shards, range(2, 6))) == alone[2 * 4 :]
    parts = [pictures(loader(shards, range(6), rank=rank, world_size=2)) for rank in (0, 1)]
    assert [p for step in range(6) for part in parts for p in part[2 * step : 2 * step + 2]] == alone
    before = {i: face for face, _, i, _ in alone}
    later = pictures(loader(shards, range(len(shards) // 4, len(shards) // 2)))  # the second epoch
    both = [face != before[i] for face, _, i, _ in later if i in before]
    assert both
    assert all(both)


def test_held_out_pairs_are_the_same_each_time_and_cut_as_a_verdict_cuts(folder: Path) -> None:
    shards = opened(folder, CLEAN)
    ids = np.arange(6)
    first, second = (pictures(eval_batches(shards, ids, 4, size=SIZE)) for _ in range(2))
    assert first == second
    assert [i for *_, i, _ in first] == ids.tolist()
    one = pictures(eval_batches(shards, ids[3:4], 4, size=SIZE))
    assert one == first[3:4]  # each by itself, too


def test_what_is_blanked_is_grey_in_both_and_black_in_the_mri(folder: Path) -> None:
    recipe = PairRecipe(degradation=CLEAN.degradation, erase_prob=1.0)
    with loader(opened(folder, recipe), range(4)) as batches:
        for batch in batches:
            assert batch.mri is not None
            grey = (batch.face == torch.tensor(GREY, dtype=torch.uint8)[:, None, None]).all(1)
            both = grey[::2] & grey[1::2]
            assert (both.flatten(1).sum(1) >= 0.015 * SIZE**2).all()
            assert not batch.mri[1::2].permute(0, 2, 3, 1)[both].any()


def test_faces_without_landmarks_give_way_to_others(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = opened(folder)
    view, without = ShardSet.view, {0, 1}

    def hide(self: ShardSet, i: int) -> tuple[memoryview, memoryview | None, memoryview]:
        face, mri, text = view(self, i)
        return face, mri, memoryview(b'{"landmarks": null}') if i in without else text

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
    folder: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, object]
) -> None:
    view = ShardSet.view

    def changed(self: ShardSet, i: int) -> tuple[memoryview, memoryview | None, memoryview]:
        face, mri, text = view(self, i)
        return face, mri, memoryview(json.dumps(json.loads(bytes(text)) | change).encode())

    monkeypatch.setattr(BlendedShards, "view", changed)
    words = r"the json of sample .* describes no face"
    with pytest.raises(ShardError, match=words), loader(opened(folder), range(1)) as batches:
        next(batches)


@pytest.mark.parametrize(("reals", "fakes"), [(6, 9), (6, 6), (6, 2), (6, 0)])
def test_rows_are_those_of_the_real_samples_alone(tmp_path: Path, reals: int, fakes: int) -> None:
    write_shards(tmp_path / "set", make_samples(reals, fakes, pairs=False), kind="faces")
    shards = BlendedShards(ShardSet.open([tmp_path / "set"], "train"), MARGIN, PairRecipe())
    assert shards.rows["key"].to_pylist() == [shards.key(i - i % 2) for i in range(2 * reals)]


def test_sets_that_cannot_be_blended_are_refused(folder: Path) -> None:
    shards = ShardSet.open([folder], "train")
    with pytest.raises(ConfigError, match=r"margin of 0.1; self-blends are cut with up to 0.25"):
        BlendedShards(shards, 0.1, PairRecipe())
    with pytest.raises(ShardError, match="no real sample"):
        BlendedShards(shards.subset(np.flatnonzero(shards.labels == 1)), MARGIN, PairRecipe())


def test_the_settings_defaults_are_the_recipe() -> None:
    assert pair_recipe(SelfBlendConfig()) == PairRecipe()


@pytest.mark.parametrize("change", [{"margin": [0.3, 0.1]}, {"jpeg": [90, 40]}, {"hulls": [0.0] * 6}])
def test_settings_that_describe_no_recipe_are_refused(change: dict[str, list[float]]) -> None:
    with pytest.raises(ConfigError, match=rf"data\.self_blend\.{next(iter(change))}"):
        pair_recipe(SelfBlendConfig(**change))


def test_a_detector_learns_from_real_faces_alone(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two halves of a run give the weights of a whole one, and a verdict cuts faces as they were learned. A held-out
    face without landmarks has no score."""
    whole_json = ShardSet.json
    first_real = int(np.flatnonzero(ShardSet.open([folder], "val").labels == 0)[0])
    hidden = {("val", first_real): b'{"landmarks":null}'}
    monkeypatch.setattr(ShardSet, "json", lambda self, i: hidden.get((self.split, i)) or whole_json(self, i))
    options = [f"data.shards={folder}", "data.self_blend.use=true", "model.size=64", "train.batch_size=8",
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
    reals = ShardSet.open([folder], "val").counts()["reals"] - 1
    scores = read_scores(tmp_path / "whole" / "scores-val.parquet").to_pylist()
    assert sorted(row["label"] for row in scores) == [0] * reals + [1] * reals
    assert {row["method"] for row in scores if row["label"]} == {"self-blend"}


def read(path: Path) -> object:
    return path.read_bytes() if path.suffix == ".safetensors" else read_scores(path).drop_columns("model").to_pylist()
