"""Number formats of the forward pass. Weights, optimizer state and losses are always fp32."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext

import torch

from mrigan.engine.depthwise import DepthwiseInFloat32

INITIAL_SCALE, GROWTH, BACKOFF, GROWTH_INTERVAL = 65536.0, 2.0, 0.5, 2000  # as in torch.amp.GradScaler
_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Precision:
    """`fp32`, or autocast to `bf16` or `fp16`; with fp16, the loss scale that all networks of a run share.

    Open a new `autocast` for every forward pass: it caches the casts of weights, so it would miss an optimizer step.

    The scale follows the rule of `torch.amp.GradScaler`. That class cannot be used, because it reads gradients from the
    optimizer's parameters, and ZeRO stores them elsewhere. Here the optimizers report whether a gradient was finite
    (`note`). The host never waits for the device.

    Attributes:
        scale: the factor of losses before the backward pass; 1 unless fp16.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        self.name, self.device = name, device
        self.scales = name == "fp16"
        self.scale = torch.tensor(INITIAL_SCALE if self.scales else 1.0, device=device)
        self._good = torch.zeros((), device=device)  # steps since the last change of the scale
        self._skipped = torch.zeros((), device=device)

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """A context for a forward pass."""
        depthwise = self.name == "bf16" and self.device.type == "cpu"
        mode = DepthwiseInFloat32() if depthwise else nullcontext()
        with torch.autocast(self.device.type, _TYPES[self.name], enabled=self.name != "fp32"), mode:
            yield

    def scaled(self, loss: torch.Tensor) -> torch.Tensor:
        """The loss to call `backward` on."""
        return loss * self.scale if self.scales else loss

    def note(self, skipped: torch.Tensor) -> None:
        """An optimizer reports whether it skipped its step (1) or not (0); the same on every rank."""
        self._skipped = torch.maximum(self._skipped, skipped)

    def update(self) -> torch.Tensor:
        """Call it once per step, after all optimizers: halves the scale after a skipped step, and doubles it after many
        good steps.

        Returns:
            Whether an optimizer skipped its step: 0 or 1, on the device.
        """
        skipped, self._skipped = self._skipped, torch.zeros_like(self._skipped)
        if self.scales:
            good = torch.where(skipped > 0, 0.0, self._good + 1)
            grows = good >= GROWTH_INTERVAL
            self.scale = self.scale * torch.where(skipped > 0, BACKOFF, torch.where(grows, GROWTH, 1.0))
            self._good = torch.where(grows, 0.0, good)
        return skipped

    def state_dict(self) -> dict[str, float]:
        """The values for a checkpoint."""
        return {"scale": float(self.scale), "good": float(self._good)}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Continue from a `state_dict`."""
        self.scale.fill_(state["scale"])
        self._good.fill_(state["good"])
