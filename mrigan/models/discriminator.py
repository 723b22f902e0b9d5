"""The discriminator D of MRI-GAN (section 4.6): a PatchGAN, 2,767,808 parameters at full size."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mrigan.errors import ConfigError
from mrigan.models.layers import Down, init_weights

MIN_SIZE = 32  # px; four halvings leave 2 x 2, and InstanceNorm needs more than one pixel


class Discriminator(nn.Module):
    """(MRI, face) → a logit per patch, (N, 1, H / 16, W / 16); high where the MRI looks like the true one of the face.

    Args:
        width: channels of the first layer; the following have 2, 4 and 8 times as many.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.width = width
        channels = [6, width, 2 * width, 4 * width, 8 * width]
        self.down = nn.ModuleList(Down(channels[i], channels[i + 1], norm=i > 0, bias=True) for i in range(4))
        self.pad = nn.ZeroPad2d((1, 0, 1, 0))
        self.head = nn.Conv2d(channels[4], 1, 4, padding=1, bias=False)
        init_weights(self)

    def forward(self, mri: Tensor, face: Tensor) -> Tensor:
        """Logits of the patches; `mri` and `face` are (N, 3, H, W) in [-1, 1], H and W at least 32, multiples of 16.

        Raises:
            ConfigError: the pictures are too small.
        """
        if min(mri.shape[-2:]) < MIN_SIZE:
            raise ConfigError(
                f"the discriminator cannot process pictures of shape {tuple(mri.shape)}",
                fix=f"model.size must be at least {MIN_SIZE}",
            )
        x = torch.cat([mri, face], dim=1)
        for down in self.down:
            x = down(x)
        return self.head(self.pad(x))
