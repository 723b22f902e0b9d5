"""The winner of the DeepFake Detection Challenge (Selim Seferbekov, 2020): seven EfficientNet-B7.

A file is a dict with `state_dict`: `module.encoder.*`, timm's `tf_efficientnet_b7_ns` with an unused classifier, and
`module.fc`, 2560 → 1. timm names these tensors today as in 2020. Faces of 32 frames, found on frames of half the size;
a third of the box added on each side, the long side brought to 380 px on black, ImageNet's mean and deviation. Each
network scores a video by the mean of its confident faces; the video's score is the mean of theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mrigan.config import FacesConfig
from mrigan.config.model_card import MAX_NETWORKS
from mrigan.errors import ConfigError
from mrigan.models.detector import Detector
from mrigan.models.importers.efficientnet_keys import kind_of_timm
from mrigan.models.importers.imported import LINEAR, Imported, network, read_file, tensors_of
from mrigan.published import ELSEWHERE

FIX = "give the files of the DFDC's winner: dicts with state_dict, whose keys begin with module.encoder. and module.fc."
WHAT = "a published network of the DFDC's winner"
SIZE = 380  # px
MAX_FACES = 100  # of a frame: they take every one


def read_dfdc_winner(files: Sequence[Path]) -> Imported:
    """See `read_published`; several files are an ensemble."""
    if not 1 <= len(files) <= MAX_NETWORKS:
        raise ConfigError(f"{len(files)} files; an ensemble has 1 to {MAX_NETWORKS}")
    networks = [_network(path) for path in files]
    for path, each in zip(files, networks, strict=True):
        if each.settings != networks[0].settings:
            raise ConfigError("the files hold different networks", where=f"{files[0]}, {path}",
                              fix="import networks of one kind")  # fmt: skip
    return Imported(
        files=files,
        networks=networks,
        faces=FacesConfig(
            frames=32, shrink=2.0, long_side=0, thresholds=[0.7, 0.8, 0.8], margin=1 / 3, size=SIZE,
            resize="letterbox", max_persons=MAX_FACES,
        ),
        judging={"rule": "confident_mean"},
        rules={"confident_mean": 0.5, "mean": 0.5},
        about="DFDC (the challenge's training set)",
        published=ELSEWHERE["dfdc-winner"],
    )  # fmt: skip


def _network(path: Path) -> Detector:
    state = tensors_of(read_file(path), "state_dict", path, FIX)
    encoder = {name.removeprefix("encoder."): t for name, t in state.items() if name.startswith("encoder.")}
    kind = kind_of_timm(encoder, path, FIX)
    weights = {f"backbone.{name}": tensor for name, tensor in encoder.items() if not name.startswith("classifier.")}
    for name, tensor in state.items():
        if not name.startswith("encoder."):
            weights[LINEAR.get(name.removeprefix("fc."), name) if name.startswith("fc.") else name] = tensor
    return network(
        weights, path, WHAT, FIX, backbone=f"tf_efficientnet_{kind}.ns_jft_in1k", size=SIZE, hidden=0, dropout=0.0,
        drop_path=0.0,
    )  # fmt: skip
