"""A generator as one safetensors file: the weights, and in the metadata the settings to build the network."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save

from mrigan.config import from_dict
from mrigan.config.fields import checked, within
from mrigan.config.training import GENERATOR_SIZE, GENERATOR_WIDTH
from mrigan.errors import ConfigError, ModelError
from mrigan.files import atomic_write
from mrigan.foreign_files import parse_json
from mrigan.models.building import build
from mrigan.models.generator import Generator
from mrigan.weights import SafetensorsFile

FORMAT, VERSION = "mrigan-generator", 1
KEY = "mrigan"  # of the metadata


@dataclass(frozen=True)
class GeneratorCard:
    """The metadata of a generator."""

    format: str = checked(FORMAT, choices=(FORMAT,), required=True)
    format_version: int = within(VERSION, VERSION, VERSION, required=True)
    size: int = within(*GENERATOR_SIZE, 256, required=True)  # px
    width: int = within(*GENERATOR_WIDTH, 64, required=True)  # channels of the first level
    dropout: float = within(0, 1, 0.5, required=True)
    extra: dict[str, Any] = checked({})


def save_generator(path: str | Path, G: Generator, extra: dict[str, Any] | None = None) -> None:
    """Write `G` atomically, with `extra` (JSON values: run, step, ...) in the metadata."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in G.state_dict().items()}
    with atomic_write(path) as file:
        file.write(save(tensors, generator_metadata(G, extra)))


def generator_metadata(G: Generator, extra: dict[str, Any] | None = None) -> dict[str, str]:
    """The safetensors metadata with which `load_generator` can read a file of `G.state_dict()`."""
    facts = {
        "format": FORMAT,
        "format_version": VERSION,
        "size": G.size,
        "width": G.width,
        "dropout": G.dropout,
        "extra": extra or {},
    }
    # One entry only: safetensors writes several in random order, but equal generators must be equal files.
    return {KEY: json.dumps(facts, sort_keys=True)}


def load_generator(path: str | Path, sha256: str = "") -> Generator:
    """The generator in `path`, on the CPU, in eval mode.

    Args:
        sha256: the required SHA-256 of the file; "" = any.

    Raises:
        ModelError: the file does not exist, is damaged, or is not a generator of Mrigan.
    """
    with SafetensorsFile(path, _FIX) as file:
        card = _card(file)
        return build(lambda: Generator(card.size, card.width, card.dropout), file, sha256).eval()


def generator_info(path: str | Path) -> dict[str, Any]:
    """The `extra` of `save_generator`.

    Raises:
        ModelError: as `load_generator`.
    """
    with SafetensorsFile(path, _FIX) as file:
        return _card(file).extra


_FIX = (
    "give a G.safetensors that `mrigan train gan` wrote (run.dir/model/generator.safetensors), "
    "or that `mrigan models import authors` made from a published checkpoint"
)


def _card(file: SafetensorsFile) -> GeneratorCard:
    try:
        facts = parse_json(file.metadata[KEY])
        if facts["format"] != FORMAT:
            raise KeyError
    except (ValueError, KeyError, TypeError):
        raise ModelError("the file is not a generator of Mrigan", where=file.path, fix=_FIX) from None
    try:
        return from_dict(GeneratorCard, facts)
    except ConfigError as error:
        raise ModelError(f"the generator file's metadata is wrong: {error.what}", where=file.path,
                         fix=f"{_FIX}; a newer file needs a newer Mrigan") from None  # fmt: skip
