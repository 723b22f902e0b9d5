"""The interface between a training loop and the engine below it: single process, DDP, DeepSpeed, or another one.

One engine drives one network and its optimizer. A training with several networks has several engines, so that each
network can be frozen, reduced and stepped alone:

    with D.frozen():
        loss = …D.module(G(face), face)…      # D.module, not D: D is not trained here, so DDP must not reduce it
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
        """The network itself, for a forward pass without reduction of gradients."""

    @property
    def grad_norm(self) -> torch.Tensor:
        """The 2-norm of the last step's gradient before clipping, on the device."""

    def __call__(self, *inputs: Any) -> Any:
        """The forward pass whose gradients `backward` averages over the ranks."""

    def set_learning_rate(self, lr: float) -> None:
        """Set the learning rate of the next steps."""

    def backward(self, loss: torch.Tensor) -> None:
        """Add the gradients of `loss`, a mean over this rank's part of the batch; averages them over the ranks."""

    def step(self) -> None:
        """One optimizer step; clears the gradients. If a gradient is not finite, the weights do not change."""

    def no_sync(self) -> AbstractContextManager[None]:
        """A context for a forward and its backward in which gradients are added up on this rank only.

        Use it for all parts of a batch but the last. ZeRO 2 and 3 hold no whole gradient, so they reduce every part.
        """

    def frozen(self) -> AbstractContextManager[None]:
        """A context in which the network gets no gradient; gradients still pass through it to its input."""

    def unsharded(self) -> nn.Module:
        """The network with all of its weights on this rank, for evaluation. Every rank must call it."""

    def state_dict(self) -> tuple[Tensors, Tensors]:
        """Weights and optimizer state by parameter name, complete on every rank. Every rank must call it.

        The tensors are the engine's own, not copies.
        """

    def load_state_dict(self, weights: Tensors, optimizer: Tensors) -> None:
        """Continue from a `state_dict`, also one of another engine or another number of ranks."""
