"""Models of a tiny random backbone that always say fake, or always real; clips of a portrait in the public domain."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from skimage import data

from mrigan.config import FacesConfig, to_dict
from mrigan.models import Detector, Generator, save_bundle
from tests.clips import write_clip

THRESHOLDS = {"frame": 0.7, "fraction": 0.3}
SEARCHED = {"source": "searched on 8 val videos", "tpr": 0.75, "tnr": 0.5}


@pytest.fixture(scope="session")
def portrait() -> np.ndarray:
    return data.astronaut()[:256, 96:352]


def moving(image: np.ndarray, frames: int) -> Iterator[np.ndarray]:
    h, w = image.shape[:2]
    for i in range(frames):
        shift = np.array([[1, 0, i / 3], [0, 1, 2 * np.sin(i / 5)]], np.float32)
        yield cv2.warpAffine(image, shift, (w, h), borderMode=cv2.BORDER_REFLECT)


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory, portrait: np.ndarray) -> Path:
    """one.mp4 (5 sampled frames), two.mp4 (two people), noface.mp4, short.mp4 (1 sampled frame), face.png."""
    folder = tmp_path_factory.mktemp("clips")
    write_clip(folder / "one.mp4", moving(portrait, 48), movflags="faststart")
    write_clip(folder / "two.mp4", moving(np.concatenate([portrait, portrait[:, ::-1]], 1), 48))
    write_clip(folder / "noface.mp4", (np.full((128, 160, 3), 5 * i, np.uint8) for i in range(30)))
    write_clip(folder / "short.mp4", moving(portrait, 9))
    cv2.imwrite(str(folder / "face.png"), portrait[..., ::-1])
    return folder


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders `fake`, `real` (both with a generator), `plain` (none; says fake), `mri` (looks at MRIs; says fake)."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    detector = Detector("test_efficientnet.r160_in1k", size=64, hidden=8)
    generator = Generator(size=64, width=8)
    made = {}
    for name, logit in (("fake", 3.0), ("real", -3.0), ("plain", 3.0), ("mri", 3.0)):
        with torch.no_grad():
            detector.head[-1].weight.fill_(1e-3)
            detector.head[-1].bias.fill_(logit)
        made[name] = save_bundle(
            folder / name, detector, "mri" if name == "mri" else "face", None if name == "plain" else generator,
            faces=to_dict(FacesConfig()), thresholds=THRESHOLDS,
            provenance={"code_version": "1234567", "thresholds": SEARCHED})  # fmt: skip
    return made
