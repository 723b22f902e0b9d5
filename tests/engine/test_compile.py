"""torch.compile, one network at a time: frozen and thawed, it trains as the plain one does."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from mrigan.config import EngineConfig, GanConfig, GanModelConfig
from mrigan.engine.distributed import World
from mrigan.engine.precision import Precision
from mrigan.training.gan import gan_step
from tests.distributed.engines import part
from tests.training.runs import gan_engines

ALONE = World(0, 1, 0, torch.device("cpu"))


def trained(steps: int, **engine: Any) -> dict[str, torch.Tensor]:
    config = GanConfig(model=GanModelConfig(size=32, width=4, dropout=0.0), engine=EngineConfig(**engine))
    config.optim.lr = 2e-6
    precision = Precision("fp32", ALONE.device)
    engines = gan_engines(config, ALONE, precision)
    for step in range(steps):
        gan_step(*engines.values(), part(step, ALONE), config=config, precision=precision, world=ALONE)
    return {f"{name}.{key}": t for name, e in engines.items() for key, t in e.module.state_dict().items()}


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> list[nn.Module]:
    """The graphs are traced and differentiated as always, and run as they are: no C++ compiler, no half a minute."""
    compiled: list[nn.Module] = []
    compile_ = nn.Module.compile

    def light(module: nn.Module) -> None:
        compiled.append(module)
        compile_(module, backend="aot_eager")

    monkeypatch.setattr(nn.Module, "compile", light)
    return compiled


def test_compiled_networks_learn_the_same(traced: list[nn.Module]) -> None:
    plain = trained(4)
    assert not traced
    compiled = trained(4, compile=True)
    assert [type(module).__name__ for module in traced] == ["Generator", "Discriminator"]
    assert compiled.keys() == plain.keys()
    begin = trained(0)
    for name, weights in compiled.items():
        moved = (plain[name] - begin[name]).abs().max()
        assert (weights - plain[name]).abs().max() <= 0.02 * moved + 1e-9, name
    assert any((compiled[name] != begin[name]).any() for name in begin if name.startswith("discriminator"))


@pytest.mark.faults
def test_compiled_by_inductor() -> None:
    plain, compiled, begin = trained(4), trained(4, compile=True), trained(0)
    for name, weights in compiled.items():
        moved = (plain[name] - begin[name]).abs().max()
        assert (weights - plain[name]).abs().max() <= 0.05 * moved + 1e-9, name
