"""Number formats of the forward pass. Weights, optimizer state and losses are fp32 in every mode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

INITIAL_SCALE, GROWTH, BACKOFF, INTERVAL = 65536.0, 2.0, 0.5, 2000  # those of torch.amp.GradScaler
_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Precision:
    """`fp32`, or `bf16` or `fp16` by autocast; with fp16 the one loss scale that all networks of a run share.

    Open a fresh `autocast` for every forward pass: inside one, casts of weights are cached, and an optimizer step
    would go unnoticed.

    The scale follows the rule of `torch.amp.GradScaler`. That class itself reads gradients where a plain optimizer has
    them, and under ZeRO they are elsewhere; so the optimizers say themselves whether a gradient was finite (`note`).
    Nothing here makes the host wait for the device.

    Attributes:
        scale: what losses are multiplied by before the backward pass; 1 unless fp16.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        self.name, self.device = name, device
        self.scales = name == "fp16"
        self.scale = torch.tensor(INITIAL_SCALE if self.scales else 1.0, device=device)
        self._good = torch.zeros((), device=device)  # steps since the scale was last changed
        self._skipped = torch.zeros((), device=device)

    def autocast(self) -> Any:
        """A context for a forward pass."""
        return torch.autocast(self.device.type, _TYPES[self.name], enabled=self.name != "fp32")

    def scaled(self, loss: torch.Tensor) -> torch.Tensor:
        """What to call `backward` on."""
        return loss * self.scale if self.scales else loss

    def note(self, skipped: torch.Tensor) -> None:
        """An optimizer left its step out (1), or not (0); the same on every rank."""
        self._skipped = torch.maximum(self._skipped, skipped)

    def update(self) -> torch.Tensor:
        """Call it once a step, after all optimizers: halve the scale when one was left out, double it after many good
        steps.

        Returns:
            Whether an optimizer was left out: 0 or 1, on the device.
        """
        skipped, self._skipped = self._skipped, torch.zeros_like(self._skipped)
        if self.scales:
            good = torch.where(skipped > 0, 0.0, self._good + 1)
            grows = good >= INTERVAL
            self.scale = self.scale * torch.where(skipped > 0, BACKOFF, torch.where(grows, GROWTH, 1.0))
            self._good = torch.where(grows, 0.0, good)
        return skipped

    def state(self) -> dict[str, float]:
        """What a checkpoint keeps."""
        return {"scale": float(self.scale), "good": float(self._good)}

    def load(self, state: Mapping[str, float]) -> None:
        """Continue from `state`."""
        self.scale.fill_(state["scale"])
        self._good.fill_(state["good"])
