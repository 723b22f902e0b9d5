"""MTCNN's three networks with the weights that the package facenet-pytorch ships.

The package itself is not imported: with torchvision, which it needs for other things, it would take longer to load
than a verdict on a picture takes. The tests hold these networks against the package's.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn

from mrigan.errors import ConfigError

PACKAGE = "facenet_pytorch"


class PNet(nn.Module):
    """What proposes candidates: looks at 12 × 12 px. `mrigan.video.mtcnn` knows how the layers follow each other."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 10, 3), nn.PReLU(10)
        self.conv2, self.prelu2 = nn.Conv2d(10, 16, 3), nn.PReLU(16)
        self.conv3, self.prelu3 = nn.Conv2d(16, 32, 3), nn.PReLU(32)
        self.conv4_1, self.conv4_2 = nn.Conv2d(32, 2, 1), nn.Conv2d(32, 4, 1)


class RNet(nn.Module):
    """What refines candidates: looks at 24 × 24 px."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 28, 3), nn.PReLU(28)
        self.conv2, self.prelu2 = nn.Conv2d(28, 48, 3), nn.PReLU(48)
        self.conv3, self.prelu3 = nn.Conv2d(48, 64, 2), nn.PReLU(64)
        self.dense4, self.prelu4 = nn.Linear(576, 128), nn.PReLU(128)
        self.dense5_1, self.dense5_2 = nn.Linear(128, 2), nn.Linear(128, 4)


class ONet(nn.Module):
    """What gives boxes and points: looks at 48 × 48 px."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 32, 3), nn.PReLU(32)
        self.conv2, self.prelu2 = nn.Conv2d(32, 64, 3), nn.PReLU(64)
        self.conv3, self.prelu3 = nn.Conv2d(64, 64, 3), nn.PReLU(64)
        self.conv4, self.prelu4 = nn.Conv2d(64, 128, 2), nn.PReLU(128)
        self.dense5, self.prelu5 = nn.Linear(1152, 256), nn.PReLU(256)
        self.dense6_1, self.dense6_2, self.dense6_3 = nn.Linear(256, 2), nn.Linear(256, 4), nn.Linear(256, 10)


def load_networks(device: str = "cpu") -> tuple[PNet, RNet, ONet]:
    """The three networks with their weights, in eval mode, on `device`.

    Raises:
        ConfigError: facenet-pytorch is not installed.
    """
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError("the weights of the face detector are missing", fix="pip install facenet-pytorch")
    data = Path(spec.submodule_search_locations[0]) / "data"
    nets = PNet(), RNet(), ONet()
    for net, name in zip(nets, ("pnet", "rnet", "onet"), strict=True):
        net.load_state_dict(torch.load(data / f"{name}.pt", map_location="cpu", weights_only=True))
        net.eval().to(device)
    return nets
