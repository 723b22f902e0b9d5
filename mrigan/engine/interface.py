"""What a training loop may know of the engine below it; a single process, DDP and DeepSpeed all look like this.

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
        """The bare network, for a forward that must not be reduced."""

    @property
    def grad_norm(self) -> torch.Tensor:
        """The 2-norm of the gradient of the last step, before clipping; on the device."""

    def __call__(self, *inputs: Any) -> Any:
        """The forward pass whose gradients `backward` reduces over the ranks."""

    def set_learning_rate(self, lr: float) -> None:
        """Of the next steps."""

    def backward(self, loss: torch.Tensor) -> None:
        """Add the gradients of `loss`, a mean over this rank's part of the batch; ranks are averaged, once a call."""

    def step(self) -> None:
        """One optimizer step; clears the gradients. Where a gradient is not finite the weights stay as they are."""

    def reduces(self, wanted: bool) -> AbstractContextManager[None]:
        """A context for a forward and its backward; unless `wanted`, gradients are only added up on this rank.

        For all but the last part of a batch. ZeRO 2 and 3 keep no whole gradient, so they reduce each part.
        """

    def frozen(self) -> AbstractContextManager[None]:
        """A context in which the network takes no gradient; gradients still pass through it to its input."""

    def whole(self) -> nn.Module:
        """The network with all its weights on this rank, for evaluation. Every rank must call it."""

    def state(self) -> tuple[Tensors, Tensors]:
        """Weights and optimizer state, by parameter name, whole on every rank; live tensors, not copies. Every rank
        must call it."""

    def load(self, weights: Tensors, optimizer: Tensors) -> None:
        """Continue from what `state` returned, on any engine and any number of ranks."""
