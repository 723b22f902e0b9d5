"""One step of MRI-GAN: who gets a gradient, and what the plain textbook loop would have done."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from mrigan.config import EngineConfig, GanConfig, GanLossConfig, GanModelConfig
from mrigan.data import Batch
from mrigan.engine.ddp import DdpEngine
from mrigan.engine.distributed import World
from mrigan.engine.precision import Precision
from mrigan.models import Discriminator, Generator
from mrigan.training.gan import gan_step, to_network
from tests.training.runs import gan_engines

CPU = torch.device("cpu")
IDLE = [f"down.{level}.conv.bias" for level in (1, 2, 3)]  # in front of an InstanceNorm, which takes them out again
ALONE = World(0, 1, 0, CPU)


def config(**engine: Any) -> GanConfig:
    model = GanModelConfig(size=32, width=4, dropout=0.0)
    return GanConfig(model=model, loss=GanLossConfig(), engine=EngineConfig(**engine))


def batch(seed: int, count: int = 3, size: int = 32) -> Batch:
    draw = torch.Generator().manual_seed(seed)
    face, mri = (torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=draw) for _ in range(2))
    zeros = torch.zeros(count, dtype=torch.int64)
    return Batch(face, mri, torch.ones(count), zeros, zeros, zeros, seed)


def step(engines: dict[str, Any], data: Batch, settings: GanConfig, precision: str = "fp32") -> dict[str, torch.Tensor]:
    result = gan_step(
        engines["generator"],
        engines["discriminator"],
        data,
        config=settings,
        precision=Precision(precision, CPU),
        world=ALONE,
    )
    return dict(result.losses)


class Watched(DdpEngine):
    """Notes which parameters have a gradient whenever it is asked to step."""

    others: nn.Module
    seen: list[tuple[bool, bool]]

    def step(self) -> None:
        own = all(p.grad is not None and p.grad.abs().sum() > 0 for p in self.trained.values())
        self.seen.append((own, any(p.grad is not None for p in self.others.parameters())))
        super().step()


def test_each_step_leaves_gradients_in_its_own_network_only() -> None:
    settings = config()
    torch.manual_seed(0)
    more = settings.optim, settings.engine, ALONE, Precision("fp32", CPU)
    G = Watched(Generator(32, 4, 0.0), *more)
    D = Watched(Discriminator(4), *more)
    G.others, D.others, G.seen, D.seen = D.module, G.module, [], []
    step({"generator": G, "discriminator": D}, batch(1), settings)
    assert G.seen == [(True, False)]
    assert D.seen == [(True, False)]


def plain_step(G: nn.Module, D: nn.Module, optimizers: tuple[Any, Any], data: Batch) -> None:
    """The usual implementation: D unfrozen in G's step, two forwards of D, plain Adam; losses written out."""
    from mrigan.losses import perceptual

    assert data.mri is not None
    face, mri = data.face.float() / 127.5 - 1, data.mri.float() / 127.5 - 1
    fake = G(face)
    adversarial = (D(fake, face) - 1).square().mean()
    total = adversarial + 100 * (0.3 * (fake - mri).square().mean() + 0.7 * perceptual(fake, mri))
    optimizers[0].zero_grad()
    total.backward()
    optimizers[0].step()
    optimizers[1].zero_grad()
    real_loss = (D(mri, face) - 1).square().mean()
    fake_loss = D(fake.detach(), face).square().mean()
    (0.5 * (real_loss + fake_loss)).backward()
    optimizers[1].step()


@pytest.mark.parametrize("channels_last", [False, True])
def test_steps_equal_the_plain_loop(channels_last: bool) -> None:
    settings = config(channels_last=channels_last)
    engines = gan_engines(settings, ALONE)
    networks = Generator(32, 4, 0.0), Discriminator(4)
    for network, engine in zip(networks, engines.values(), strict=True):
        network.load_state_dict(engine.module.state_dict())
    adam = {"lr": 2e-4, "betas": (0.5, 0.999), "foreach": False, "fused": False}
    optimizers = tuple(torch.optim.Adam(network.parameters(), **adam) for network in networks)
    for number in range(4):
        step(engines, batch(number), settings)
        plain_step(*networks, optimizers, batch(number))
    for network, engine in zip(networks, engines.values(), strict=True):
        for name, value in network.state_dict().items():
            ours = engine.module.state_dict()[name]
            if name in IDLE:
                assert not ours.any()  # in the plain loop they wander, without any effect on the output
            else:
                torch.testing.assert_close(ours, value, rtol=1e-3, atol=2e-6, msg=name)


def test_a_black_mri_predicted_black_keeps_all_weights_finite() -> None:
    """The commonest sample of all; the root of 1 - SSIM has an infinite slope there."""
    settings = config()
    engines = gan_engines(settings, ALONE)
    with torch.no_grad():
        engines["generator"].module.head.conv.weight.zero_()
        engines["generator"].module.head.conv.bias.fill_(-20.0)  # tanh gives -1 exactly
    data = batch(1)
    assert data.mri is not None
    data.mri.zero_()
    losses = step(engines, data, settings)
    assert losses["pixel"] == 0
    for engine in engines.values():
        assert all(p.isfinite().all() for p in engine.module.parameters())


def test_bf16_computes_in_bf16_and_keeps_weights_and_losses_in_fp32() -> None:
    settings = config()
    ran, engines = [], gan_engines(settings, ALONE)
    for engine in engines.values():
        first = next(m for m in engine.module.modules() if isinstance(m, nn.Conv2d))
        first.register_forward_hook(lambda module, inputs, output: ran.append(output.dtype))
    losses = step(engines, batch(1), settings, "bf16")
    assert set(ran) == {torch.bfloat16}
    assert {value.dtype for value in losses.values()} == {torch.float32}
    for engine in engines.values():
        assert {t.dtype for part in engine.state_dict() for t in part.values()} == {torch.float32}


def test_recipes_differ_where_they_say() -> None:
    totals = []
    for loss in (
        GanLossConfig(),
        GanLossConfig(adversarial="log"),
        GanLossConfig(per_root="batch"),
        GanLossConfig(pixel="l1"),
    ):
        settings = config()
        settings.loss = loss
        totals.append(float(step(gan_engines(settings, ALONE), batch(1), settings)["generator"]))
    assert len(set(totals)) == 4


def test_pictures_reach_the_network_in_its_range() -> None:
    picture = torch.tensor([0, 255], dtype=torch.uint8).view(1, 1, 1, 2).expand(1, 3, 2, 2)
    assert to_network(picture).unique().tolist() == [-1.0, 1.0]
    assert to_network(picture, channels_last=True).is_contiguous(memory_format=torch.channels_last)
