"""How much of a device's arithmetic training uses: MFU = FLOP an image x images/s / peak of all devices.

FLOP are counted, not estimated: the step's own code, forward and backward, on tensors without storage. As in PaLM
(Chowdhery et al., 2022, appendix B) a product and its sum are two, and what is computed twice to save memory is not
counted twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from mrigan.data import Batch
from mrigan.engine.distributed import World
from mrigan.engine.precision import Precision
from mrigan.training.footprint import Silent, Step, like

IMAGES = 2  # counted at a time, for each part of a rank's share: one of each class

# TFLOP/s without sparsity, by the makers' data sheets: half precision on tensor cores, TF32, fp32.
# The first name that torch.cuda.get_device_name contains counts; 0 = the device has no such units.
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


@dataclass(frozen=True)
class Work:
    """What a training does with a batch, for counting; nothing of it is run on a device.

    Attributes:
        networks: makes the bare networks.
        step: one training step, see `Step`.
        size: px, side of the faces.
        mri: whether a batch holds MRIs.
    """

    networks: Callable[[], Mapping[str, nn.Module]]
    step: Step
    size: int
    mri: bool


def peak_flops(device: str, precision: str, tf32: bool) -> float | None:
    """The peak of one device in FLOP/s; None where it is not known.

    Args:
        device: as `torch.cuda.get_device_name` gives it.
        precision: "fp32", "bf16" or "fp16".
        tf32: whether fp32 products may run on tensor cores.
    """
    words = device.replace("-", " ").split()
    for name, (half, tensor, single) in PEAKS.items():
        if name in device if len(name) > 3 else name in words:
            peak = half if precision != "fp32" else (tensor or single) if tf32 else single
            return peak * 1e12
    return None


def flops_per_image(work: Work, precision: str, parts: int = 1) -> float:
    """FLOP of one image in one step: convolutions and matrix products, forward and backward, of all networks.

    Args:
        precision: "fp32", "bf16" or "fp16"; the count is the same, but for what autocast leaves out.
        parts: see `engine.accumulate`.
    """
    cpu, images = torch.device("cpu"), IMAGES * parts
    alone = World(0, 1, 0, cpu)
    with FakeTensorMode(allow_non_fake_inputs=True) as fake:
        with cpu:
            networks = work.networks()
            face = torch.empty(images, 3, work.size, work.size, dtype=torch.uint8)
            label = torch.arange(images).remainder(2).float()
        zeros = torch.zeros(images, dtype=torch.int64)
        batch = Batch(face, face if work.mri else None, label, zeros, zeros, zeros, step=0)
        with FlopCounterMode(display=False) as counted:
            work.step({name: Working(network) for name, network in networks.items()}, like(batch, fake),
                      Precision(precision, cpu), alone)  # fmt: skip
    return counted.get_total_flops() / images


class Working(Silent):
    """An engine that goes forward and backward, and never steps."""

    def backward(self, loss: torch.Tensor) -> None:
        loss.backward()
