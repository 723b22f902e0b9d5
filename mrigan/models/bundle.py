"""A detector as a folder: model.json and safetensors; alone enough to give a verdict on a face.

model.json                what the weights are, how faces are found, thresholds, sha256 of the other files
detector.safetensors
generator.safetensors     when the detector looks at MRIs, or when MRIs are shown beside its verdict
familiarity.safetensors   where the held-out faces lie that it knows, when there were enough of them
known_faces.safetensors   the training faces as its backbone sees them, when there were not
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from mrigan.errors import ConfigError, ModelError
from mrigan.files import atomic_write, failpoint, sha256_file, sync_folder, write_json
from mrigan.models.detector import Detector
from mrigan.models.familiarity import Familiarity
from mrigan.models.generator import Generator
from mrigan.models.generator_file import load_generator, save_generator
from mrigan.models.known_faces import KnownFaces, activations, coarse, layers_of
from mrigan.models.predict import predict_mri

SCHEMA_VERSION = 1
KIND = "mrigan-detector"
INPUTS = ("face", "mri")
DETECTOR_FILE, GENERATOR_FILE, FAMILIARITY_FILE, KNOWN_FILE = (
    f"{name}.safetensors" for name in ("detector", "generator", "familiarity", "known_faces")
)
IN_CACHE = 8  # faces in one pass on a CPU: of more, what the layers make no longer stays in its cache
LARGEST_JSON, LARGEST_WEIGHTS = 4 << 20, 8 << 30  # bytes
_FIX = "give the folder `model/` of a finished detector run, whole and unchanged"


@dataclass
class Bundle:
    """A detector ready to score faces. `to(device)` moves its networks.

    Attributes:
        input: what the detector looks at: the "face", or the "mri" that `generator` predicts from it.
        faces: the FacesConfig, as a dict, by which the training faces were found and cut.
        thresholds: {"frame": p, "fraction": q}: a video is fake when at least q of its faces have one above p.
        familiarity: how far a face is from held-out faces that it knows, or None. known: the same for the training
            faces, where too few were held out, or None.
        precision: "fp32", or "bf16" for the networks' large sums (the last layer stays in float32).
        doubt: calibration, rules and limits (see `mrigan.evaluation.fit_limits`); maybe empty.
        meta: the whole model.json, with `provenance`.
    """

    detector: Detector
    generator: Generator | None
    input: str
    faces: dict[str, Any]
    thresholds: dict[str, float]
    meta: dict[str, Any] = field(default_factory=dict)
    familiarity: Familiarity | None = None
    precision: str = "fp32"
    known: KnownFaces | None = None

    @property
    def doubt(self) -> dict[str, Any]:
        """What model.json says of calibration, rules and limits."""
        doubt = self.meta.get("doubt")
        return doubt if isinstance(doubt, dict) else {}

    def to(self, device: torch.device | str) -> Bundle:
        """Move the networks, and lay them out channels last, which convolutions are fastest on; returns itself."""
        for network in (self.detector, self.generator):
            if network is not None:
                network.to(device).to(memory_format=torch.channels_last)
        return self

    def predict(self, faces: Tensor, batch_size: int = 32) -> tuple[Tensor, Tensor | None]:
        """Probabilities of being fake, (N,) float32 in 0...1, and MRIs (N, 3, S, S) uint8 where there is a generator.

        Args:
            faces: (N, 3, H, W) uint8, cut and resized as `faces` says; on any device. Results are on the CPU.
        """
        logits, mris = self._run(faces, batch_size, self.generator is not None)
        return torch.sigmoid(logits), mris

    def score(self, faces: Tensor, batch_size: int = 32) -> Tensor:
        """Logits (N,) float32 of `faces`, as in `predict`."""
        return self._run(faces, batch_size, self.input == "mri")[0]

    @torch.inference_mode()
    def examine(self, faces: Tensor, batch_size: int = 32) -> tuple[Tensor, Tensor]:
        """Logits (N,) float32 and the detector's hidden layer (N, H) float32 of `faces`, on the CPU."""
        logits, hidden = [torch.zeros(0)], [torch.zeros((0, self.detector.settings["hidden"]))]
        for picture, _ in self._pictures(faces, batch_size, self.input == "mri"):
            embedded = self._embed(picture)
            logits.append(self.detector.judge(embedded).cpu())
            hidden.append(embedded.cpu())
        return torch.cat(logits), torch.cat(hidden)

    def weigh(self, faces: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits (N,) float32 of `faces`, as in `predict`, and their distances (N,) from the faces that the model
        knows, None where it keeps none."""
        if self.known is not None:
            return self._beside_known(self.known, faces)
        if self.familiarity is not None:
            logits, hidden = self.examine(faces)
            return logits, self.familiarity.distance(hidden)
        return self.score(faces), None

    @torch.inference_mode()
    def maps_of(self, faces: Tensor, names: list[str] | None = None, batch_size: int = 32) -> dict[str, Tensor]:
        """By layer of the backbone, the (N, C, h, w) float32 activations of `faces`, see `mrigan.models.known_faces`.

        Args:
            names: of the layers; None = the ones that suit the backbone, perhaps none.
        """
        self.detector.eval()
        if names is None:
            side = self.detector.size
            names = layers_of(self.detector.backbone, torch.zeros(1, 3, side, side).to(self._device))
        parts: dict[str, list[Tensor]] = {name: [] for name in names}
        with activations(self.detector.backbone, names) as seen:
            for face in self._faces(faces, batch_size):
                self._embed(face)
                for name in names:
                    parts[name].append(coarse(seen[name]).cpu())
        return {name: torch.cat(maps) for name, maps in parts.items()}

    @torch.inference_mode()
    def _beside_known(self, known: KnownFaces, faces: Tensor, batch_size: int = 32) -> tuple[Tensor, Tensor]:
        logits, distances = [torch.zeros(0)], [torch.zeros(0)]
        with activations(self.detector.backbone, list(known.layers)) as seen:
            pictures = self._pictures(faces, batch_size, self.input == "mri")
            for (picture, _), face in zip(pictures, self._faces(faces, batch_size), strict=True):
                logits.append(self.detector.judge(self._embed(picture)).cpu())
                if self.input == "mri":  # an MRI is black for most faces: it does not show whose they are
                    self._embed(face)
                distances.append(known.distance({name: coarse(seen[name]) for name in known.layers}))
        return torch.cat(logits), torch.cat(distances)

    @property
    def _device(self) -> torch.device:
        return next(self.detector.parameters()).device

    @torch.inference_mode()
    def _faces(self, faces: Tensor, batch_size: int) -> Iterator[Tensor]:
        """The faces as the detector takes pictures, float32 in 0...1, a batch at a time."""
        self.detector.eval()
        for batch in faces.split(self._batch(batch_size)) if len(faces) else []:
            yield batch.to(self._device).float() / 255

    def _batch(self, batch_size: int) -> int:
        return min(batch_size, IN_CACHE) if self._device.type == "cpu" else batch_size

    @torch.inference_mode()
    def _run(self, faces: Tensor, batch_size: int, with_mri: bool) -> tuple[Tensor, Tensor | None]:
        logits: list[Tensor] = [torch.zeros(0)]
        mris: list[Tensor] = []
        for picture, mri in self._pictures(faces, batch_size, with_mri):
            logits.append(self.detector.judge(self._embed(picture)).cpu())
            if mri is not None:
                mris.append((mri * 255).round().to(torch.uint8).cpu())
        size = self.generator.size if self.generator is not None else 0
        empty = torch.zeros((0, 3, size, size), dtype=torch.uint8)
        return torch.cat(logits), torch.cat([empty, *mris]) if with_mri else None

    def _pictures(self, faces: Tensor, batch_size: int, with_mri: bool) -> Iterator[tuple[Tensor, Tensor | None]]:
        """What the detector looks at, and the MRIs where they are wanted, a batch at a time."""
        self.detector.eval()
        device = self._device
        for batch in faces.split(self._batch(batch_size)) if len(faces) else []:
            x = batch.to(device)
            with self._precision(device):
                mri = predict_mri(self.generator, x) if with_mri and self.generator is not None else None
            yield mri if self.input == "mri" and mri is not None else x.float() / 255, mri

    def _embed(self, picture: Tensor) -> Tensor:
        """The detector's hidden layer (N, H) in float32."""
        with self._precision(picture.device):
            return self.detector.embed(picture).float()

    def _precision(self, device: torch.device) -> torch.autocast:
        return torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bf16")


def save_bundle(
    folder: str | Path,
    detector: Detector,
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
) -> Path:
    """Write the bundle as `folder`, whole or not at all; an older bundle there is replaced.

    Args:
        provenance: JSON values: run id, config, code version, data hash, ...
        familiarity, known, doubt: see `Bundle`. data: what it learned from, see `mrigan.training.learned`.

    Raises:
        ConfigError: `input` is unknown, or it is "mri" without a generator, or a threshold is missing.
        ModelError: `folder` exists and is no bundle: it is not touched.
    """
    folder = Path(folder)
    _check(input, generator, thresholds)
    if folder.exists() and not (folder / "model.json").is_file() and any(folder.iterdir()):
        raise ModelError("the folder exists and holds something else", where=folder, fix="give a new folder")
    beside = folder.parent / f".{folder.name}.{secrets.token_hex(4)}.tmp"
    beside.mkdir(parents=True)
    try:
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in detector.state_dict().items()}
        with atomic_write(beside / DETECTOR_FILE) as file:
            file.write(save(state))
        if generator is not None:
            save_generator(beside / GENERATOR_FILE, generator)
        if familiarity is not None:
            with atomic_write(beside / FAMILIARITY_FILE) as file:
                file.write(save(familiarity.tensors()))
        if known is not None:
            with atomic_write(beside / KNOWN_FILE) as file:
                file.write(save(known.tensors()))
        files = {path.name: {"sha256": sha256_file(path), "bytes": path.stat().st_size} for path in beside.iterdir()}
        meta = {
            "schema_version": SCHEMA_VERSION,
            "kind": KIND,
            "input": input,
            "detector": detector.settings,
            "faces": faces,
            "thresholds": thresholds,
            "doubt": doubt or {},
            "data": data or {},
            "files": files,
            "provenance": provenance or {},
        }
        write_json(beside / "model.json", meta)
        _replace(folder, beside)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder


