"""A detector as a folder, with all that a verdict on a face needs: model.json and safetensors.

model.json                the network, how faces are detected and cropped, thresholds, SHA-256 of the other files
detector.safetensors      and detector-2.safetensors, … of an ensemble
generator.safetensors     if the detector's input is MRIs, or if MRIs are shown beside its verdict
familiarity.safetensors   the distribution of the held-out faces, if there were enough of them
known_faces.safetensors   otherwise the training faces, as activations of the backbone

A folder may come from a stranger, so `load_bundle` checks all of it: regular files only, the type and range of every
value of model.json (`mrigan.config.model_card`), the shape of every tensor before the network is built, and no weight
NaN or infinite.
"""

from __future__ import annotations

import secrets
import shutil
from dataclasses import asdict
from pathlib import Path
from stat import S_ISREG
from typing import Any

from safetensors.torch import save
from torch import Tensor

from mrigan.config import from_dict
from mrigan.config.model_card import (
    FAMILIARITY_FILE,
    GENERATOR_FILE,
    KIND,
    KNOWN_FILE,
    SCHEMA_VERSION,
    ModelCard,
)
from mrigan.errors import ConfigError, ModelError
from mrigan.files import atomic_write, failpoint, sha256_file, sync_folder, write_json
from mrigan.foreign_files import read_json
from mrigan.models.building import build
from mrigan.models.detector import Detector
from mrigan.models.ensemble import Ensemble
from mrigan.models.familiarity import Familiarity
from mrigan.models.generator import Generator
from mrigan.models.generator_file import load_generator, save_generator
from mrigan.models.known_faces import KnownFaces
from mrigan.models.loaded import Bundle
from mrigan.models.map_detector import make_detector
from mrigan.weights import SafetensorsFile, halved

__all__ = ["Bundle", "load_bundle", "read_card", "save_bundle"]

CARD_FILE = "model.json"
_FIX = "give the complete, unchanged folder `model/` of a finished detector run"


def save_bundle(
    folder: str | Path,
    detector: Detector | Ensemble,
    input: str = "face",
    generator: Generator | None = None,
    *,
    faces: dict[str, Any],
    thresholds: dict[str, float],
    provenance: dict[str, Any] | None = None,
    familiarity: Familiarity | None = None,
    known: KnownFaces | None = None,
    doubt: dict[str, Any] | None = None,
    data: dict[str, Any] | None = None,
    judging: dict[str, Any] | None = None,
    mri_input: str = "",
    half: bool = False,
) -> Path:
    """Write the bundle to `folder`, completely or not at all; it replaces an older bundle.

    Args:
        faces, thresholds, provenance, doubt, data, judging, mri_input: JSON values, see `ModelCard`.
        familiarity, known: see `Bundle`.
        half: store the weights of detectors in 16 bits, see `mrigan.weights.halved`.

    Raises:
        ConfigError: `load_bundle` would refuse a value, or `input` is "mri" without a generator.
        ModelError: `folder` exists and is not a bundle; it does not change.
    """
    folder = Path(folder)
    meta: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "kind": KIND,
        "input": input,
        "detector": detector.settings,
        "faces": faces,
        "thresholds": thresholds,
        "doubt": doubt or {},
        "data": data or {},
        "files": {},
        "provenance": provenance or {},
        **({"judging": judging} if judging else {}),
        **({"mri_input": mri_input} if mri_input else {}),
    }
    settings = from_dict(ModelCard, meta, folder / CARD_FILE).detector
    if input == "mri" and generator is None:
        raise ConfigError("a detector of MRIs without a generator", where="data.input",
                          fix="face, or mri with model.generator=G.safetensors")  # fmt: skip
    _check_replaceable(folder)
    beside = folder.parent / f".{folder.name}.{secrets.token_hex(4)}.tmp"
    beside.mkdir(parents=True)
    try:
        networks = detector.networks if isinstance(detector, Ensemble) else [detector]
        for name, network in zip(settings.files, networks, strict=True):
            state = {key: tensor.detach().cpu().contiguous() for key, tensor in network.state_dict().items()}
            _write(beside / name, halved(state) if half else state)
        if generator is not None:
            save_generator(beside / GENERATOR_FILE, generator)
        if familiarity is not None:
            _write(beside / FAMILIARITY_FILE, familiarity.tensors())
        if known is not None:
            _write(beside / KNOWN_FILE, known.tensors())
        files = {path.name: {"sha256": sha256_file(path), "bytes": path.stat().st_size} for path in beside.iterdir()}
        write_json(beside / CARD_FILE, meta | {"files": files})
        _replace(folder, beside)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder


