"""The detector of Shiohara and Yamasaki, trained on self-blended images (CVPR 2022).

Their file is a dict with `model`: `net.*`, an EfficientNet-B4 of the package efficientnet_pytorch with two outputs.
Faces of 32 frames, their boxes widened by an eighth of their size on each side, stretched to 380 px; a frame's score is
the highest of those of its faces with at least half the largest's area, and a video's is the mean. They find faces by
RetinaFace, Mrigan by MTCNN.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mrigan.config import FacesConfig
from mrigan.models.importers.efficientnet_keys import as_timm, kind_of_pytorch
from mrigan.models.importers.imported import Imported, network, one_logit, only_one, read_file, tensors_of
from mrigan.published import ELSEWHERE

FIX = (
    "give the weights of Detecting Deepfakes with Self-Blended Images: a dict with `model`, whose keys begin with net."
)
WHAT = "a published detector of self-blended images"
SIZE = 380  # px


def read_sbi(files: Sequence[Path]) -> Imported:
    """See `read_published`."""
    path = only_one(files, WHAT)
    state = tensors_of(read_file(path), "model", path, FIX)
    net = {name.removeprefix("net."): tensor for name, tensor in state.items()}
    kind = kind_of_pytorch(net, path, FIX)
    head = {part: net.pop(f"_fc.{part}", None) for part in ("weight", "bias")}
    weights = {f"backbone.{name}": tensor for name, tensor in as_timm(net, kind).items()}
    if head["weight"] is not None and head["bias"] is not None and len(head["bias"]) == 2:
        weights |= one_logit(head["weight"], head["bias"])
    detector = network(
        weights, path, WHAT, FIX, backbone=f"tf_efficientnet_{kind}", size=SIZE, hidden=0, dropout=0.0, drop_path=0.0,
        mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0),
    )  # fmt: skip
    return Imported(
        files=files,
        networks=[detector],
        faces=FacesConfig(frames=32, long_side=0, margin=0.125, crop="widen", size=SIZE, resize="linear"),
        judging={"rule": "mean", "frame": "largest"},
        rules={"mean": 0.5},
        about="FaceForensics++ (real videos, blended with themselves)",
        published=ELSEWHERE["sbi"],
    )
