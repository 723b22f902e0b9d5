"""Adam that looks at its gradient before it steps, on the device: unscales it, clips it, and leaves out what is not
finite."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from mrigan.config import OptimConfig
from mrigan.engine.precision import Precision


class GuardedAdam(torch.optim.Adam):
    """Fused Adam: one pass over memory, a third of the time of the plain one on a CPU, and as deterministic.

    The gradient is divided by the loss scale and by what clipping asks for inside the fused kernel, and a step whose
    gradient is not finite changes nothing, the step count included. The host never waits for the device.

    Args:
        parameters: one network's, so that its gradient is clipped by itself.
        optim: lr, betas, weight decay, clip.
        precision: whose loss scale the gradient carries; it is told of steps left out.
        add_up: the sum over ranks, where each rank holds a part of the gradient (ZeRO).

    Attributes:
        grad_norm: the 2-norm of the last gradient, unscaled and before clipping; on the device, not always finite.
        skipped: whether the last step was left out: 0 or 1, on the device.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        optim: OptimConfig,
        precision: Precision,
        add_up: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> None:
        self._precision, self._clip, self._add_up = precision, optim.clip, add_up
        self.grad_norm = torch.zeros((), device=precision.device)
        self.skipped = torch.zeros((), device=precision.device)
        super().__init__(
            parameters, optim.lr, (optim.betas[0], optim.betas[1]), weight_decay=optim.weight_decay, fused=True
        )

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step of Adam, or none."""
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
