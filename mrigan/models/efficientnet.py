"""EfficientNet and EfficientNet-Lite for inference: timm's networks, without importing timm.

Importing timm and torchvision takes longer than judging a picture. So finished models of this family, which most models
are, are loaded into this definition. Layers and their names are the same, so that weights can be exchanged, and so are
the outputs (a test compares each network with timm's). Training and all other families use timm.

Tan and Le 2019 (EfficientNet). The Lite variants have no squeeze-and-excitation and no swish, and do not scale their
first and last stage. `tf_` marks weights from TensorFlow, with its padding and its epsilon of the norms. The tag
`.deepfakebench` marks weights from DeepfakeBench, which timm cannot run: the first convolution is not padded, and the
others are as TensorFlow pads them for a picture of the network's native size, whatever size the picture has.
"""

from __future__ import annotations

import math
import re

from torch import Tensor, nn
from torch.nn import functional as F

# Of each stage: kernel, stride, expansion, channels, blocks.
STAGES = ((3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3), (5, 1, 6, 112, 3), (5, 2, 6, 192, 4),
          (3, 1, 6, 320, 1))  # fmt: skip
SCALES = {  # factors of channels and of blocks
    "b0": (1.0, 1.0), "b1": (1.0, 1.1), "b2": (1.1, 1.2), "b3": (1.2, 1.4), "b4": (1.4, 1.8),
    "b5": (1.6, 2.2), "b6": (1.8, 2.6), "b7": (2.0, 3.1), "b8": (2.2, 3.6),
    "lite0": (1.0, 1.0), "lite1": (1.0, 1.1), "lite2": (1.1, 1.2), "lite3": (1.2, 1.4), "lite4": (1.4, 1.8),
}  # fmt: skip
NATIVE = {"b0": 224, "b1": 240, "b2": 260, "b3": 300, "b4": 380, "b5": 456, "b6": 528, "b7": 600, "b8": 672}  # px
DEEPFAKEBENCH = ".deepfakebench"
NAME = re.compile(r"(tf_)?efficientnet_(b[0-8]|lite[0-4])(\.\w+)?")
ENDS = (0, 1, 2, 4, 6)  # stages after which the size changes, or the features end
STEM, FEATURES, SQUEEZED, DIVISOR = 32, 1280, 0.25, 8


def is_defined(name: str) -> bool:
    """Whether this timm network, with or without its tag, is defined here."""
    return NAME.fullmatch(name) is not None


