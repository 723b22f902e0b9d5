"""One step of a detector whose batch is computed in parts: the classes weigh the same over the whole of it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mrigan.config import DetectorConfig, EngineConfig, OptimConfig
from mrigan.engine.build import build_engine
from mrigan.engine.distributed import World
from mrigan.engine.precision import Precision
from mrigan.training.detector import detector_step
from tests.distributed.checks import Tiny, part

ALONE = World(0, 1, 0, torch.device("cpu"))


def step(parts: int, balanced: bool) -> tuple[dict[str, float], list[torch.Tensor]]:
    torch.manual_seed(0)
    network = Tiny()
    network.norm = nn.Identity()  # type: ignore[assignment]  # BatchNorm would look at each part by itself
    config = DetectorConfig(engine=EngineConfig(accumulate=parts))
    config.loss.balanced = balanced
    precision = Precision("fp32", ALONE.device)
    engine = build_engine(network, OptimConfig(), config.engine, ALONE, precision)
    seen: list[torch.Tensor] = []
    take = engine.step
    engine.step = lambda: (seen.extend(p.grad.clone() for p in network.parameters()), take())  # type: ignore
    result = detector_step(engine, None, part(0, ALONE), config=config, precision=precision, world=ALONE)
    return {name: float(value) for name, value in {**result.losses, **result.metrics}.items()}, seen


@pytest.mark.parametrize("balanced", [True, False])
@pytest.mark.parametrize("parts", [2, 4])
def test_parts_make_the_whole(parts: int, balanced: bool) -> None:
    """Of four samples one is fake, so that most parts hold no fake at all."""
    losses, gradients = step(parts, balanced)
    expected, whole = step(1, balanced)
    assert losses == pytest.approx(expected, rel=1e-5)
    assert len(gradients) == len(whole) == 4
    for ours, theirs in zip(gradients, whole, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-7)
