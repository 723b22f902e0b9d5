"""`mrigan evaluate --linear-probe`: no fold shares a person with another; the probe is in the report."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from typer.testing import CliRunner

from mrigan.cli.app import app
from mrigan.config import FacesConfig, ShardsConfig, to_dict
from mrigan.data import ShardSet
from mrigan.models import Detector
from mrigan.models.bundle import load_bundle, save_bundle
from mrigan.scoring.linear_probe import RELAXED, STRICT, separate_people
from tests.data.shards import Sample, encode, make_samples, picture, write_shards
from tests.tracking.stores import new_store

SIZE = 32


People = tuple[str, ...]


def clip(name: str, fake: bool, family: str, targets: People = (), donors: People = (), *, group: str = "") -> Sample:
    """The only sample of a clip."""
    number = sum(name.encode())
    row = make_samples(1, 0, split="test", pairs=False, size=SIZE)[0].row
    row = row | {"clip": f"toy/-/-/{name}", "name": name, "family": family, "group": group, "frame": number,
                 "method": "swap" if fake else "original"}  # fmt: skip
    about = {"targets": list(targets), "donors": list(donors), "original": family if fake else None}
    key = f"{number:012x}-{number:06d}-00"
    return Sample(key, "fake" if fake else "real", "test", encode(picture(number, SIZE)), None, row, about)


def groups_of(folder: Path, clips: list[Sample]) -> tuple[set[frozenset[str]], str]:
    """The names of the clips that may not be separated, and the rule."""
    shards = ShardSet.open([write_shards(folder, clips, kind="faces")], "test")
    names = np.array(shards.rows["name"].to_pylist())
    people, rule = separate_people(shards, np.unique(names, return_inverse=True)[1])
    return {frozenset(names[people == number].tolist()) for number in np.unique(people)}, rule


def test_people_are_joined_by_families_targets_donors_and_groups(tmp_path: Path) -> None:
    clips = [
        clip("a", False, "toy/-/-/a", ("anna",)), clip("a1", True, "toy/-/-/a", ("anna",), ("bert",)),
        clip("b", False, "toy/-/-/b", ("bert",)),
        clip("c", False, "toy/-/-/c", ("carl",)), clip("c1", True, "toy/-/-/c", ("carl",)),
        clip("d", False, "toy/-/-/d", group="part 1"), clip("e", True, "toy/-/-/gone", group="part 1"),
    ]  # fmt: skip
    found, rule = groups_of(tmp_path / "set", clips)
    assert found == {frozenset({"a", "a1", "b"}), frozenset({"c", "c1"}), frozenset({"d", "e"})}
    assert rule == STRICT


def test_donors_that_tie_all_people_together_are_ignored_and_it_is_said(tmp_path: Path) -> None:
    ring = "klmno"
    clips = [clip(name, False, f"toy/-/-/{name}", (name,)) for name in ring]
    swaps = zip(ring, ring[1:] + ring[0], strict=True)
    clips += [clip(f"{name}1", True, f"toy/-/-/{name}", (name,), (donor,)) for name, donor in swaps]
    found, rule = groups_of(tmp_path / "set", clips)
    assert found == {frozenset({name, f"{name}1"}) for name in ring}
    assert rule == RELAXED


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    detector = Detector("mobilenetv3_small_050", size=SIZE, hidden=8)
    folder = tmp_path_factory.mktemp("models") / "m" / "model"
    return save_bundle(
        folder, detector, faces=to_dict(FacesConfig(size=SIZE)), thresholds={"frame": 0.5, "fraction": 0.5}
    )


def test_features_are_those_of_the_encoder(model: Path) -> None:
    bundle = load_bundle(model)
    faces = torch.randint(0, 256, (3, 3, SIZE, SIZE), dtype=torch.uint8)
    features = bundle.features(faces, batch_size=2)
    with torch.inference_mode():
        assert torch.allclose(bundle.detector.head[0](features), bundle.examine(faces)[1], atol=1e-5)


def test_the_probe_is_in_the_report_beside_its_model(model: Path, tmp_path: Path) -> None:
    samples = [replace(s, face=encode(255 - picture(i, SIZE) // 4 if s.label == "fake" else picture(i, SIZE) // 4))
               for i, s in enumerate(make_samples(40, 40, split="test", size=SIZE))]  # fmt: skip
    folder = write_shards(tmp_path / "set", samples)
    (folder / "plan.json").write_text(json.dumps({"config": to_dict(ShardsConfig(faces=FacesConfig(size=SIZE)))}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", new_store(tmp_path / "mlflow.db"))
        given = ["--model", str(model), "--shards", str(folder), "--workers", "0", "--linear-probe"]
        done = CliRunner().invoke(app, ["evaluate", *given, "-o", str(tmp_path / "out")])
        assert done.exit_code == 0, (done.output, done.exception)
        client = MlflowClient()
        [run] = client.search_runs([client.get_experiment_by_name("mrigan").experiment_id])
    results = {r["model"]: r for r in json.loads((tmp_path / "out/metrics.json").read_text())["results"]}
    assert results.keys() == {"m", "m (linear probe)"}
    probe = results["m (linear probe)"]
    assert probe["video"]["auc"] == 1.0  # fakes are bright and reals are dark
    assert probe["video"]["n"] == results["m"]["video"]["n"]
    assert STRICT in probe["training"]["says"]
    assert run.data.metrics["linear_probe/auc"] == 1.0