def scaled(channels: int, width: float) -> int:
    """Channels × width, rounded to a multiple of 8, but not down by more than 10 %."""
    exact = channels * width
    rounded = max(DIVISOR, int(exact + DIVISOR / 2) // DIVISOR * DIVISOR)
    return rounded + DIVISOR if rounded < 0.9 * exact else rounded


def depths(kind: str) -> list[int]:
    """The number of blocks of each stage of a full EfficientNet, such as `b4`."""
    return [math.ceil(stage[-1] * SCALES[kind][1]) for stage in STAGES]


class EfficientNet(nn.Module):
    """(N, 3, h, w) normalized pictures → (N, head_hidden_size) features, the mean over all places. For inference.

    Its weights are not initialized; load them.

    Args:
        name: a timm name that `is_defined`.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        match = NAME.fullmatch(name)
        assert match is not None, name
        tf, kind = bool(match[1]), match[2]
        self.width, depth = SCALES[kind]
        self.lite, self.same, self.eps = kind.startswith("lite"), tf, 1e-3 if tf else 1e-5
        self.fixed = NATIVE.get(kind, 0) if match[3] == DEEPFAKEBENCH else 0  # px, of what is padded for; 0 = the input
        channels = STEM if self.lite else self._scaled(STEM)
        self.head_hidden_size = FEATURES if self.lite else self._scaled(FEATURES)
        self.conv_stem = self._conv(3, channels, 3, 2)
        if self.fixed:
            self.conv_stem = _Conv2d(3, channels, 3, 2, bias=False)
        self.bn1 = self._norm(channels)
        stages = []
        self.feature_info: list[dict[str, int]] = []  # as timm's
        for number, (kernel, stride, expansion, out, blocks) in enumerate(STAGES):
            fixed = self.lite and number in (0, len(STAGES) - 1)
            stage = []
            for i in range(blocks if fixed else math.ceil(blocks * depth)):
                stage.append(_Block(self, (channels, self._scaled(out)), kernel, stride if i == 0 else 1, expansion))
                channels = self._scaled(out)
            stages.append(nn.Sequential(*stage))
            if number in ENDS:
                self.feature_info.append({"num_chs": channels, "reduction": 2 ** (len(self.feature_info) + 1)})
        self.blocks = nn.Sequential(*stages)
        self.conv_head = self._conv(channels, self.head_hidden_size, 1)
        self.bn2 = self._norm(self.head_hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.bn1(self.conv_stem(x)))
        return self.forward_head(self.bn2(self.conv_head(x)))

    def forward_intermediates(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The last features before pooling, and those of `feature_info`."""
        x = self.bn1(self.conv_stem(x))
        stages = []
        for number, stage in enumerate(self.blocks):
            x = stage(x)
            if number in ENDS:
                stages.append(x)
        return self.bn2(self.conv_head(x)), stages

    def forward_head(self, x: Tensor) -> Tensor:
        """The mean over all places."""
        return x.mean((2, 3))

    def _scaled(self, channels: int) -> int:
        return scaled(channels, self.width)

    def _conv(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
        if not self.same or stride == 1:
            return _Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        conv = _SameConv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)
        conv.fixed, self.fixed = self.fixed, math.ceil(self.fixed / stride)
        return conv

    def _norm(self, channels: int, act: bool = True) -> nn.BatchNorm2d:
        return _NormAct(channels, self.eps, self._act() if act else nn.Identity())

    def _act(self) -> nn.Module:
        return nn.ReLU6(inplace=True) if self.lite else nn.SiLU(inplace=True)


class _Conv2d(nn.Conv2d):
    """A convolution without initialized weights: drawing them would take as long as a verdict."""

    def reset_parameters(self) -> None:
        pass


class _SameConv2d(_Conv2d):
    """TensorFlow's padding: the output's size is the input's / stride, rounded up; an odd pixel is added at the end.

    Attributes:
        fixed: px of the input that is padded for, whatever the input's size; 0 = that of the input.
    """

    fixed = 0

    def forward(self, x: Tensor) -> Tensor:
        (up, down), (left, right) = (
            _same(self.fixed or size, kernel, stride)
            for size, kernel, stride in zip(x.shape[-2:], self.kernel_size, self.stride, strict=True)
        )
        return super().forward(F.pad(x, (left, right, up, down)))


def _same(size: int, kernel: int, stride: int) -> tuple[int, int]:
    total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class _NormAct(nn.BatchNorm2d):
    """A norm with the activation after it, as one module under the norm's name."""

    def __init__(self, channels: int, eps: float, act: nn.Module) -> None:
        super().__init__(channels, eps)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        return self.act(super().forward(x))


class _Block(nn.Module):
    """Expand, filter each channel, weight the channels, project; the first stage does not expand."""

    def __init__(self, net: EfficientNet, channels: tuple[int, int], kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inputs, outputs = channels
        middle = inputs * expansion
        self.skips = stride == 1 and inputs == outputs
        expands = expansion > 1
        self.order: tuple[str, ...] = ("conv_dw", "bn1", "se", "conv_pw", "bn2")
        if expands:
            self.order = ("conv_pw", "bn1", "conv_dw", "bn2", "se", "conv_pwl", "bn3")
            self.conv_pw, self.bn1 = net._conv(inputs, middle, 1), net._norm(middle)
        self.conv_dw = net._conv(middle, middle, kernel, stride, groups=middle)
        self.se = nn.Identity() if net.lite else _Squeeze(middle, round(middle * SQUEEZED / expansion))
        if expands:
            self.bn2 = net._norm(middle)
            self.conv_pwl, self.bn3 = net._conv(middle, outputs, 1), net._norm(outputs, act=False)
        else:
            self.bn1 = net._norm(middle)
            self.conv_pw, self.bn2 = net._conv(middle, outputs, 1), net._norm(outputs, act=False)

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for name in self.order:
            y = getattr(self, name)(y)
        return x + y if self.skips else y


class _Squeeze(nn.Module):
    """Squeeze-and-excitation: the weights of the channels are computed from their means."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.conv_reduce, self.conv_expand = _Conv2d(channels, squeezed, 1), _Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        weights = F.silu(self.conv_reduce(x.mean((2, 3), keepdim=True)))
        return x * self.conv_expand(weights).sigmoid()
