"""Number formats of the forward pass. Weights, optimizer state and losses are fp32 in every mode."""

from __future__ import annotations

from typing import Any

import torch


class Precision:
    """`fp32`, or `bf16` by autocast.

    Open a fresh `autocast` for every forward pass: inside one, casts of weights are cached, and an optimizer step
    would go unnoticed.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        self.name, self.device = name, device

    def autocast(self) -> Any:
        """A context for a forward pass."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.name == "bf16")
