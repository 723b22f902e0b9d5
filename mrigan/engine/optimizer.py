"""Optimizers that look at their gradient before they step, on the device: unscale it, clip it, and leave out what is
not finite; and the learning rate of each step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import torch
from torch import nn

from mrigan.config import OptimConfig
from mrigan.engine.precision import Precision
from mrigan.errors import ConfigError

Reduce = Callable[[torch.Tensor], torch.Tensor]


class Guarded(torch.optim.Optimizer):
    """A fused optimizer of torch with a guard: one pass over memory, and as deterministic as the plain one.

    The gradient is divided by the loss scale and by what clipping asks for inside the fused kernel, and a step whose
    gradient is not finite changes nothing, the step count included. The host never waits for the device.

    Attributes:
        moments: what the optimizer keeps of each parameter, besides `step` where it `counts`.
        grad_norm: the 2-norm of the last gradient, unscaled and before clipping; on the device, not always finite.
        skipped: whether the last step was left out: 0 or 1, on the device.
    """

    moments: ClassVar[tuple[str, ...]] = ("exp_avg", "exp_avg_sq")
    counts: ClassVar[bool] = True
    grad_norm: torch.Tensor
    skipped: torch.Tensor

    def guard(self, precision: Precision, clip: float, add_up: Reduce | None) -> None:
        """What `make_optimizer` sets."""
        self._precision, self._clip, self._add_up = precision, clip, add_up
        self.grad_norm = torch.zeros((), device=precision.device)
        self.skipped = torch.zeros((), device=precision.device)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step, or none."""
        gradients = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        if self._add_up is not None:
            norm = self._add_up(norm.square()).sqrt()
        self.grad_norm = norm / self._precision.scale
        self.skipped = 1 - self.grad_norm.isfinite().float()
        self._precision.note(self.skipped)
        self.found_inf = self.skipped  # this and grad_scale: what torch's fused optimizers take from a GradScaler
        self.grad_scale = self._precision.scale if self._precision.scales else None
        if self._clip:
            self.grad_scale = self._precision.scale * (self.grad_norm / self._clip).clamp(min=1)
        return super().step(closure)


class GuardedAdam(Guarded, torch.optim.Adam):
    """Adam."""


class GuardedAdamW(Guarded, torch.optim.AdamW):
    """Adam whose weight decay is no part of the gradient (Loshchilov and Hutter, 2019)."""


class GuardedSgd(Guarded, torch.optim.SGD):
    """Stochastic gradient descent with momentum."""

    moments = ("momentum_buffer",)
    counts = False

    def step(self, closure: Any = None) -> Any:
        """One step, or none; torch's first one would leave a buffer unset where it is left out."""
        for parameter in (p for group in self.param_groups for p in group["params"]):
            if not self.state[parameter]:
                self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        return super().step(closure)


OPTIMIZERS: dict[str, type[Guarded]] = {"adam": GuardedAdam, "adamw": GuardedAdamW, "sgd": GuardedSgd}


def make_optimizer(
    parameters: Iterable[nn.Parameter], optim: OptimConfig, precision: Precision, add_up: Reduce | None = None
) -> Guarded:
    """The optimizer that `optim.name` asks for.

    Args:
        parameters: one network's, so that its gradient is clipped by itself.
        precision: whose loss scale the gradient carries; it is told of steps left out.
        add_up: the sum over ranks, where each rank holds a part of the gradient (ZeRO).
    """
    own = {"momentum": optim.momentum} if optim.name == "sgd" else {"betas": (optim.betas[0], optim.betas[1])}
    make: Any = OPTIMIZERS[optim.name]
    found = make(parameters, lr=optim.lr, weight_decay=optim.weight_decay, fused=True, **own)
    found.guard(precision, optim.clip, add_up)
    return found


def check_schedule(optim: OptimConfig) -> None:
    """Refuse a schedule without an end.

    Raises:
        ConfigError: `optim.decay_steps` is not given.
    """
    if optim.schedule != "constant" and optim.decay_steps <= optim.warmup:
        raise ConfigError(
            f"optim.schedule={optim.schedule} ends at optim.decay_steps={optim.decay_steps}, and the warm-up takes "
            f"{optim.warmup} steps",
            fix="optim.decay_steps=N, for example all steps of the run (--dry-run says how many)",
        )


def learning_rate(optim: OptimConfig, step: int) -> float:
    """The learning rate of the step after `step` steps: a function of these two alone, so that a resumed run needs no
    more to know it.

    It rises evenly over the first `optim.warmup` steps; under `linear` and `cosine` it then falls, and is 0 from
    `optim.decay_steps` on.
    """
    if step < optim.warmup:
        return optim.lr * (step + 1) / optim.warmup
    if optim.schedule == "constant":
        return optim.lr
    left = 1 - min((step - optim.warmup) / (optim.decay_steps - optim.warmup), 1.0)
    return optim.lr * (left if optim.schedule == "linear" else (1 - math.cos(math.pi * left)) / 2)
