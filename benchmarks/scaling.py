"""A model on paper of `mrigan train gan` on 1 to 64 GPUs; nothing here is a measurement.

    python benchmarks/scaling.py [--mfu 0.4] [--nics 8] [--nvlink 450] … [--picture FILE.png] [--json OUT]

Counted from the project's own networks: the operations of a step, block by block, and the bytes of gradients that the
ranks add up, parameter by parameter. Assumed, as arguments: how fast a GPU computes, and the links. Then the step is
laid out in time as DDP does it: G forward, D forward and backward for G's loss, G backward; each bucket of gradients is
added up in a ring as soon as it is full, one after the other, while the backward pass goes on; G's step waits for the
last; then the same for D. Efficiency is the time of one GPU's step over the time of the step on many.

Left out: that adding up takes the GPU's processors and memory away from computing; Adam (a part of the MFU); ranks that
are slower than others; waiting for data, of which only the bandwidth is given. With few images a GPU it is the launches
of kernels that limit the step, not the peak: then the efficiency is better than shown, and the speed worse.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from mrigan.config import GanConfig
from mrigan.evaluation.figures import DASHES, LINE, MODELS, MUTED, draw
from mrigan.files import atomic_write, write_json
from mrigan.training.gan import build_networks

GPUS, IMAGES = (1, 2, 4, 8, 16, 32, 64), (16, 32, 64)
FIRST = 2**20  # bytes: DDP's first bucket
PAIR = 35e3  # bytes of a face and its MRI in a shard, half of the MRIs black (docs/data.md)


@dataclass(frozen=True)
class Machine:
    """What is assumed. GB = 1e9 bytes."""

    peak: float = 989.4  # TFLOP/s, bf16 dense: NVIDIA H100 SXM data sheet (1,979 with sparsity)
    mfu: float = 0.4  # share of it that a step reaches: the aim; 0.25 is the least that is asked for
    nvlink: float = 450.0  # GB/s a GPU and direction: the same data sheet, 900 in both
    nics: int = 8  # network cards a node that the ring uses: 8 in a DGX or HGX H100, 1 in many clusters
    nic: float = 50.0  # GB/s each: InfiniBand NDR, 400 Gb/s
    achieved: float = 0.8  # share of a link's rate that large messages reach: an assumption
    node: int = 8  # GPUs a node
    bucket: float = 25.0  # MiB: DDP's default, which the engine keeps
    base: float = 8.4e-6  # s: NCCL's own model of a ring (src/graph/tuning.cc, 2.10): start,
    hop: float = 3.4e-6  # a step over NVLink,
    net_hop: float = 9.6e-6  # a step over the network


@dataclass(frozen=True)
class Block:
    """One block of a network: floating-point operations forward an image, and its trained parameters' sizes."""

    forward: float
    parameters: tuple[int, ...]


@dataclass(frozen=True)
class Counted:
    """G's and D's blocks from input to output; D's operations are those of one pass."""

    G: tuple[Block, ...]
    D: tuple[Block, ...]

    @property
    def flops(self) -> float:
        """Operations of a step, an image: D sees three pictures, one of them for G."""
        G, D = (sum(block.forward for block in blocks) for blocks in (self.G, self.D))
        # Backward: once for the weights and once for the input, but for the input of the first block; D for G's loss
        # only for the input.
        return (3 * G - self.G[0].forward) + 2 * D + 2 * (3 * D - self.D[0].forward)

    def gradients(self, width: int = 4) -> dict[str, int]:
        """Bytes that are added up in a step, by network."""
        parts = (("generator", self.G), ("discriminator", self.D))
        return {name: width * sum(sum(block.parameters) for block in blocks) for name, blocks in parts}


def count() -> Counted:
    """Count both networks at full size, on tensors without storage."""
    config = GanConfig()
    with FakeTensorMode():
        networks = build_networks(config)
        picture = torch.empty(1, 3, config.model.size, config.model.size)
        G, D = networks["generator"], networks["discriminator"]
        return Counted(blocks_of(G, picture), blocks_of(D, picture, picture))


