"""The full-size GAN step of `mrigan train gan` against a plain one: python benchmarks/train_step.py [BATCH] [STEPS]

The plain step does what the method says in the obvious way: G's head doubles the picture before it convolves, D is not
frozen in G's step, real and fake go through D one after the other, Adam and the memory layout are the defaults, SSIM is
pytorch-msssim's, and the losses are read with `.item()` every step. Both start from the same weights; that they
compute the same losses is checked first. The steps take turns, so that what else the machine does hits all alike.
Pictures are random, loading is not counted.

On a GPU also the matrix of precision, compilation, layout and batch size, and the share of the peak (MFU) by 65.5 GFLOP
an image. Pin the processor threads with OMP_NUM_THREADS; figures are images a second and images a CPU-second.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import time
from collections.abc import Callable

import torch
from pytorch_msssim import ssim
from torch import Tensor, nn

from mrigan.config import GanConfig
from mrigan.data import Batch
from mrigan.engine.build import build_engine
from mrigan.engine.distributed import World
from mrigan.engine.precision import Precision
from mrigan.engine.seeding import deterministic
from mrigan.models.generator import Head
from mrigan.training.flops import peak_flops
from mrigan.training.gan import build_networks, gan_step
from mrigan.training.task import StepResult

Speed = tuple[float, float]
Variants = dict[str, Callable[[], object]]
GFLOP = 65.5  # an image, one step of G and D with D frozen in G's, and G's head as the method has it


class PlainHead(nn.Module):
    """What `Head` computes, step by step."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.grow, self.pad, self.conv = nn.Upsample(scale_factor=2), nn.ZeroPad2d((1, 0, 1, 0)), head.conv

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.conv(self.pad(self.grow(x))))


def plain_step(G: nn.Module, D: nn.Module, batch: Batch) -> Callable[[], tuple[float, float]]:
    """The obvious step, as a function that does one."""
    optimizer_G = torch.optim.Adam(G.parameters(), lr=2e-4, betas=(0.5, 0.999))
    optimizer_D = torch.optim.Adam(D.parameters(), lr=2e-4, betas=(0.5, 0.999))
    mse = nn.MSELoss()

    def step() -> tuple[float, float]:
        assert batch.mri is not None
        face, mri = (picture.float() / 127.5 - 1 for picture in (batch.face, batch.mri))
        optimizer_G.zero_grad()
        predicted = G(face)
        logits = D(predicted, face)
        index = ssim(
            (predicted + 1) * 127.5, (mri + 1) * 127.5, data_range=255, size_average=False, nonnegative_ssim=True
        )
        perceptual = torch.sqrt(1 - index + 1e-8).mean()
        loss_G = mse(logits, torch.ones_like(logits)) + 100 * (0.3 * mse(predicted, mri) + 0.7 * perceptual)
        loss_G.backward()
        optimizer_G.step()
        optimizer_D.zero_grad()
        real, fake = D(mri, face), D(predicted.detach(), face)
        loss_D = (mse(real, torch.ones_like(real)) + mse(fake, torch.zeros_like(fake))) / 2
        loss_D.backward()
        optimizer_D.step()
        return loss_G.item(), loss_D.item()

    return step


def our_step(
    config: GanConfig, batch: Batch, device: torch.device, precision: str
) -> tuple[Callable[[], StepResult], dict]:
    """Our step as a function that does one, and its engines."""
    world, settings = World(0, 1, 0, device), Precision(precision, device)
    engines = {
        name: build_engine(network, config.optim, config.engine, world, settings)
        for name, network in build_networks(config).items()
    }
    G, D = engines["generator"], engines["discriminator"]
    return lambda: gan_step(G, D, batch, config=config, precision=settings, world=world), engines


def random_batch(size: int, device: torch.device) -> Batch:
    faces, mris = torch.randint(0, 256, (2, size, 3, 256, 256), dtype=torch.uint8, device=device)
    ids = torch.arange(size)
    return Batch(faces, mris, torch.zeros(size), ids, torch.zeros_like(ids), ids, 0)


