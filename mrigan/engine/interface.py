"""What a training loop may know of the engine below it; DDP, a single process and later engines all look like this.

One engine drives one network and its optimizer. With several networks there are several engines, so that each can be
frozen, reduced and stepped by itself:

    with D.frozen():
        loss = …D.module(G(face), face)…      # D bare: it is not trained here, so nothing of it may be reduced
        G.backward(loss)
    G.step()
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch
from torch import nn

Tensors = Mapping[str, torch.Tensor]


class Engine(Protocol):
    """One network under training."""

    @property
    def module(self) -> nn.Module:
        """The bare network: for evaluation, and for a forward that must not be reduced."""

    def __call__(self, *inputs: Any) -> Any:
        """The forward pass whose gradients `backward` reduces over the ranks."""

    def backward(self, loss: torch.Tensor) -> None:
        """Add the gradients of `loss`, a mean over this rank's part of the batch; ranks are averaged, once a call."""

    def step(self) -> None:
        """One optimizer step; clears the gradients."""

    def no_sync(self) -> AbstractContextManager[None]:
        """A context in which `backward` adds up gradients on this rank without reducing them."""

    def frozen(self) -> AbstractContextManager[None]:
        """A context in which the network takes no gradient; gradients still pass through it to its input."""

    def state(self) -> tuple[Tensors, Tensors]:
        """Weights and optimizer state, by parameter name, whole on rank 0. Every rank must call it."""

    def load(self, weights: Tensors, optimizer: Tensors) -> None:
        """Continue from what `state` returned, on any engine and any number of ranks."""