def blocks_of(network: nn.Module, *inputs: torch.Tensor) -> tuple[Block, ...]:
    """The blocks in the order of the forward pass, which is that of their registration."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(*inputs)
    flops = {name: sum(by.values()) for name, by in counter.get_flop_counts().items()}
    found: dict[str, list[int]] = {}
    for name, parameter in network.named_parameters():
        block = name.split(".")[0] if name.startswith("head") else ".".join(name.split(".")[:2])
        found.setdefault(block, []).extend([parameter.numel()] if parameter.requires_grad else [])
    return tuple(Block(flops[f"{type(network).__name__}.{name}"], tuple(sizes)) for name, sizes in found.items())


def ring(size: float, gpus: int, machine: Machine) -> float:
    """Seconds to add up `size` bytes over all GPUs in a ring."""
    if gpus == 1:
        return 0.0
    nodes = -(-gpus // machine.node)
    speed = machine.nvlink if nodes == 1 else min(machine.nvlink, machine.nics * machine.nic)
    steps, crossings = 2 * (gpus - 1), 2 * (nodes - 1)
    latency = machine.base + (steps - crossings) * machine.hop + crossings * machine.net_hop
    if nodes > 1 and size >= gpus / 16 * 65536:
        latency *= 1.9  # NCCL's correction for large messages over several nodes
    return latency + steps / gpus * size / (machine.achieved * speed * 1e9)


def backward(
    blocks: tuple[Block, ...], seconds: float, gpus: int, machine: Machine, width: int
) -> tuple[float, float, float]:
    """One network's backward pass: seconds until all is added up, of computing, of adding up.

    Args:
        seconds: that one operation an image takes, for a rank's images. width: bytes of a gradient's element.
    """
    now = free = adding = 0.0
    held, left = 0.0, sum(sum(block.parameters) for block in blocks) * width
    limit = float(FIRST)
    for number, block in reversed(list(enumerate(blocks))):
        now += (2 if number else 1) * block.forward * seconds
        for size in reversed(block.parameters):
            held, left = held + size * width, left - size * width
            if held >= limit or not left:
                cost = ring(held, gpus, machine)
                free, adding = max(free, now) + cost, adding + cost
                held, limit = 0.0, machine.bucket * 2**20
    return max(now, free), now, adding


def step(counted: Counted, images: int, gpus: int, machine: Machine, width: int = 4) -> dict[str, float]:
    """One step with `images` a GPU: seconds of computing, of adding up, and in all."""
    seconds = images / (machine.peak * 1e12 * machine.mfu)  # of one operation an image
    G, D = (sum(block.forward for block in blocks) for blocks in (counted.G, counted.D))
    g_all, g_alone, g_adding = backward(counted.G, seconds, gpus, machine, width)
    d_all, d_alone, d_adding = backward(counted.D, 2 * seconds, gpus, machine, width)
    forward = (G + 2 * D + 2 * D) * seconds  # G; D and back through it for G's loss; D on true and predicted MRIs
    alone, total = forward + g_alone + d_alone, forward + g_all + d_all
    return {
        "compute": alone,
        "reduce": g_adding + d_adding,
        "exposed": total - alone,
        "step": total,
        "efficiency": alone / total,
        "images_per_second": gpus * images / total,
    }


def table(counted: Counted, machine: Machine) -> list[dict[str, Any]]:
    """A row for each number of GPUs and images a GPU; gradients are fp32, `efficiency_bf16` is for two bytes each."""
    rows = []
    for gpus in GPUS:
        for images in IMAGES:
            row = step(counted, images, gpus, machine)
            each = row["images_per_second"] / max(gpus / machine.node, 1)
            rows.append({"gpus": gpus, "images": images, **row,
                         "efficiency_bf16": step(counted, images, gpus, machine, 2)["efficiency"],
                         "loader": each * PAIR})  # fmt: skip
    return rows


def figure(counted: Counted, machine: Machine) -> Figure:
    """Efficiency over GPUs, a panel for one network card a node and one for eight."""
    drawn = Figure(figsize=(8.4, 3.9), layout="constrained")
    for axes, nics in zip(drawn.subplots(1, 2, sharey=True), (1, 8), strict=True):
        assumed = dataclasses.replace(machine, nics=nics)
        for color, images in zip(MODELS, reversed(IMAGES), strict=False):
            for dash, width in ((DASHES[0], 4), (DASHES[1], 2)):
                values = [100 * step(counted, images, gpus, assumed, width)["efficiency"] for gpus in GPUS]
                label = f"{images} images a GPU" if width == 4 else None
                axes.plot(GPUS, values, color=color, linestyle=dash, marker="o", markersize=3, label=label)
        axes.plot([], [], color=MUTED, linestyle=DASHES[1], label="gradients in bf16")
        axes.axvline(machine.node, color=LINE, linewidth=1)
        axes.text(machine.node * 1.06, 2, "several nodes →", color=MUTED, fontsize=8)
        axes.set_xscale("log", base=2)
        axes.set_xticks(GPUS, [str(gpus) for gpus in GPUS])
        axes.set_ylim(0, 103)
        axes.grid(axis="y", color=LINE, linewidth=0.5)
        axes.set_title(f"{nics} × {8 * machine.nic:.0f} Gb/s a node")
        axes.set_xlabel("GPUs")
    drawn.axes[0].set_ylabel("efficiency, %")
    drawn.axes[0].legend(fontsize=8, loc="lower left", bbox_to_anchor=(0, 0.07))
    drawn.suptitle(f"A model, not a measurement: MRI-GAN on H100s at {100 * machine.mfu:.0f} % MFU", x=0.01, ha="left",
                   fontsize=11)  # fmt: skip
    return drawn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for field in dataclasses.fields(Machine):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=type(field.default), default=field.default)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--json", type=Path)
    options = vars(parser.parse_args())
    picture, out = options.pop("picture"), options.pop("json")
    machine, counted = Machine(**options), count()
    gradients = counted.gradients()
    print("A MODEL ON PAPER, NOT A MEASUREMENT")
    print(f"{counted.flops / 1e9:.1f} GFLOP an image; gradients (fp32): "
          + ", ".join(f"{name} {size / 1e6:.1f} MB" for name, size in gradients.items()))  # fmt: skip
    print(f"assumed: {json.dumps(dataclasses.asdict(machine))}")
    print(
        "GPUs  images/GPU  compute ms  all-reduce ms  not hidden ms  efficiency  with bf16  images/s  loader MB/s/node"
    )
    rows = table(counted, machine)
    for row in rows:
        print(f"{row['gpus']:4}  {row['images']:10}  {1e3 * row['compute']:10.2f}  {1e3 * row['reduce']:13.2f}  "
              f"{1e3 * row['exposed']:13.2f}  {100 * row['efficiency']:8.0f} %  {100 * row['efficiency_bf16']:7.0f} %  "
              f"{row['images_per_second']:8,.0f}  {row['loader'] / 1e6:16,.0f}")  # fmt: skip
    if picture:
        with atomic_write(picture) as file:
            file.write(draw(lambda: figure(counted, machine))[0])
    if out:
        write_json(out, {"machine": dataclasses.asdict(machine), "gflop": counted.flops / 1e9,
                         "gradients": gradients, "rows": rows})  # fmt: skip


if __name__ == "__main__":
    main()
