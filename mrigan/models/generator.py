"""The generator G of MRI-GAN (section 4.6): a U-net from a face to its MRI, 54,404,099 parameters at full size."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mrigan.errors import ConfigError
from mrigan.models.layers import Down, Up, depth_of, init_weights

FIRST_DROPOUT_LEVEL = 4  # dropout is on the down layers 4...8, and on the up layers to levels 7...4


class Generator(nn.Module):
    """Face → MRI, both (N, 3, size, size) in [-1, 1].

    Level i (1...log2(size)) has pictures of size / 2**i pixels and width * min(2**(i-1), 8) channels. At 256 px there
    are eight levels. The last is 1 x 1 and has no norm, because InstanceNorm of one pixel is not defined.

    Args:
        size: side of the square pictures in px, a power of two, at least 8.
        width: channels of the first level.
        dropout: its probability at level 4 and deeper; MRI-GAN's only source of noise (section 4.5).

    Raises:
        ConfigError: `size` is not a power of two, or `width` or `dropout` is out of range.
    """

    def __init__(self, size: int = 256, width: int = 64, dropout: float = 0.5) -> None:
        super().__init__()
        self.size, self.width, self.dropout = size, width, dropout
        depth = depth_of(size)
        if width < 1 or not 0 <= dropout < 1:
            raise ConfigError(
                f"a generator cannot have width={width} and dropout={dropout}", fix="width >= 1, 0 <= dropout < 1"
            )
        channels = [3] + [width * min(2**i, 8) for i in range(depth)]  # per level; level 0 is the picture
        drop = [dropout if level >= FIRST_DROPOUT_LEVEL else 0.0 for level in range(depth + 1)]
        self.down = nn.ModuleList(
            Down(channels[i - 1], channels[i], norm=1 < i < depth, dropout=drop[i]) for i in range(1, depth + 1)
        )
        self.up = nn.ModuleList(  # to level depth - 1, ..., 1; all but the first have a skip connection
            Up(channels[i + 1] * (1 if i == depth - 1 else 2), channels[i], dropout=drop[i])
            for i in range(depth - 1, 0, -1)
        )
        self.head = Head(2 * channels[1])
        init_weights(self)

    def forward(self, face: Tensor) -> Tensor:
        """The MRI of `face`, (N, 3, size, size) in [-1, 1]."""
        if face.shape[1:] != (3, self.size, self.size):
            raise ConfigError(
                f"a generator of size {self.size} cannot process pictures of shape {tuple(face.shape)}",
                fix=f"give (N, 3, {self.size}, {self.size})",
            )
        skips: list[Tensor] = []
        x = face
        for down in self.down:
            x = down(x)
            skips.append(x)
        skips.pop()
        for up in self.up:
            x = torch.cat([up(x), skips.pop()], dim=1)
        return self.head(x)


# For even and odd pixels of the doubled picture: which taps of a 4-wide filter apply to which of three source pixels.
# After doubling and padding by one (and by the convolution's one), pixel 2i covers the sources i-1, i-1, i, i, and
# pixel 2i+1 covers i-1, i, i, i+1.
TAPS = (((1, 1, 0, 0), (0, 0, 1, 1), (0, 0, 0, 0)), ((1, 0, 0, 0), (0, 1, 1, 0), (0, 0, 0, 1)))


class Head(nn.Module):
    """Nearest x2, zero-pad (left 1, top 1), convolution 4 x 4, tanh.

    Doubling repeats pixels, so the convolution would multiply the same number up to four times. Instead its taps are
    summed first: a 3 x 3 convolution of the small picture for each of the four pixels of a doubled one. That takes 56 %
    of the multiplications and a quarter of the memory; the result is equal except for rounding.
    """

    taps: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 3, 4, padding=1)
        self.register_buffer("taps", torch.tensor(TAPS, dtype=torch.float32, device="cpu"), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):  # the sums in float32
            weight = torch.einsum("pau,qbv,oiuv->opqiab", self.taps, self.taps, self.conv.weight).flatten(0, 2)
        bias = None if self.conv.bias is None else self.conv.bias.repeat_interleave(4)
        return torch.tanh(F.pixel_shuffle(F.conv2d(x, weight, bias, padding=1), 2))