def load_bundle(folder: str | Path) -> Bundle:
    """The bundle in `folder`, on the CPU, in eval mode; every file is checked against its sha256.

    Raises:
        ModelError: it is not a bundle, or something in it is missing, damaged, out of range, or of an unknown version.
    """
    folder = Path(folder)
    card = read_card(folder)
    sums = {name: file.sha256 for name, file in card.files.items()}
    for name, listed in card.files.items():
        _check_length(folder / name, listed.bytes)
    networks = []
    for name in card.detector.files:
        with SafetensorsFile(folder / name, _FIX) as file:
            networks.append(build(lambda: make_detector(**asdict(card.detector), trained=True), file, sums[name]))
    detector = networks[0] if len(networks) == 1 else Ensemble(networks)
    generator = None
    if GENERATOR_FILE in sums:
        generator = load_generator(folder / GENERATOR_FILE, sums[GENERATOR_FILE])
    bundle = Bundle(detector.eval(), generator, card)
    if FAMILIARITY_FILE in sums:
        with SafetensorsFile(folder / FAMILIARITY_FILE, _FIX) as file:
            bundle.familiarity = Familiarity.from_file(file, detector.hidden_size, sums[FAMILIARITY_FILE])
    if KNOWN_FILE in sums:
        with SafetensorsFile(folder / KNOWN_FILE, _FIX) as file:
            bundle.known = KnownFaces.from_file(file, detector.backbone, sums[KNOWN_FILE])
    return bundle


def copy_bundle(source: Path, target: Path, meta: dict[str, Any]) -> Path:
    """The bundle in `source` with another model.json, `meta`, as a new bundle; completely or not at all.

    Raises:
        ConfigError: a value of `meta` is refused. ModelError: `target` exists and is not a bundle.
    """
    card = from_dict(ModelCard, meta, target / CARD_FILE)
    _check_replaceable(target)
    beside = target.parent / f".{target.name}.{secrets.token_hex(4)}.tmp"
    beside.mkdir(parents=True)
    try:
        for name in card.files:
            shutil.copyfile(source / name, beside / name)
        write_json(beside / CARD_FILE, meta)
        _replace(target, beside)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return target


def read_card(folder: Path) -> ModelCard:
    """The checked model.json of a model folder; no other file is read.

    Raises:
        ModelError: it is missing, unreadable, of an unknown version, or has an impossible value.
    """
    path = folder / CARD_FILE
    try:
        meta = read_json(path)
    except (FileNotFoundError, NotADirectoryError):
        raise ModelError("the folder has no model.json", where=folder, fix=_FIX) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ModelError(f"model.json cannot be read: {reason}", where=path, fix=_FIX) from None
    if not isinstance(meta, dict) or meta.get("kind") != KIND:
        raise ModelError("model.json does not describe a Mrigan detector", where=path, fix=_FIX)
    if isinstance(version := meta.get("schema_version"), int) and version > SCHEMA_VERSION:
        raise ModelError(f"schema_version {version!s:.20} is too new: this version reads {SCHEMA_VERSION}", where=path,
                         fix="use the version of Mrigan that wrote it, or a newer one")  # fmt: skip
    try:
        card = from_dict(ModelCard, meta)
    except ConfigError as error:
        hint = f"{error.fix}; or " if error.fix else ""
        raise ModelError(f"model.json: {error.what}", where=path, fix=hint + _FIX) from None
    for name in (*card.detector.files, *([GENERATOR_FILE] if card.input == "mri" else [])):
        if name not in card.files:
            raise ModelError(f"model.json: files does not list {name}", where=path, fix=_FIX)
    if card.doubt.limits.max_distance is not None and not {FAMILIARITY_FILE, KNOWN_FILE} & card.files.keys():
        what = f"doubt.limits.max_distance needs {FAMILIARITY_FILE} or {KNOWN_FILE}, but files lists neither"
        raise ModelError(f"model.json: {what}", where=path, fix=_FIX)
    return card


def _check_replaceable(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise ModelError("there is a file of this name", where=folder, fix="give a new folder")
    if folder.exists() and not (folder / CARD_FILE).is_file() and any(folder.iterdir()):
        raise ModelError("the folder exists, and is not a model folder", where=folder, fix="give a new folder")


def _write(path: Path, tensors: dict[str, Tensor]) -> None:
    with atomic_write(path) as file:
        file.write(save(tensors))


def _check_length(path: Path, expected: int | None) -> None:
    try:
        actual = path.stat()
    except FileNotFoundError:
        raise ModelError("a file of the model is missing", where=path, fix=_FIX) from None
    except OSError as error:
        raise ModelError(f"a file of the model cannot be read: {error.strerror}", where=path, fix=_FIX) from None
    if expected is not None and S_ISREG(actual.st_mode) and actual.st_size != expected:
        length = f"{actual.st_size:,} bytes instead of {expected:,}"
        raise ModelError(f"not the file that model.json describes: damaged, or replaced ({length})", where=path,
                         fix=_FIX)  # fmt: skip


def _replace(folder: Path, new: Path) -> None:
    old = new.with_suffix(".old")
    if folder.exists():
        folder.rename(old)
        failpoint("model.away", folder.name)
    new.rename(folder)
    failpoint("model.there", folder.name)
    sync_folder(folder.parent)
    shutil.rmtree(old, ignore_errors=True)