def load_bundle(folder: str | Path) -> Bundle:
    """The bundle in `folder`, on the CPU, in eval mode; every file is checked against its sha256 first.

    Raises:
        ModelError: something is missing, damaged, of an unknown version, or not a bundle.
    """
    folder = Path(folder)
    meta = _read_meta(folder / "model.json")
    for name in _file_names(meta, folder):
        _check_file(folder / name, meta["files"][name])
    try:
        detector = Detector(**{**meta["detector"], "trained": True})
        detector.load_state_dict(load_file(folder / DETECTOR_FILE))
    except (TypeError, ConfigError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"the detector cannot be built from its file: {error}", where=folder, fix=_FIX) from None
    generator = load_generator(folder / GENERATOR_FILE) if GENERATOR_FILE in meta["files"] else None
    try:
        _check(meta["input"], generator, meta["thresholds"])
    except ConfigError as error:
        raise ModelError(error.what, where=folder / "model.json", fix=_FIX) from None
    thresholds = {name: float(value) for name, value in meta["thresholds"].items()}
    bundle = Bundle(detector.eval(), generator, meta["input"], meta["faces"], thresholds, meta)
    if FAMILIARITY_FILE in meta["files"]:
        bundle.familiarity = Familiarity.from_tensors(_tensors(folder / FAMILIARITY_FILE), detector.settings["hidden"])
    if KNOWN_FILE in meta["files"]:
        bundle.known = KnownFaces.from_tensors(_tensors(folder / KNOWN_FILE), detector.backbone)
    return bundle


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ModelError(f"a file of the bundle is no safetensors: {error}", where=path, fix=_FIX) from None


