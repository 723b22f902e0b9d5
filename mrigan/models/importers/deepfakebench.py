"""EfficientNet-B4 and Xception of DeepfakeBench (Yan et al., NeurIPS 2023).

A file is a state dict: `backbone.efficientnet.*` of the package efficientnet_pytorch with a first convolution of its
own, or `backbone.*` with the names of Xception's first port to PyTorch; then `backbone.last_layer` or
`backbone.last_linear` with two outputs. Faces of 32 frames, one a frame, aligned by five points, 256 px, mean and
standard deviation .5; a video's score is the mean. They find points by dlib, Mrigan by MTCNN.

Two things are easily missed. Their first convolution has no padding. And efficientnet_pytorch pads each later one for a
picture of 380 px, whatever the picture's size: at 256 px that shifts the third stage by a pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mrigan.config import FacesConfig
from mrigan.errors import ModelError
from mrigan.models.detector import Detector
from mrigan.models.efficientnet import DEEPFAKEBENCH
from mrigan.models.importers.efficientnet_keys import as_timm, kind_of_pytorch
from mrigan.models.importers.imported import Imported, State, network, one_logit, only_one, read_file, tensors_of
from mrigan.published import ELSEWHERE

FIX = "give effnb4_best.pth or xception_best.pth of DeepfakeBench"
WHAT = "a published detector of DeepfakeBench"
SIZE = 256  # px
SETTINGS: dict[str, Any] = {"size": SIZE, "hidden": 0, "dropout": 0.0, "drop_path": 0.0, "mean": (0.5,) * 3,
                            "std": (0.5,) * 3}  # fmt: skip
EFFICIENTNET = "efficientnet."
HEADS = ("last_layer.", "last_linear.", "last_linear.1.")  # the last with a dropout before it
UNUSED = "adjust_channel."  # of Xception, in the file, and not in its forward pass


def read_deepfakebench(files: Sequence[Path]) -> Imported:
    """See `read_published`."""
    path = only_one(files, WHAT)
    state = tensors_of(read_file(path), "", path, FIX)
    own = {name.removeprefix("backbone."): tensor for name, tensor in state.items()
           if not name.startswith(f"backbone.{UNUSED}")}  # fmt: skip
    if not state.keys() & {"backbone.efficientnet._conv_stem.weight", "backbone.block12.skip.weight"}:
        raise ModelError(f"not {WHAT} that can be imported: EfficientNet or Xception", where=path, fix=FIX)
    return Imported(
        files=files,
        networks=[_efficientnet(own, path) if f"{EFFICIENTNET}_conv_stem.weight" in own else _xception(own, path)],
        faces=FacesConfig(frames=32, long_side=0, max_persons=1, size=SIZE, align="points5", align_scale=1.3),
        judging={"rule": "mean"},
        rules={"mean": 0.5},
        about="FaceForensics++ c23",
        published=ELSEWHERE["deepfakebench"],
    )


def _efficientnet(own: State, path: Path) -> Detector:
    inner = {name.removeprefix(EFFICIENTNET): t for name, t in own.items() if name.startswith(EFFICIENTNET)}
    kind = kind_of_pytorch(inner, path, FIX)
    rest = {name: tensor for name, tensor in own.items() if not name.startswith(EFFICIENTNET)}
    weights = {f"backbone.{name}": tensor for name, tensor in as_timm(inner, kind).items()} | _head(rest)
    return network(weights, path, WHAT, FIX, backbone=f"tf_efficientnet_{kind}{DEEPFAKEBENCH}", **SETTINGS)


def _xception(own: State, path: Path) -> Detector:
    heads = {name: tensor for name, tensor in own.items() if name.startswith(HEADS)}
    weights = {f"backbone.{name}": tensor for name, tensor in own.items() if name not in heads} | _head(heads)
    return network(weights, path, WHAT, FIX, backbone="legacy_xception", **SETTINGS)


def _head(state: State) -> State:
    """The last layer as one logit; what is not two outputs of a linear layer stays, and is then not known."""
    for prefix in HEADS:
        pair = [state.get(prefix + part) for part in ("weight", "bias")]
        if len(state) == 2 and pair[0] is not None and pair[1] is not None and len(pair[1]) == 2:
            return one_logit(pair[0], pair[1])
    return state
