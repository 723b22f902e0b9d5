"""The MRI-GAN authors' published generators, turned into Mrigan's own file."""

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

    Width and depth are read off the weights; the dropout is the authors' 0.5. Outputs agree to rounding.

    Raises:
        ModelError: the file is damaged, holds code, or its keys or shapes are not those of the published generator.
    """
    theirs = read_checkpoint(checkpoint).get("generator_state_dict")
    if not isinstance(theirs, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in theirs.items()
    ):
        raise ModelError("the checkpoint has no generator_state_dict", where=checkpoint, fix=_FIX)
    check_values(theirs, checkpoint)
    ours: dict[str, Tensor] = {}
    unknown = []
    for key, tensor in theirs.items():
        name = _our_name(key.removeprefix("module."))  # the prefix that DataParallel adds
        if name is None:
            unknown.append(key)
        else:
            ours[name] = tensor.float()
    downs = sum(name.startswith("down.") for name in ours)
    if unknown or "down.0.conv.weight" not in ours:
        what = f"unknown keys: {', '.join(unknown[:5])}" if unknown else "down1 is missing"
        raise ModelError(f"not the published generator: {what}", where=checkpoint, fix=_FIX)
    try:
        with torch.device("meta"):  # no memory for a network that the file does not fill
            G = Generator(size=2**downs, width=len(ours["down.0.conv.weight"]))
        G.load_state_dict(ours, assign=True)
    except (ConfigError, RuntimeError, TypeError) as error:
        raise ModelError(f"not the published generator: {error}", where=checkpoint, fix=_FIX) from None
    save_generator(out, G, {"source": "published checkpoint", "file": Path(checkpoint).name})
    return G.eval()


def _our_name(key: str) -> str | None:
    """`down1.model.0.weight` → `down.0.conv.weight`; None for a key that the published generator has not."""
    layer = re.fullmatch(r"(down|up)([1-9]\d?)\.model\.0\.weight", key)
    if layer:
        return f"{layer[1]}.{int(layer[2]) - 1}.conv.weight"
    head = re.fullmatch(r"final\.2\.(weight|bias)", key)
    return f"head.conv.{head[1]}" if head else None