def timed(
    variants: dict[str, Callable[[], object]], rounds: int, images: int, device: torch.device
) -> dict[str, Speed]:
    """(Images a second, images a CPU-second) of each variant; they take turns, after two steps each to warm up."""
    spent = dict.fromkeys(variants, (0.0, 0.0))
    for turn in range(-2, rounds):
        for name, step in variants.items():
            wait(device)
            wall, cpu = time.perf_counter(), time.process_time()
            step()
            wait(device)
            if turn >= 0:
                before = spent[name]
                spent[name] = (before[0] + time.perf_counter() - wall, before[1] + time.process_time() - cpu)
    return {name: (rounds * images / wall, rounds * images / cpu) for name, (wall, cpu) in spent.items()}


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def same_losses(device: torch.device) -> None:
    """Both steps from the same weights, without dropout: their losses agree."""
    config, batch = GanConfig(), random_batch(2, device)
    config.model.dropout = 0.0
    ours, engines = our_step(config, batch, device, "fp32")
    G, D = (copy.deepcopy(engines[name].module) for name in ("generator", "discriminator"))
    G.head = PlainHead(G.head)
    theirs, mine = plain_step(G, D, batch)(), ours()
    for name, expected in zip(("generator", "discriminator"), theirs, strict=True):
        loss = float(mine.losses[name])
        assert abs(loss - expected) < 1e-3 * abs(expected), (name, loss, expected)
    print(f"same weights, same losses: G {theirs[0]:.4f}, D {theirs[1]:.4f}")


def main(images: int, steps: int) -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"{torch.get_num_threads()} CPU threads"
    print(f"full-size GAN step on {name}, torch {torch.__version__}, batch {images}, {steps} steps")
    same_losses(device)
    batch = random_batch(images, device)
    _, engines = our_step(GanConfig(), batch, device, "fp32")
    G, D = engines["generator"].module, engines["discriminator"].module
    G.head = PlainHead(G.head)
    variants: Variants = {"plain, fp32": plain_step(G, D, batch)}
    for precision, channels_last in itertools.product(("fp32", "bf16"), (False, True)):
        config = GanConfig()
        config.engine.channels_last = channels_last
        layout = "channels last" if channels_last else "contiguous"
        variants[f"ours, {precision}, {layout}"] = our_step(config, batch, device, precision)[0]
    speeds = timed(variants, steps, images, device)
    by = 0 if device.type == "cuda" else 1  # seconds on a GPU, CPU-seconds on a processor that others may use
    plain = speeds["plain, fp32"]
    for name, speed in speeds.items():
        ratio = f"{speed[by] / plain[by]:5.2f} x plain"
        print(f"  {name:27}{speed[0]:8.2f} images/s {speed[1]:8.2f} images/CPU-second  {ratio}")
    if device.type == "cuda":
        matrix(device, steps)


def matrix(device: torch.device, steps: int) -> None:
    """Images a second and MFU of {fp32, tf32, bf16} x {eager, compile} x {NCHW, channels last} x batch."""
    peak = peak_flops(torch.cuda.get_device_name(), "bf16", tf32=False)
    options = itertools.product(("fp32", "tf32", "bf16"), (False, True), (False, True), (32, 64, 128))
    for precision, compiled, channels_last, images in options:
        config = GanConfig()
        config.engine.channels_last, config.engine.compile = channels_last, compiled
        step, _ = our_step(config, random_batch(images, device), device, "bf16" if precision == "bf16" else "fp32")
        with deterministic(device, tf32=precision == "tf32"):
            speed, _ = timed({"": step}, steps, images, device)[""]
        mfu = f"{100 * speed * GFLOP * 1e9 / peak:5.1f} % of the bf16 peak" if peak else ""
        print(f"  {precision} {'compiled' if compiled else 'eager':8} {'NHWC' if channels_last else 'NCHW'} "
              f"batch {images:3}: {speed:8.0f} images/s  {mfu}", flush=True)  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("batch", nargs="?", type=int, default=4)
    parser.add_argument("steps", nargs="?", type=int, default=3)
    given = parser.parse_args()
    main(given.batch, given.steps)
