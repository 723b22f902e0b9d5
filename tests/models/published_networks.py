"""Other people's networks, written from their descriptions for the tests alone, with the names of their weights."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.models.test_efficientnet import random_norms

# Tan and Le 2019, table 1, as the code of the paper has it: repeats, kernel, stride, expansion, in, out.
STAGES = [(1, 3, 1, 1, 32, 16), (2, 3, 2, 6, 16, 24), (2, 5, 2, 6, 24, 40), (3, 3, 2, 6, 40, 80), (3, 5, 1, 6, 80, 112),
          (4, 5, 2, 6, 112, 192), (1, 3, 1, 6, 192, 320)]  # fmt: skip
WIDTH_DEPTH_SIDE = {"b0": (1.0, 1.0, 224), "b2": (1.1, 1.2, 260), "b4": (1.4, 1.8, 380)}


class StaticConv(nn.Conv2d):
    """Padded as TensorFlow does for a picture of `side` px, whatever comes."""

    def __init__(self, into: int, out: int, kernel: int, side: int, *, stride: int = 1, groups: int = 1,
                 bias: bool = False) -> None:  # fmt: skip
        super().__init__(into, out, kernel, stride, groups=groups, bias=bias)
        missing = max((math.ceil(side / stride) - 1) * stride + kernel - side, 0)
        self.edges = (missing // 2, missing - missing // 2) * 2

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, self.edges))


class MBConv(nn.Module):
    def __init__(self, kernel: int, stride: int, expansion: int, *, into: int, out: int, side: int) -> None:
        super().__init__()
        wide = into * expansion
        if expansion != 1:
            self._expand_conv, self._bn0 = StaticConv(into, wide, 1, side), nn.BatchNorm2d(wide, 1e-3)
        self._depthwise_conv = StaticConv(wide, wide, kernel, side, stride=stride, groups=wide)
        self._bn1 = nn.BatchNorm2d(wide, 1e-3)
        self._se_reduce = StaticConv(wide, max(1, into // 4), 1, 1, bias=True)
        self._se_expand = StaticConv(max(1, into // 4), wide, 1, 1, bias=True)
        self._project_conv, self._bn2 = StaticConv(wide, out, 1, math.ceil(side / stride)), nn.BatchNorm2d(out, 1e-3)
        self.expands, self.skips = expansion != 1, stride == 1 and into == out

    def forward(self, inputs: Tensor) -> Tensor:
        x = F.silu(self._bn0(self._expand_conv(inputs))) if self.expands else inputs
        x = F.silu(self._bn1(self._depthwise_conv(x)))
        weights = F.silu(self._se_reduce(F.adaptive_avg_pool2d(x, 1)))
        x = self._bn2(self._project_conv(x * self._se_expand(weights).sigmoid()))
        return x + inputs if self.skips else x


class EfficientNetPytorch(nn.Module):
    """The package efficientnet_pytorch 0.7.1, `EfficientNet.from_pretrained`."""

    def __init__(self, kind: str, outputs: int = 2, side: int = 0) -> None:
        super().__init__()
        width, depth, native = WIDTH_DEPTH_SIDE[kind]
        side = side or native

        def channels(n: int) -> int:
            rounded = max(8, int(n * width + 4) // 8 * 8)
            return rounded + 8 if rounded < 0.9 * n * width else rounded

        self._conv_stem = StaticConv(3, channels(32), 3, side, stride=2)
        self._bn0 = nn.BatchNorm2d(channels(32), 1e-3)
        side = math.ceil(side / 2)
        self._blocks = nn.ModuleList()
        for repeats, kernel, stride, expansion, into, out in STAGES:
            self._blocks.append(MBConv(kernel, stride, expansion, into=channels(into), out=channels(out), side=side))
            side = math.ceil(side / stride)
            for _ in range(math.ceil(repeats * depth) - 1):
                self._blocks.append(MBConv(kernel, 1, expansion, into=channels(out), out=channels(out), side=side))
        self._conv_head = StaticConv(channels(320), channels(1280), 1, side)
        self._bn1 = nn.BatchNorm2d(channels(1280), 1e-3)
        self._fc = nn.Linear(channels(1280), outputs) if outputs else nn.Identity()

    def features(self, x: Tensor) -> Tensor:
        x = F.silu(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        return F.silu(self._bn1(self._conv_head(x)))

    def forward(self, x: Tensor) -> Tensor:
        return self._fc(self.features(x).mean((2, 3)))


class SelfBlended(nn.Module):
    """The detector of self-blended images."""

    def __init__(self, kind: str, side: int = 380) -> None:
        super().__init__()
        self.net = EfficientNetPytorch(kind, side=side)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class BenchEfficientNet(nn.Module):
    """DeepfakeBench's backbone: a first convolution of its own, a last layer of its own."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.efficientnet = EfficientNetPytorch(kind, outputs=0)
        stem = self.efficientnet._conv_stem
        self.efficientnet._conv_stem = nn.Conv2d(3, stem.out_channels, 3, 2, bias=False)  # type: ignore[assignment]
        self.last_layer = nn.Linear(self.efficientnet._conv_head.out_channels, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last_layer(self.efficientnet.features(x).mean((2, 3)))


class Separable(nn.Module):
    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(into, into, 3, 1, 1, groups=into, bias=False)
        self.pointwise = nn.Conv2d(into, out, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise(self.conv1(x))


class XceptionBlock(nn.Module):
    """`rep` is ReLU, separable convolution, norm, …: the first ReLU is left out of block 1."""

    def __init__(self, into: int, out: int, reps: int, stride: int, *, relu: bool = True, first: bool = True) -> None:
        super().__init__()
        steps = [(into, out), *[(out, out)] * (reps - 1)] if first else [*[(into, into)] * (reps - 1), (into, out)]
        rep: list[nn.Module] = []
        for a, b in steps:
            rep += [nn.ReLU(), Separable(a, b), nn.BatchNorm2d(b)]
        rep = rep if relu else rep[1:]
        self.rep = nn.Sequential(*rep, *([nn.MaxPool2d(3, stride, 1)] if stride != 1 else []))
        self.changes = into != out or stride != 1
        if self.changes:
            self.skip, self.skipbn = nn.Conv2d(into, out, 1, stride, bias=False), nn.BatchNorm2d(out)

    def forward(self, x: Tensor) -> Tensor:
        return self.rep(x) + (self.skipbn(self.skip(x)) if self.changes else x)


class BenchXception(nn.Module):
    """DeepfakeBench's Xception, with the unused module that its files have."""

    def __init__(self, dropout: bool = False) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 32, 3, 2, 0, bias=False), nn.BatchNorm2d(32)
        self.conv2, self.bn2 = nn.Conv2d(32, 64, 3, bias=False), nn.BatchNorm2d(64)
        self.block1 = XceptionBlock(64, 128, 2, 2, relu=False)
        self.block2, self.block3 = XceptionBlock(128, 256, 2, 2), XceptionBlock(256, 728, 2, 2)
        for number in range(4, 12):
            self.add_module(f"block{number}", XceptionBlock(728, 728, 3, 1))
        self.block12 = XceptionBlock(728, 1024, 2, 2, first=False)
        self.conv3, self.bn3 = Separable(1024, 1536), nn.BatchNorm2d(1536)
        self.conv4, self.bn4 = Separable(1536, 2048), nn.BatchNorm2d(2048)
        last = nn.Linear(2048, 2)
        self.last_linear = nn.Sequential(nn.Dropout(0.5), last) if dropout else last
        self.adjust_channel = nn.Sequential(nn.Conv2d(2048, 512, 1), nn.BatchNorm2d(512), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        for number in range(1, 13):
            x = getattr(self, f"block{number}")(x)
        x = F.relu(self.bn3(self.conv3(x)))
        return self.last_linear(F.relu(self.bn4(self.conv4(x))).mean((2, 3)))


class Bench(nn.Module):
    """A detector of DeepfakeBench; fake is the second of two outputs."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, x: Tensor) -> Tensor:
        return self.backbone((x - 0.5) / 0.5)


class Timm(nn.Module):
    """`encoder`, one of timm's with its classifier, which is not used; then `heads`."""

    def __init__(self, name: str, heads: dict[str, nn.Module]) -> None:
        super().__init__()
        self.encoder = timm.create_model(name)
        for head, module in heads.items():
            self.add_module(head, module)
        self.heads = list(heads)

    def forward(self, x: Tensor) -> Tensor:
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        x = self.encoder.forward_features((x - mean) / std).mean((2, 3))
        for head in self.heads:
            x = getattr(self, head)(x)
        return x[:, 0]


def winner(seed: int, kind: str = "b0", features: int = 1280) -> Timm:
    torch.manual_seed(seed)
    return seeded(Timm(f"tf_efficientnet_{kind}", {"dropout": nn.Dropout(0.0), "fc": nn.Linear(features, 1)}), seed)


def authors(seed: int = 0) -> Timm:
    torch.manual_seed(seed)
    head = nn.Sequential(nn.Linear(1280, 128), nn.Dropout(0.5), nn.ReLU(), nn.Linear(128, 1))
    return seeded(Timm("tf_efficientnet_b0", {"classifier": head}), seed)


def smooth(size: int, count: int = 2) -> Tensor:
    """Pictures (N, 3, size, size) uint8 without noise, in which each layer of a network has something to see."""
    small = torch.rand(count, 3, 9, 9, generator=torch.Generator().manual_seed(5))
    return (F.interpolate(small, (size, size), mode="bilinear") * 255).to(torch.uint8)


@torch.no_grad()
def seeded(network: Any, seed: int = 0) -> Any:
    """With seeded weights and norms that fit them, so that two pictures have different logits near 0; in eval mode."""
    random_norms(network)
    draw = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.weight.normal_(0, (1 / module.weight[0].numel()) ** 0.5, generator=draw)
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    network.train()
    network(smooth(160, 6) / 255)
    return network.eval()


def save_winner(path: Path, network: Timm) -> Path:
    """As the winner's training saved it in 2020: DataParallel, the format before zip, a loss of NumPy 1."""
    import numpy as np

    state = {f"module.{name}": tensor for name, tensor in network.state_dict().items()}
    content = {"epoch": 37, "state_dict": state, "bce_best": np.float64(0.13)}
    torch.save(content, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"))
    return path


def save_sbi(path: Path, network: SelfBlended) -> Path:
    optimizer = torch.optim.SGD(network.parameters(), 1e-3, momentum=0.9)
    torch.save({"model": network.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 99}, path)
    return path


def save_authors(path: Path, network: Timm) -> Path:
    content = {"epoch": 19, "model_class_name": "DeepFakeDetectModel", "model_params": {"imsize": 224},
               "criterion": "BCEWithLogitsLoss", "log_dir": "logs", "model_state_dict": network.state_dict(),
               "optimizer_state_dict": torch.optim.Adam(network.parameters()).state_dict(), "amp": None}  # fmt: skip
    torch.save(content, path)
    return path
