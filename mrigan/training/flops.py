"""Model FLOPs utilization: MFU = FLOPs per image x images/s / peak of all devices.

FLOPs are counted, not estimated, by running the code of the step, forward and backward, on tensors without storage. As
in PaLM (Chowdhery et al., 2022, appendix B) a multiply-add counts as two, and recomputed activations count once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from mrigan.data import Batch
from mrigan.engine.distributed import World
from mrigan.engine.precision import Precision
from mrigan.training.state import TrainState
from mrigan.training.task import Inputs, Task

IMAGES = 2  # per part of a rank's share, one of each class

# TFLOP/s without sparsity, from the data sheets: half precision on tensor cores, TF32, fp32.
# The first name that torch.cuda.get_device_name contains is used; 0 = the device has no such units.
PEAKS = {
    "B200": (2250.0, 1125.0, 75.0),
    "H200": (989.4, 494.7, 66.9),
    "H100 PCIe": (756.0, 378.0, 51.0),
    "H100 NVL": (835.0, 417.5, 60.0),
    "H100": (989.4, 494.7, 66.9),
    "A100": (312.0, 156.0, 19.5),
    "L40S": (362.0, 183.0, 91.6),
    "A40": (149.7, 74.8, 37.4),
    "L4": (121.0, 60.0, 30.3),
    "V100-SXM2": (125.0, 0.0, 15.7),
    "V100-PCIE": (112.0, 0.0, 14.0),
    "T4": (65.0, 0.0, 8.1),
}


def peak_flops(device: str, precision: str, tf32: bool) -> float | None:
    """The peak of one device in FLOP/s; None if it is unknown.

    Args:
        device: the result of `torch.cuda.get_device_name`.
        precision: "fp32", "bf16" or "fp16".
        tf32: whether fp32 matrix products may use tensor cores.
    """
    words = device.replace("-", " ").split()
    for name, (half, tensor, single) in PEAKS.items():
        if name in device if len(name) > 3 else name in words:
            peak = half if precision != "fp32" else (tensor or single) if tf32 else single
            return peak * 1e12
    return None


def flops_per_image(task: Task[Any]) -> float:
    """FLOPs of one step per image: convolutions and matrix products, forward and backward, of all networks."""
    cpu, images = torch.device("cpu"), IMAGES * task.config.engine.accumulate
    with FakeTensorMode(allow_non_fake_inputs=True):
        with cpu:
            state = bare_state(task)
            batch = dataclasses.replace(random_batch(task.inputs, images), seeds=_Seeds([0] * images))  # type: ignore[arg-type]
        with FlopCounterMode(display=False) as counted:
            task.step(state, batch)
    return counted.get_total_flops() / images


def bare_state(task: Task[Any]) -> TrainState:
    """New networks of a task on the CPU, in engines that compute gradients but do not step."""
    cpu = torch.device("cpu")
    state = TrainState(World(0, 1, 0, cpu), Precision(task.config.train.precision, cpu), {})
    for name, network in task.networks(pretrained=False).items():
        if any(p.requires_grad for p in network.parameters()):
            state.engines[name] = _BareEngine(network)  # type: ignore[assignment]  # what a step uses
        else:
            state.frozen[name] = network
    return state


def random_batch(inputs: Inputs, images: int) -> Batch:
    """A batch of random faces on the CPU, half of them fake."""
    face = torch.randint(0, 256, (images, 3, inputs.size, inputs.size), dtype=torch.uint8)
    zeros = torch.zeros(images, dtype=torch.int64)
    return Batch(
        face, face if inputs.mri else None, torch.arange(images).remainder(2).float(), zeros, zeros, zeros, step=0
    )


class _BareEngine:
    """An engine that computes gradients, but whose step does nothing."""

    def __init__(self, network: nn.Module) -> None:
        self.module = network

    def __call__(self, *inputs: Any) -> Any:
        return self.module(*inputs)

    def backward(self, loss: torch.Tensor) -> None:
        loss.backward()

    def step(self) -> None:
        pass

    def no_sync(self) -> AbstractContextManager[None]:
        return nullcontext()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        trained = [p for p in self.module.parameters() if p.requires_grad]
        for parameter in trained:
            parameter.requires_grad_(False)
        yield
        for parameter in trained:
            parameter.requires_grad_(True)


class _Seeds(list[int]):
    """The seeds of a batch as a list: the host reads them, and a tensor without storage has no values."""

    def chunk(self, parts: int) -> list[list[int]]:
        """Like `Tensor.chunk`."""
        size = -(-len(self) // parts)
        return [self[i : i + size] for i in range(0, len(self), size)]
