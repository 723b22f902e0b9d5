"""Convert the generators that MRI-GAN's authors published."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor

from mrigan.errors import ConfigError, ModelError
from mrigan.models.generator import Generator
from mrigan.models.generator_file import save_generator
from mrigan.weights import check_values, read_checkpoint

_FIX = "give a checkpoint of MRI-GAN's authors: a dict with generator_state_dict, keys down1...down8, up1...up7, final"


def import_reference(checkpoint: str | Path, out: str | Path) -> Generator:
    """Read the authors' `checkpoint` and write its generator to `out` (safetensors). Returns it, in eval mode.

    Width and depth follow from the weights; the dropout is the authors' 0.5. Outputs are equal except for rounding.

    Raises:
        ModelError: the file is damaged, contains code, or has other keys or shapes than the published generator.
    """
    published = read_checkpoint(checkpoint).get("generator_state_dict")
    if not isinstance(published, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in published.items()
    ):
        raise ModelError("the checkpoint has no generator_state_dict", where=checkpoint, fix=_FIX)
    check_values(published, checkpoint)
    weights: dict[str, Tensor] = {}
    unknown = []
    for key, tensor in published.items():
        name = _mrigan_name(key.removeprefix("module."))  # the prefix that DataParallel adds
        if name is None:
            unknown.append(key)
        else:
            weights[name] = tensor.float()
    downs = sum(name.startswith("down.") for name in weights)
    if unknown or "down.0.conv.weight" not in weights:
        what = f"unknown keys: {', '.join(unknown[:5])}" if unknown else "down1 is missing"
        raise ModelError(f"not the published generator: {what}", where=checkpoint, fix=_FIX)
    try:
        with torch.device("meta"):  # allocates no memory for weights that the file lacks
            G = Generator(size=2**downs, width=len(weights["down.0.conv.weight"]))
        G.load_state_dict(weights, assign=True)
    except (ConfigError, RuntimeError, TypeError) as error:
        raise ModelError(f"not the published generator: {error}", where=checkpoint, fix=_FIX) from None
    save_generator(out, G, {"source": "published checkpoint", "file": Path(checkpoint).name})
    return G.eval()


def _mrigan_name(key: str) -> str | None:
    """`down1.model.0.weight` → `down.0.conv.weight`; None for a key that the published generator does not have."""
    layer = re.fullmatch(r"(down|up)([1-9]\d?)\.model\.0\.weight", key)
    if layer:
        return f"{layer[1]}.{int(layer[2]) - 1}.conv.weight"
    head = re.fullmatch(r"final\.2\.(weight|bias)", key)
    return f"head.conv.{head[1]}" if head else None
