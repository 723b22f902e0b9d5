"""EfficientNet's weights under other people's names, as timm names them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from mrigan.errors import ModelError
from mrigan.models.efficientnet import FEATURES, NATIVE, SCALES, depths, scaled

# efficientnet_pytorch's modules, beside the blocks
OUTSIDE = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
ATTENTION = {"_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand"}
EXPANDING = {  # of a block with an expansion
    "_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2",
    "_project_conv": "conv_pwl", "_bn2": "bn3", **ATTENTION,
}  # fmt: skip
PLAIN = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2", **ATTENTION}
BLOCK = re.compile(r"_blocks\.(\d{1,3})\.(\w+)\.(\w+)")


def kind_of(features: int, blocks: int, path: Path, fix: str) -> str:
    """`b0`…`b8`: the EfficientNet with so many features and blocks.

    Raises:
        ModelError: none has.
    """
    for kind in NATIVE:
        if (scaled(FEATURES, SCALES[kind][0]), sum(depths(kind))) == (features, blocks):
            return kind
    raise ModelError(f"no EfficientNet has {features} features and {blocks} blocks", where=path, fix=fix)


def kind_of_timm(state: Mapping[str, Tensor], path: Path, fix: str) -> str:
    """`kind_of` a state dict with timm's names."""
    return kind_of(_length(state, "conv_head.weight"), _count(state, r"blocks\.\d+\.\d+\."), path, fix)


def kind_of_pytorch(state: Mapping[str, Tensor], path: Path, fix: str) -> str:
    """`kind_of` a state dict with efficientnet_pytorch's names."""
    return kind_of(_length(state, "_conv_head.weight"), _count(state, r"_blocks\.\d+\."), path, fix)


def as_timm(state: Mapping[str, Tensor], kind: str) -> dict[str, Tensor]:
    """A state dict with efficientnet_pytorch's names as timm's `tf_efficientnet_…`; unknown names stay as they are.

    Blocks are numbered through there, and by stage here.
    """
    places = [f"blocks.{stage}.{i}" for stage, count in enumerate(depths(kind)) for i in range(count)]
    return {_name(key, places, state): tensor for key, tensor in state.items()}


def _name(key: str, places: list[str], state: Mapping[str, Tensor]) -> str:
    block = BLOCK.fullmatch(key)
    if block and int(block[1]) < len(places):
        names = EXPANDING if f"_blocks.{block[1]}._expand_conv.weight" in state else PLAIN
        return f"{places[int(block[1])]}.{names[block[2]]}.{block[3]}" if block[2] in names else key
    module, _, leaf = key.rpartition(".")
    return f"{OUTSIDE[module]}.{leaf}" if module in OUTSIDE else key


def _length(state: Mapping[str, Tensor], key: str) -> int:
    return len(state[key]) if key in state and state[key].dim() else 0


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    return len({found[0] for key in state if (found := re.match(pattern, key))})
