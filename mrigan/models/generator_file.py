"""A generator as one safetensors file: weights, and in the metadata what is needed to build the network again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from mrigan.errors import ConfigError, ModelError
from mrigan.files import atomic_write
from mrigan.models.generator import Generator

FORMAT, VERSION = "mrigan-generator", 1
KEY = "mrigan"  # of the metadata
LARGEST_SIZE, LARGEST_WIDTH = 4096, 1024  # beyond these a damaged file asks for more memory than a machine has


def save_generator(path: str | Path, G: Generator, extra: dict[str, Any] | None = None) -> None:
    """Write `G` atomically; `extra` (JSON values: run, step, ...) goes into the metadata."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in G.state_dict().items()}
    with atomic_write(path) as file:
        file.write(save(tensors, generator_metadata(G, extra)))


def generator_metadata(G: Generator, extra: dict[str, Any] | None = None) -> dict[str, str]:
    """The safetensors metadata that makes a file with `G.state_dict()` readable by `load_generator`."""
    facts = {
        "format": FORMAT,
        "format_version": VERSION,
        "size": G.size,
        "width": G.width,
        "dropout": G.dropout,
        "extra": extra or {},
    }
    # One entry: safetensors writes several in random order, and equal generators should be equal files.
    return {KEY: json.dumps(facts, sort_keys=True)}


def load_generator(path: str | Path) -> Generator:
    """The generator in `path`, on the CPU, in eval mode.

    Raises:
        ModelError: there is no such file, it is damaged, or it is not one of Mrigan's generators.
    """
    try:
        with safe_open(path, framework="pt") as file:
            G = _build(_facts(file.metadata()), path)
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except FileNotFoundError:
        raise ModelError("there is no such generator file", where=path, fix=_FIX) from None
    except (SafetensorError, OSError) as error:
        raise ModelError(f"the generator file cannot be read: {error}", where=path, fix=_FIX) from None
    try:
        G.load_state_dict(state)
    except RuntimeError as error:
        raise ModelError(f"the weights do not fit the network: {error}", where=path, fix=_FIX) from None
    return G.eval()


def generator_info(path: str | Path) -> dict[str, Any]:
    """What `save_generator` was given as `extra`."""
    with safe_open(path, framework="pt") as file:
        return _facts(file.metadata()).get("extra", {})


_FIX = (
    "give a G.safetensors that `mrigan train gan` wrote (run.dir/model/generator.safetensors), "
    "or that `mrigan models import-reference` made from a published checkpoint"
)


def _facts(metadata: dict[str, str] | None) -> dict[str, Any]:
    try:
        facts = json.loads((metadata or {}).get(KEY, "{}"))
    except (ValueError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _build(metadata: dict[str, Any], path: str | Path) -> Generator:
    if metadata.get("format") != FORMAT:
        raise ModelError("the file holds no Mrigan generator", where=path, fix=_FIX)
    if metadata.get("format_version") != VERSION:
        raise ModelError(
            f"format version {metadata.get('format_version')} is not known (known: {VERSION})",
            where=path,
            fix="use the Mrigan version that wrote it, or a newer one",
        )
    try:
        size, width, dropout = int(metadata["size"]), int(metadata["width"]), float(metadata["dropout"])
        if size > LARGEST_SIZE or width > LARGEST_WIDTH:
            raise ConfigError(f"size {size}, width {width}")
        return Generator(size, width, dropout)
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise ModelError(f"the generator file's metadata is wrong: {error}", where=path, fix=_FIX) from None