def _check(input: str, generator: Generator | None, thresholds: dict[str, float]) -> None:
    if input not in INPUTS or (input == "mri" and generator is None):
        having = "with" if generator else "without"
        raise ConfigError(
            f"a detector of input {input!r} {having} a generator",
            where="data.input",
            fix="face, or mri with model.generator=G.safetensors",
        )
    numbers = all(isinstance(value, int | float) for value in thresholds.values())
    if not {"frame", "fraction"} <= thresholds.keys() or not numbers:
        raise ConfigError("thresholds without a number for frame or fraction", fix="search them on validation scores")


def _read_meta(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > LARGEST_JSON:
            raise ModelError(f"model.json is larger than {LARGEST_JSON} bytes", where=path, fix=_FIX)
        meta = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise ModelError("the folder holds no model.json", where=path.parent, fix=_FIX) from None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"model.json cannot be read: {error}", where=path, fix=_FIX) from None
    if not isinstance(meta, dict) or meta.get("kind") != KIND:
        raise ModelError("model.json describes no Mrigan detector", where=path, fix=_FIX)
    if meta.get("schema_version") != SCHEMA_VERSION:
        raise ModelError(
            f"schema_version {meta.get('schema_version')} is not known (known: {SCHEMA_VERSION})",
            where=path,
            fix="use the Mrigan version that wrote it, or a newer one",
        )
    for key in ("detector", "faces", "thresholds", "files"):
        if not isinstance(meta.get(key), dict):
            raise ModelError(f"model.json lacks {key}", where=path, fix=_FIX)
    if not isinstance(meta.get("input"), str) or "weights" in meta["detector"]:
        raise ModelError("model.json is malformed", where=path, fix=_FIX)
    return meta


def _file_names(meta: dict[str, Any], folder: Path) -> Iterator[str]:
    """The listed files; only the known names, so that no list can lead out of the folder."""
    names = set(meta["files"])
    if not {DETECTOR_FILE} <= names <= {DETECTOR_FILE, GENERATOR_FILE, FAMILIARITY_FILE, KNOWN_FILE}:
        raise ModelError(f"model.json lists {', '.join(sorted(map(str, names))) or 'no files'}", where=folder, fix=_FIX)
    yield from sorted(names)


def _check_file(path: Path, expected: Any) -> None:
    if not path.is_file():
        raise ModelError("a file of the bundle is missing", where=path, fix=_FIX)
    told = expected.get("sha256") if isinstance(expected, dict) else None
    if path.stat().st_size > LARGEST_WEIGHTS or sha256_file(path) != told:
        raise ModelError("not the file that model.json was written for: damaged, or exchanged", where=path, fix=_FIX)


def _replace(folder: Path, new: Path) -> None:
    old = new.with_suffix(".old")
    if folder.exists():
        folder.rename(old)
        failpoint("model.away", folder.name)
    new.rename(folder)
    failpoint("model.there", folder.name)
    sync_folder(folder.parent)
    shutil.rmtree(old, ignore_errors=True)
