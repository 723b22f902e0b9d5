"""The memory of weights, gradients and optimizer states on a rank, by arithmetic; the dry run measures a whole step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch._subclasses.fake_tensor import FakeTensorMode

from mrigan.config.engines import ENGINES
from mrigan.engine.optimizer import OPTIMIZERS
from mrigan.training.task import Task

FLOAT = 4  # bytes; weights, gradients and moments are fp32 in every precision


@dataclass(frozen=True)
class Footprint:
    """The memory of one network on a rank, in bytes.

    Attributes:
        parameters: their number in the whole network.
        checkpoint: bytes of the network and its optimizer in a checkpoint; 0 for a frozen network.
        reduced: bytes of gradients that are all-reduced per step; 0 with one rank.
    """

    parameters: int
    weights: int
    gradients: int
    optimizer: int
    checkpoint: int
    reduced: int


def footprints(task: Task[Any], ranks: int) -> dict[str, Footprint]:
    """The footprint of each network, and of the moving average; nothing is allocated."""
    kind, moments = ENGINES[task.config.engine.name], len(OPTIMIZERS[task.config.optim.name].moments)
    found = {}
    with FakeTensorMode(allow_non_fake_inputs=True):
        networks = task.networks(pretrained=False)
    for name, network in networks.items():
        parameters = sum(p.numel() for p in network.parameters())
        trained = FLOAT * sum(p.numel() for p in network.parameters() if p.requires_grad)
        kept = network.state_dict(keep_vars=True)
        buffers = sum(b.numel() * b.element_size() for key, b in network.named_buffers() if key in kept)
        found[name] = Footprint(
            parameters,
            weights=parameters * FLOAT // (ranks if kind.splits_weights else 1) + buffers,
            gradients=trained // (ranks if kind.splits_gradients else 1),
            optimizer=moments * trained // (ranks if kind.splits_optimizer else 1),
            checkpoint=trained and parameters * FLOAT + moments * trained + buffers,
            reduced=trained if ranks > 1 else 0,
        )
    if task.averaged is not None:
        weights = found[task.averaged[0]].weights
        found["average"] = Footprint(found[task.averaged[0]].parameters, weights, 0, 0, weights, 0)
    return found
