"""Every config that ships can be loaded, and the smallest of each training can be run dry."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from mrigan.config import DetectorConfig, GanConfig, MapConfig, ShardsConfig, load_config, to_dict
from mrigan.config.engines import ENGINES
from mrigan.config.pose import PoseConfig
from mrigan.config.typed import flatten
from mrigan.engine.optimizer import learning_rate
from mrigan.engine.zero import deepspeed_settings
from mrigan.training.launch import launch
from tests.conftest import ROOT

SCHEMAS = {"gan": GanConfig, "detector": DetectorConfig, "map": MapConfig, "pose": PoseConfig, "shards": ShardsConfig}
ALL = sorted(path.relative_to(ROOT / "configs").as_posix() for path in (ROOT / "configs").rglob("*.yaml"))

OPEN = {"map": "map", "faces": "shards", "clips": "shards"}  # of the shipped model, which are in a folder of their own


def kind_of(name: str) -> str:
    folder, stem = Path(name).parts[0], Path(name).stem
    return OPEN[stem] if folder == "open" else folder


def test_none_is_forgotten() -> None:
    assert {kind_of(name) for name in ALL} == set(SCHEMAS)
    assert len(ALL) > 8


@pytest.mark.parametrize("name", ALL)
def test_it_loads(name: str) -> None:
    kind = kind_of(name)
    overrides = [] if kind == "shards" else ["run.dir=runs/x"]
    config = load_config(SCHEMAS[kind], name, overrides)
    engine = getattr(config, "engine", None)
    if engine is not None and ENGINES[engine.name].extra == "deepspeed":
        assert deepspeed_settings(engine.name, engine.config)


@pytest.mark.parametrize("path", sorted((ROOT / "configs" / "deepspeed").glob("*.json")), ids=lambda path: path.stem)
def test_deepspeed_settings(path: Path) -> None:
    stage = json.loads(path.read_bytes())["zero_optimization"]["stage"]
    assert deepspeed_settings(f"zero{stage}", str(path))["zero_optimization"]["stage"] == stage


@pytest.mark.parametrize("kind", ["gan", "detector"])
def test_the_smoke_config_runs_dry(kind: str, shards: Path, tmp_path: Path) -> None:
    words = [f"data.shards={shards}", f"run.dir={tmp_path}/run"]
    assert launch(kind, f"{kind}/cpu-smoke.yaml", words, new=False, dry=True) == 0
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["ffpp-c23", "ablation-5-real-pairs"])
def test_the_map_configs_run_dry(name: str, landmark_pairs: Path, tmp_path: Path) -> None:
    """With their own networks, on small pictures."""
    words = [f"data.shards={landmark_pairs}", f"run.dir={tmp_path}/run", "model.weights=random", "model.size=64",
             "train.batch_size=4", "data.workers=0"]  # fmt: skip
    assert launch("map", f"map/{name}.yaml", words, new=False, dry=True) == 0
    assert not (tmp_path / "run").exists()


def test_the_steps_of_the_ablation_differ_in_one_thing_each() -> None:
    steps = {"1-nothing": DetectorConfig, "2-encoder": DetectorConfig, "3-self-blends": DetectorConfig,
             "4-map": MapConfig, "5-real-pairs": MapConfig}  # fmt: skip
    loaded = [
        flatten(to_dict(load_config(schema, f"{kind}/ablation-{name}.yaml", ["run.dir=x"])))
        for name, schema in steps.items()
        for kind in ["map" if schema is MapConfig else "detector"]
    ]
    changed = [
        {key for key in before.keys() & after.keys() if before[key] != after[key]} for before, after in pairwise(loaded)
    ]
    without_influence = {"data.crop", "data.balance"}  # on self-blends
    assert changed[0] == {"model.weights"}
    assert changed[1] == {"data.self_blend.share"}
    assert changed[2] <= without_influence
    assert changed[3] == {"data.self_blend.share"}


def test_the_protocol_of_self_blended_images() -> None:
    """The constants of the paper and of its code."""
    config = load_config(MapConfig, "map/ffpp-c23.yaml", ["run.dir=x"])
    assert (config.model.size, config.train.batch_size, config.optim.name) == (380, 32, "sgd")
    assert sum(config.data.self_blend.margin) / 2 == pytest.approx(0.125)
    assert [learning_rate(config.optim, step) for step in (0, 26_999, 31_500, 36_000)] == [1e-3, 1e-3, 0.5e-3, 0]
    shards = load_config(ShardsConfig, "shards/ffpp-c23.yaml")
    blends = config.data.self_blend
    narrowest = (1 + 2 * blends.margin[0]) / (1 + 2 * shards.faces.margin) * shards.faces.size
    assert narrowest > 0.98 * config.model.size
    assert (shards.faces.frames, shards.faces.landmarks) == (32, "mesh")
