"""Every config that ships can be loaded, and the smallest of each training can be run dry."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mrigan.config import DetectorConfig, GanConfig, ShardsConfig, load_config
from mrigan.config.engines import ENGINES
from mrigan.config.pose import PoseConfig
from mrigan.engine.zero import deepspeed_settings
from mrigan.training.launch import launch
from tests.conftest import ROOT

SCHEMAS = {"gan": GanConfig, "detector": DetectorConfig, "pose": PoseConfig, "shards": ShardsConfig}
ALL = sorted(path.relative_to(ROOT / "configs").as_posix() for path in (ROOT / "configs").rglob("*.yaml"))


def test_none_is_forgotten() -> None:
    assert {Path(name).parts[0] for name in ALL} == set(SCHEMAS)
    assert len(ALL) > 8


@pytest.mark.parametrize("name", ALL)
def test_it_loads(name: str) -> None:
    kind = Path(name).parts[0]
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
