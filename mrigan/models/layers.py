"""The two layers of G and D, and their initial weights."""

from __future__ import annotations

from torch import Tensor, nn

from mrigan.errors import ConfigError

INIT_STD = 0.02  # N(0, 0.02), as in Pix2Pix


def depth_of(size: int) -> int:
    """log2(size): the number of halvings from `size` px to one pixel."""
    if size < 8 or size & (size - 1):
        raise ConfigError(
            f"pictures of {size} px cannot be halved down to one pixel",
            where="model.size",
            fix="a power of two, at least 8",
        )
    return size.bit_length() - 1


class Down(nn.Module):
    """Halve: convolution 4 x 4 of stride 2, InstanceNorm without affine, LeakyReLU 0.2, dropout."""

    def __init__(self, into: int, out: int, *, norm: bool, dropout: float = 0.0, bias: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(into, out, 4, stride=2, padding=1, bias=bias)
        self.norm = nn.InstanceNorm2d(out) if norm else nn.Identity()
        self.act = nn.LeakyReLU(0.2)
        self.drop = nn.Dropout(dropout) if dropout else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self.act(self.norm(self.conv(x))))


class Up(nn.Module):
    """Double: transposed convolution 4 x 4 of stride 2, InstanceNorm without affine, ReLU, dropout."""

    def __init__(self, into: int, out: int, *, dropout: float) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(into, out, 4, stride=2, padding=1, bias=False)
        self.norm = nn.InstanceNorm2d(out)
        self.act = nn.ReLU()
        self.drop = nn.Dropout(dropout) if dropout else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self.act(self.norm(self.conv(x))))


def init_weights(network: nn.Module) -> None:
    """Draw every convolution's weights from N(0, 0.02), and set its bias to 0; skips the meta device."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and not module.weight.is_meta:
            nn.init.normal_(module.weight, 0.0, INIT_STD)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
