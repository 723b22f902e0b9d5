"""How much memory a training step needs, found without running it: the step's own code on tensors without storage.

What autograd keeps for the backward pass is measured so, to the byte; a network's weights, gradients and optimizer are
counted. What kernels need besides (workspaces, the buckets of DDP, CUDA's context) is not.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks

from mrigan.data import Batch
from mrigan.engine.distributed import World
from mrigan.engine.precision import Precision

FLOAT = 4  # bytes; weights, gradients and moments are fp32 in every precision
STAGE = {"zero1": 1, "zero2": 2, "zero3": 3}
LOSSES = "losses"

Step = Callable[[Mapping[str, Any], Batch, Precision, World], Any]


@dataclass(frozen=True)
class Footprint:
    """One network's part of a rank's memory, in bytes.

    Attributes:
        parameters, trained: numbers, of the whole network.
        buffers: bytes that a checkpoint keeps besides.
        activations: kept for the backward pass at the moment when all networks together keep most.
        reduced: bytes of gradients that the ranks add up in a step; 0 in a world of one.
    """

    parameters: int
    trained: int
    buffers: int
    weights: int
    gradients: int
    optimizer: int
    activations: int
    reduced: int

    @property
    def total(self) -> int:
        """Bytes on a rank."""
        return self.weights + self.gradients + self.optimizer + self.activations

    @property
    def checkpoint(self) -> int:
        """Bytes of the network and its optimizer in a checkpoint; one that is not trained is not in it."""
        return self.trained and (self.parameters + 2 * self.trained) * FLOAT + self.buffers


def footprints(
    build: Callable[[], Mapping[str, nn.Module]],
    step: Step,
    batch: Batch,
    *,
    precision: str,
    engine: str,
    world: World,
) -> dict[str, Footprint]:
    """Each network's footprint, and that of the losses beside them.

    Args:
        build: makes the networks; what it makes takes no memory.
        step: one training step with engines, a batch, a precision and a world.
        batch: of a rank's size; only shapes and types count.
        precision: "fp32", "bf16" or "fp16".
        engine: the word of `engine.name`: it says what the ranks share.
        world: the ranks.
    """
    alone = World(0, 1, 0, world.device)
    with FakeTensorMode(allow_non_fake_inputs=True) as fake:
        with torch.device(world.device):
            networks = build()
        ledger = _Ledger(networks)
        engines = {name: _Noting(network, ledger) for name, network in networks.items()}
        with ledger.noting():
            step(engines, like(batch, fake), Precision(precision, world.device), alone)
        most = ledger.most
        found = {name: _footprint(network, most.get(name, 0), engine, world.size) for name, network in networks.items()}
    return {**found, LOSSES: Footprint(0, 0, 0, 0, 0, 0, most.get(LOSSES, 0), 0)}


def _footprint(network: nn.Module, activations: int, engine: str, ranks: int) -> Footprint:
    stage = STAGE.get(engine, 0)
    share = [ranks if stage >= least else 1 for least in (3, 2, 1)]  # of weights, gradients, optimizer
    parameters = sum(p.numel() for p in network.parameters())
    trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
    kept = network.state_dict(keep_vars=True)
    buffers = sum(b.numel() * b.element_size() for name, b in network.named_buffers() if name in kept)
    return Footprint(
        parameters,
        trained,
        buffers,
        weights=parameters * FLOAT // share[0] + buffers,
        gradients=trained * FLOAT // share[1],
        optimizer=2 * trained * FLOAT // share[2],
        activations=activations,
        reduced=trained * FLOAT if ranks > 1 else 0,
    )


class _Ledger:
    """What autograd keeps, by the network that made it; the fullest moment so far."""

    def __init__(self, networks: Mapping[str, nn.Module]) -> None:
        self.most: dict[str, int] = {}
        self._now: dict[str, int] = {}
        self._known: dict[int, Any] = {}  # storages; held, so that no number is given twice
        self._inside = [LOSSES]
        for name, network in networks.items():
            for tensor in [*network.parameters(), *network.buffers()]:
                self._know(tensor)
            network.register_forward_pre_hook(lambda *_, name=name: self._inside.append(name))
            network.register_forward_hook(lambda *_: self._leave())

    def noting(self) -> AbstractContextManager[Any]:
        return saved_tensors_hooks(self._note, lambda tensor: tensor)

    def freed(self) -> None:
        """A backward pass gives back what was kept for it."""
        if sum(self._now.values()) > sum(self.most.values()):
            self.most = self._now
        self._now = {}

    def _note(self, tensor: torch.Tensor) -> torch.Tensor:
        size = self._know(tensor)
        self._now[self._inside[-1]] = self._now.get(self._inside[-1], 0) + size
        return tensor

    def _know(self, tensor: torch.Tensor) -> int:
        """The bytes of the tensor's storage; 0 for one that is known."""
        storage = tensor.untyped_storage()
        if storage._cdata in self._known:
            return 0
        self._known[storage._cdata] = storage
        return storage.nbytes()

    def _leave(self) -> None:
        self._inside.pop()


class Silent:
    """An engine that goes forward only."""

    def __init__(self, network: nn.Module) -> None:
        self.module = network

    def __call__(self, *inputs: Any) -> Any:
        return self.module(*inputs)

    def backward(self, loss: torch.Tensor) -> None:
        pass

    def step(self) -> None:
        pass

    def reduces(self, wanted: bool) -> AbstractContextManager[None]:
        return nullcontext()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        trained = [p for p in self.module.parameters() if p.requires_grad]
        for parameter in trained:
            parameter.requires_grad_(False)
        yield
        for parameter in trained:
            parameter.requires_grad_(True)


class _Noting(Silent):
    """It tells the ledger when a backward pass gives its memory back."""

    def __init__(self, network: nn.Module, ledger: _Ledger) -> None:
        super().__init__(network)
        self._ledger = ledger

    def backward(self, loss: torch.Tensor) -> None:
        self._ledger.freed()


class _Seeds(list[int]):
    """The seeds of a batch, which the host reads: a tensor without storage has no values."""

    def chunk(self, parts: int) -> list[list[int]]:
        """As a tensor's."""
        size = -(-len(self) // parts)
        return [self[i : i + size] for i in range(0, len(self), size)]


def like(batch: Batch, fake: FakeTensorMode) -> Any:
    """The batch without storage, under `fake`; the host's part of it (seeds) can be read."""
    mri = None if batch.mri is None else fake.from_tensor(batch.mri)
    face, label = fake.from_tensor(batch.face), fake.from_tensor(batch.label)
    return dataclasses.replace(batch, face=face, mri=mri, label=label, seeds=_Seeds([0] * len(batch)))  # type: ignore[arg-type]
