"""A model in a program of one's own: `mrigan.load_model` and `mrigan.detect`. Neither prints anything."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mrigan.detect.choice import choose_model
from mrigan.detect.inputs import Input, files_in_folder, looks_like_picture
from mrigan.detect.judge import Judge, pick_device
from mrigan.detect.look import in_silence
from mrigan.detect.options import Options
from mrigan.detect.scorer import require_finite
from mrigan.detect.verdict import Verdict
from mrigan.detect.watched import judge_watched
from mrigan.errors import InputError
from mrigan.video import resize_face
from mrigan.video.stills import read_picture

if TYPE_CHECKING:
    from mrigan.models.bundle import Bundle

log = logging.getLogger(__name__)

Paths = str | Path | Iterable[str | Path]
PATHS = (str, bytes, os.PathLike)
MAX_FACES_IN_MEMORY = 256


class Model:
    """A loaded detector. Made by `load_model`.

    Attributes:
        name: as verdicts call it. input: what the detector looks at, the "face", or the "mri" predicted from it.
        thresholds: `frame` and `fraction`: a video is fake when at least `fraction` of its faces have a probability
            above `frame`. face_size: px, the side that faces are brought to.
        bundle: the networks, and all of model.json as `bundle.card`.
    """

    def __init__(self, bundle: Bundle, name: str, *, device: str = "auto", precision: str = "fp32") -> None:
        self.name, self._options = name, Options(device=device, precision=precision)
        self._judges: dict[Options, Judge] = {}
        self._faces = bundle.faces
        # Checks device and precision, too; the networks are moved once.
        self.bundle = Judge(bundle, replace(self._options, cropped=True), name=name).bundle
        self.input, self.thresholds = bundle.input, dict(bundle.thresholds)
        self.face_size = self._faces.size

    def __repr__(self) -> str:
        return f"<mrigan model {self.name}: looks at the {self.input}, faces of {self.face_size} px>"

    def predict(self, faces: Any) -> np.ndarray:
        """The probability of being fake of each face: (N,) float32, 0 (real) to 1 (fake), not calibrated.

        Args:
            faces: an array (N, H, W, 3) or, for one face, (H, W, 3); uint8, RGB, 0…255; or a list of arrays (H, W, 3),
                of paths of pictures, or of both. Each is one face, cut out already, with a margin of about a tenth of
                its side; any size: it is brought to `face_size`.

        Raises:
            InputError: an array of another shape or type, or a picture that cannot be read.
            ModelError: an output is not a number.
        """
        import torch

        probs = [np.zeros(0, np.float32)]
        pictures = self._pictures(faces)
        while chunk := list(islice(pictures, MAX_FACES_IN_MEMORY)):
            logits = self.bundle.score(torch.from_numpy(np.stack(chunk).transpose(0, 3, 1, 2).copy()))
            require_finite(logits)
            probs.append(logits.double().sigmoid().float().numpy())
        return np.concatenate(probs)

    def detect(
        self,
        paths: Paths,
        *,
        recursive: bool = False,
        pictures: bool = False,
        cropped: bool = False,
        small_faces: bool = False,
        every: int = 0,
        rule: str = "",
    ) -> list[Verdict]:
        """As `mrigan.detect`, by this model."""
        options = replace(
            self._options, pictures=pictures, cropped=cropped, small_faces=small_faces, every=every, rule=rule
        )
        inputs = list(_inputs(paths, recursive, pictures))
        return self.judge(inputs, options)

    def judge(self, inputs: Sequence[Input], options: Options | None = None) -> list[Verdict]:
        """The verdicts on these inputs, in order."""
        judge = self._judge(options or self._options)
        judged = judge_watched(judge, inputs, [0] * len(inputs), 0, in_silence)
        return [one.verdict for one in judged]

    def _judge(self, options: Options) -> Judge:
        if options not in self._judges:
            self._judges[options] = Judge(self.bundle, options, name=self.name)
        return self._judges[options]

    def _pictures(self, faces: Any) -> Iterator[np.ndarray]:
        for number, face in enumerate(_listed(faces)):
            if isinstance(face, PATHS):
                picture, _ = read_picture(os.fsdecode(face))
            else:
                picture = _checked(face, f"face {number}")
            yield resize_face(np.ascontiguousarray(picture), self.face_size, self._faces.resize)


def load_model(model: str | Path | None = None, *, device: str = "auto", precision: str = "fp32") -> Model:
    """Load a detector.

    Args:
        model: a model's folder, a registered one (`models:/mrigan-face@champion`), or None: the one that
            `mrigan detect` takes.
        device: auto, cpu, cuda or cuda:N. precision: fp32 or bf16.

    Raises:
        ModelError: there is no such model, or it is damaged. ConfigError: no such device or precision.
    """
    from mrigan.models.bundle import load_bundle

    pick_device(device)
    folder, name = choose_model(model)
    return Model(load_bundle(folder), name, device=device, precision=precision)


def detect(
    paths: Paths,
    model: Model | str | Path | None = None,
    *,
    recursive: bool = False,
    pictures: bool = False,
    cropped: bool = False,
    small_faces: bool = False,
    every: int = 0,
    rule: str = "",
    device: str = "auto",
    precision: str = "fp32",
) -> list[Verdict]:
    """A verdict on each video or picture, in order.

    Args:
        paths: one path, or several. A folder stands for the videos and pictures in it, by name. Every path is taken
            literally: there are no patterns and no `@LIST`.
        model: from `load_model`, or what that takes.
        recursive: folders stand for the files of their sub-folders, too; links to folders are not followed.
        pictures: every file is a picture. cropped: every picture is one face, cut out already.
        small_faces: look for faces below 3 % of the frame's width, too; slower.
        every: look at one frame in so many; 0 = as the model was trained.
        rule: that judges a video, one of those that the model stores; `fraction` is the paper's, "" the model's own.
        device, precision: see `load_model`; a loaded model keeps its own.

    Returns:
        A verdict a file. One that cannot be read is `undecided`, with the reason `unreadable`.

    Raises:
        ModelError: no model, or a damaged one. ConfigError: no such device, precision or rule.
    """
    if not isinstance(model, Model):
        model = load_model(model, device=device, precision=precision)
    return model.detect(
        paths,
        recursive=recursive,
        pictures=pictures,
        cropped=cropped,
        small_faces=small_faces,
        every=every,
        rule=rule,
    )


def literal_input(path: str, pictures: bool = False) -> Input:
    """The input of this very name."""
    return Input(path, pictures or looks_like_picture(path))


def _inputs(paths: Paths, recursive: bool, pictures: bool) -> Iterator[Input]:
    for path in [paths] if isinstance(paths, PATHS) else paths:
        name = os.fsdecode(path)
        if not os.path.isdir(name):
            yield literal_input(name, pictures)
            continue
        skipped: list[str] = []
        for file in files_in_folder(name, recursive, skipped):
            yield literal_input(file, pictures)
        for line in skipped:
            log.info("skipped %s", line)


def _listed(faces: Any) -> Iterable[Any]:
    """One face after the other; a single one is a list of one."""
    if isinstance(faces, PATHS) or getattr(faces, "ndim", 4) == 3:
        return [faces]
    if isinstance(faces, Mapping) or not isinstance(faces, Iterable):
        raise InputError(
            f"faces are given as {type(faces).__name__}", fix="give an array, or a list of arrays or paths"
        )
    return faces


def _checked(face: Any, where: str) -> np.ndarray:
    """The face as (H, W, 3) uint8."""
    picture = np.asarray(face)
    if picture.dtype != np.uint8:
        raise InputError(
            f"an array of {picture.dtype}, and faces are uint8",
            where=where,
            fix="give RGB values from 0 to 255 as uint8",
        )
    if picture.ndim != 3 or picture.shape[2] != 3 or 0 in picture.shape:
        shape = " × ".join(map(str, picture.shape))
        raise InputError(
            f"an array of {shape}, and a face is height × width × 3", where=where, fix="channels come last"
        )
    return picture
