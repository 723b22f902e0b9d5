"""The engine in one process; several processes are in tests/distributed."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from mrigan.config import EngineConfig, OptimConfig
from mrigan.engine.ddp import DdpEngine
from mrigan.engine.distributed import World, choose_device, interleave, join_world
from mrigan.engine.precision import Precision
from mrigan.errors import CheckpointError, ConfigError

ALONE = World(0, 1, 0, torch.device("cpu"))


def network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 1))


def engine_of(module: nn.Module, optim: OptimConfig | None = None, channels_last: bool = False) -> DdpEngine:
    settings = EngineConfig(channels_last=channels_last)
    return DdpEngine(module, optim or OptimConfig(), settings, ALONE, Precision("fp32", ALONE.device))


def loss(engine: DdpEngine, seed: int) -> torch.Tensor:
    x = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    return engine(x).square().mean()


def train(engine: DdpEngine, steps: range) -> None:
    for step in steps:
        engine.backward(loss(engine, step))
        engine.step()


def test_steps_are_those_of_adam_as_published() -> None:
    engine = engine_of(network(), OptimConfig(lr=0.01, betas=[0.5, 0.999]))
    expected = {name: p.detach().double().clone() for name, p in engine.module.named_parameters()}
    m = {name: torch.zeros_like(p) for name, p in expected.items()}
    v = copy.deepcopy(m)
    for t in range(1, 4):
        engine.backward(loss(engine, t))
        for name, p in engine.module.named_parameters():  # Kingma and Ba, algorithm 1
            assert p.grad is not None
            g = p.grad.double()
            m[name] = 0.5 * m[name] + 0.5 * g
            v[name] = 0.999 * v[name] + 0.001 * g * g
            expected[name] -= 0.01 * (m[name] / (1 - 0.5**t)) / ((v[name] / (1 - 0.999**t)).sqrt() + 1e-8)
        engine.step()
        assert all(p.grad is None for p in engine.module.parameters())
    for name, p in engine.module.named_parameters():
        torch.testing.assert_close(p.detach().double(), expected[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layout", [False, True], ids=["NCHW", "channels_last"])
def test_continuing_from_a_state_changes_nothing(layout: bool) -> None:
    straight = engine_of(network(), channels_last=layout)
    train(straight, range(6))
    first = engine_of(network(), channels_last=layout)
    train(first, range(3))
    weights, optimizer = ({k: t.detach().clone().contiguous() for k, t in part.items()} for part in first.state_dict())
    second = engine_of(network(), channels_last=layout)
    second.load_state_dict(weights, optimizer)
    train(second, range(3, 6))
    for a, b in zip(straight.state_dict(), second.state_dict(), strict=True):
        assert a.keys() == b.keys()
        assert all(torch.equal(a[k], b[k]) for k in a)


def test_a_state_of_another_network_is_refused() -> None:
    engine = engine_of(network())
    train(engine, range(1))
    weights, optimizer = engine.state_dict()
    other = engine_of(nn.Linear(2, 2))
    with pytest.raises(CheckpointError, match="Linear"):
        other.load_state_dict(weights, optimizer)
    with pytest.raises(CheckpointError):
        engine.load_state_dict(weights, {k: t for k, t in optimizer.items() if "exp_avg_sq" not in k})


def test_frozen_passes_gradients_through_and_keeps_none() -> None:
    engine = engine_of(network())
    x = torch.randn(1, 3, 4, 4, requires_grad=True)
    with engine.frozen():
        engine.module(x).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
    assert all(p.grad is None and p.requires_grad for p in engine.module.parameters())


def test_alone_in_the_world(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    with join_world("cpu") as world:
        assert (world.rank, world.size, world.main) == (0, 1, True)
        assert world.on_main(lambda: [1, "a"]) == [1, "a"]
        assert world.broadcast({"a": 1}) == {"a": 1}
        assert torch.equal(world.mean(torch.tensor([2.0])), torch.tensor([2.0]))


def test_devices() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    with pytest.raises(ConfigError):
        choose_device("tpu")
    if not torch.cuda.is_available():
        assert choose_device("auto") == torch.device("cpu")
        with pytest.raises(ConfigError, match="0 GPU"):
            choose_device("cuda")


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_interleave_undoes_striding(size: int) -> None:
    items = torch.arange(11)
    assert torch.equal(interleave([items[rank::size] for rank in range(size)], 11), items)
