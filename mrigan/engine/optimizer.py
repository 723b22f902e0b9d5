"""Optimizers that unscale, clip and check their gradient on the device, and the learning rate of each step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import torch
from torch import nn

from mrigan.config import OptimConfig
from mrigan.engine.precision import Precision
from mrigan.errors import ConfigError

SumOverRanks = Callable[[torch.Tensor], torch.Tensor]


class GuardedOptimizer(torch.optim.Optimizer):
    """A mix-in for a fused optimizer of torch, which stays one pass over memory, and as deterministic.

    The fused kernel divides the gradient by the loss scale and by the factor of clipping. If a gradient is not finite,
    the step is skipped: nothing changes, not even the step count. The host never waits for the device.

    Attributes:
        moments: the names of the state tensors of each parameter, besides `step` if it `counts_steps`.
        grad_norm: the 2-norm of the last gradient, unscaled, before clipping; on the device, may be infinite or NaN.
        skipped: whether the last step was skipped: 0 or 1, on the device.
    """

    moments: ClassVar[tuple[str, ...]] = ("exp_avg", "exp_avg_sq")
    counts_steps: ClassVar[bool] = True
    grad_norm: torch.Tensor
    skipped: torch.Tensor

    @classmethod
    def options(cls, optim: OptimConfig) -> dict[str, Any]:
        """Arguments of the constructor that only this optimizer has."""
        return {"betas": (optim.betas[0], optim.betas[1])}

    def guard(self, precision: Precision, clip: float, sum_over_ranks: SumOverRanks | None) -> None:
        """Called by `make_optimizer` after the constructor."""
        self._precision, self._clip, self._sum_over_ranks = precision, clip, sum_over_ranks
        self.grad_norm = torch.zeros((), device=precision.device)
        self.skipped = torch.zeros((), device=precision.device)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step, or none."""
        gradients = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        if self._sum_over_ranks is not None:
            norm = self._sum_over_ranks(norm.square()).sqrt()
        self.grad_norm = norm / self._precision.scale
        self.skipped = 1 - self.grad_norm.isfinite().float()
        self._precision.note(self.skipped)
        self.found_inf = self.skipped  # torch's fused optimizers read it and grad_scale, as from a GradScaler
        self.grad_scale = self._precision.scale if self._precision.scales else None
        if self._clip:
            self.grad_scale = self._precision.scale * (self.grad_norm / self._clip).clamp(min=1)
        return super().step(closure)


class GuardedAdam(GuardedOptimizer, torch.optim.Adam):
    """Adam."""


class GuardedAdamW(GuardedOptimizer, torch.optim.AdamW):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019)."""


class GuardedSgd(GuardedOptimizer, torch.optim.SGD):
    """Stochastic gradient descent with momentum."""

    moments = ("momentum_buffer",)
    counts_steps = False

    @classmethod
    def options(cls, optim: OptimConfig) -> dict[str, Any]:
        return {"momentum": optim.momentum}

    def step(self, closure: Any = None) -> Any:
        """One step, or none. The buffers exist before it, because torch's first step would not set one if skipped."""
        for parameter in (p for group in self.param_groups for p in group["params"]):
            if not self.state[parameter]:
                self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        return super().step(closure)


OPTIMIZERS: dict[str, type[GuardedOptimizer]] = {"adam": GuardedAdam, "adamw": GuardedAdamW, "sgd": GuardedSgd}


def make_optimizer(
    parameters: Iterable[nn.Parameter],
    optim: OptimConfig,
    precision: Precision,
    sum_over_ranks: SumOverRanks | None = None,
) -> GuardedOptimizer:
    """The optimizer that `optim.name` selects.

    Args:
        parameters: of one network; its gradient is clipped alone.
        precision: its loss scale is in the gradient; skipped steps are reported to it.
        sum_over_ranks: for the gradient's norm, if each rank holds a part of the gradient (ZeRO).
    """
    kind: Any = OPTIMIZERS[optim.name]
    optimizer: GuardedOptimizer = kind(
        parameters, lr=optim.lr, weight_decay=optim.weight_decay, fused=True, **kind.options(optim)
    )
    optimizer.guard(precision, optim.clip, sum_over_ranks)
    return optimizer


def check_schedule(optim: OptimConfig) -> None:
    """Refuse a schedule that does not end after it begins.

    Raises:
        ConfigError: `optim.decay_steps` is missing or too small.
    """
    begin = max(optim.warmup, optim.decay_from)
    if optim.schedule != "constant" and optim.decay_steps <= begin:
        raise ConfigError(
            f"optim.schedule={optim.schedule} ends at optim.decay_steps={optim.decay_steps}, which is not after step "
            f"{begin}, where the fall begins",
            fix="optim.decay_steps=N, for example the run's number of steps (--dry-run prints it)",
        )


def learning_rate(optim: OptimConfig, step: int) -> float:
    """The learning rate of the step after `step` steps; it depends on nothing else, so checkpoints do not store it.

    It rises linearly over the first `optim.warmup` steps. With `linear` and `cosine` it falls from there, or from
    `optim.decay_from` if that is later, and is 0 from `optim.decay_steps` on.
    """
    if step < optim.warmup:
        return optim.lr * (step + 1) / optim.warmup
    if optim.schedule == "constant":
        return optim.lr
    begin = max(optim.warmup, optim.decay_from)
    left = 1 - min(max(step - begin, 0) / (optim.decay_steps - begin), 1.0)
    return optim.lr * (left if optim.schedule == "linear" else (1 - math.cos(math.pi * left)) / 2)
