"""Adam with its guard, the loss scale and the average, each against what torch itself does."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from mrigan.config import OptimConfig
from mrigan.engine.average import Average
from mrigan.engine.optimizer import check_schedule, learning_rate, make_optimizer
from mrigan.engine.precision import Precision
from mrigan.errors import ConfigError

CPU = torch.device("cpu")


def network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 1))


def gradients(net: nn.Module, seed: int, scale: float = 1.0) -> None:
    net.zero_grad()
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(seed))
    (net(x).square().mean() * scale).backward()


PLAIN = {
    "adam": lambda p: torch.optim.Adam(p, 0.01, (0.5, 0.999), weight_decay=0.1, foreach=False),
    "adamw": lambda p: torch.optim.AdamW(p, 0.01, (0.5, 0.999), weight_decay=0.1, foreach=False),
    "sgd": lambda p: torch.optim.SGD(p, 0.01, 0.8, weight_decay=0.1, foreach=False),
}


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("clip", [0.0, 0.05, 100.0])
def test_steps_and_clipping_are_those_of_torch(clip: float, name: str) -> None:
    ours, theirs = network(), network()
    optim = OptimConfig(name=name, lr=0.01, momentum=0.8, weight_decay=0.1, clip=clip)
    guarded = make_optimizer(ours.parameters(), optim, Precision("fp32", CPU))
    plain = PLAIN[name](theirs.parameters())
    for step in range(5):
        gradients(ours, step)
        gradients(theirs, step)
        norm = nn.utils.clip_grad_norm_(theirs.parameters(), clip or math.inf)
        guarded.step()
        plain.step()
        assert guarded.grad_norm == pytest.approx(float(norm), rel=1e-5)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("clip", [0.0, 0.05])
@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_changes_nothing(clip: float, wrong: float, name: str) -> None:
    net, precision = network(), Precision("fp32", CPU)
    guarded = make_optimizer(net.parameters(), OptimConfig(name=name, lr=0.01, clip=clip), precision)
    gradients(net, 0)
    guarded.step()
    assert precision.update() == 0
    before = copy.deepcopy((list(net.parameters()), guarded.state_dict()["state"]))
    gradients(net, 1)
    last = list(net.parameters())[-1]
    assert last.grad is not None
    last.grad.fill_(wrong)
    guarded.step()
    assert precision.update() == 1
    assert precision.update() == 0
    after = list(net.parameters()), guarded.state_dict()["state"]
    assert all(torch.equal(a, b) for a, b in zip(before[0], after[0], strict=True))
    for index, state in before[1].items():
        assert all(torch.equal(value, after[1][index][key]) for key, value in state.items())


def test_a_first_step_that_is_left_out_leaves_momentum_at_zero() -> None:
    net, precision = network(), Precision("fp32", CPU)
    guarded = make_optimizer(net.parameters(), OptimConfig(name="sgd"), precision)
    for parameter in net.parameters():
        parameter.grad = torch.full_like(parameter, math.nan)
    guarded.step()
    assert not any(state["momentum_buffer"].any() for state in guarded.state.values())


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_learning_rates_are_those_of_torch(schedule: str) -> None:
    """After a warm-up of 4 steps, whose last has the full rate; 0 from step 14 on."""
    optim = OptimConfig(lr=0.3, schedule=schedule, warmup=4, decay_steps=14)
    rates = [learning_rate(optim, step) for step in range(18)]
    plain = torch.optim.SGD([torch.zeros(1)], 0.3)
    decay = (
        torch.optim.lr_scheduler.LinearLR(plain, 1.0, 0.0, 10)
        if schedule == "linear"
        else torch.optim.lr_scheduler.CosineAnnealingLR(plain, 10)
    )
    expected = []
    for _ in range(11):
        expected.append(plain.param_groups[0]["lr"])
        plain.step()
        decay.step()
    assert rates[:4] == pytest.approx([0.075, 0.15, 0.225, 0.3])
    assert rates[4:15] == pytest.approx(expected, abs=1e-12)
    assert rates[15:] == pytest.approx([0, 0, 0], abs=1e-12)
    held = OptimConfig(lr=0.3, schedule=schedule, warmup=4, decay_from=20, decay_steps=30)
    assert [learning_rate(held, step) for step in range(4, 21)] == [0.3] * 17
    assert [learning_rate(held, step) for step in range(20, 31)] == pytest.approx(expected, abs=1e-12)
    assert learning_rate(OptimConfig(lr=0.3), 10**6) == 0.3
    with pytest.raises(ConfigError, match="not after step 30"):
        check_schedule(OptimConfig(schedule=schedule, decay_from=30, decay_steps=30))
    with pytest.raises(ConfigError, match=r"decay_steps=0"):
        check_schedule(OptimConfig(schedule=schedule))


def test_parts_of_a_gradient_on_several_ranks_have_one_norm() -> None:
    net, precision = network(), Precision("fp32", CPU)
    guarded = make_optimizer(net.parameters(), OptimConfig(), precision, sum_over_ranks=lambda square: square + 16.0)
    gradients(net, 0)
    for parameter in net.parameters():
        assert parameter.grad is not None
        parameter.grad.zero_()
    next(net.parameters()).grad[0, 0] = 3.0  # type: ignore[index]
    guarded.step()
    assert guarded.grad_norm == 5.0


def test_the_loss_scale_is_that_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against GradScaler, through overflows and long sound stretches, with two optimizers that overflow by turns."""
    monkeypatch.setattr("mrigan.engine.precision.GROWTH_INTERVAL", 4)
    precision = Precision("fp16", CPU)
    scaler = torch.amp.GradScaler("cpu", init_scale=65536.0, growth_interval=4)
    ours, theirs = [network(), network()], [network(), network()]
    guarded = [make_optimizer(net.parameters(), OptimConfig(lr=0.01), precision) for net in ours]
    plain = [torch.optim.Adam(net.parameters(), 0.01, (0.5, 0.999), fused=True) for net in theirs]
    overflows = {0: (0,), 1: (0, 1), 7: (1,), 8: (0,), 20: (1,)}
    scales = []
    for step in range(30):
        for i in range(2):
            blow_up = math.inf if i in overflows.get(step, ()) else 1.0
            gradients(ours[i], step, float(precision.scaled(torch.ones(()))) * blow_up)
            gradients(theirs[i], step, float(scaler.scale(torch.ones(()))) * blow_up)
            guarded[i].step()
            scaler.step(plain[i])
        assert precision.update() == (step in overflows)
        scaler.update()
        assert float(precision.scale) == scaler.get_scale()
        scales.append(float(precision.scale))
    assert (scales[0], min(scales)) == (32768.0, 8192.0)
    assert scales[-1] > 8192.0  # it has grown again
    for mine, other in zip(ours, theirs, strict=True):
        for a, b in zip(mine.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(a, b)


def test_the_loss_scale_goes_on_from_its_state() -> None:
    first, second = Precision("fp16", CPU), Precision("fp16", CPU)
    first.note(torch.ones(()))
    for _ in range(3):
        first.update()
    second.load_state_dict(first.state_dict())
    assert second.state_dict() == first.state_dict() == {"scale": 32768.0, "good": 2.0}


def test_fp32_and_bf16_scale_nothing() -> None:
    for name in ("fp32", "bf16"):
        precision = Precision(name, CPU)
        loss = torch.tensor(3.0)
        assert precision.scaled(loss) is loss
        precision.note(torch.ones(()))
        assert precision.update() == 1
        assert precision.scale == 1.0


def test_a_weight_counts_half_after_the_half_life() -> None:
    net = nn.Linear(1, 1)
    average = Average(net, half_life=80.0, batch_size=8)
    begin = 10**6  # long after the beginning, where the half-life is shorter
    with torch.no_grad():
        net.weight.fill_(0.0)
        average.module.weight.fill_(1.0)  # type: ignore[operator, union-attr]
    for step in range(begin, begin + 10):  # 80 images
        average.update(step)
    assert average.module.weight.item() == pytest.approx(0.5, rel=1e-5)  # type: ignore[operator, union-attr]


def test_the_average_soon_forgets_the_first_weights_and_carries_no_gradient() -> None:
    net = nn.Linear(1, 1)
    average = Average(net, half_life=1e9, batch_size=8)
    with torch.no_grad():
        net.weight.fill_(5.0)
    for step in range(1, 60):
        average.update(step)
    assert average.module.weight.item() == pytest.approx(5.0, rel=1e-3)  # type: ignore[operator, union-attr]
    assert not any(p.requires_grad for p in average.module.parameters())
    assert average.unsharded() is average.module
    assert not average.module.training
