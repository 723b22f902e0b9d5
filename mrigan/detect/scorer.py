"""Faces in, logits and measures out, a batch at a time whichever input they are of."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mrigan.config import FacesConfig
from mrigan.detect.findings import MAX_PEOPLE_SHOWN, Findings
from mrigan.detect.pictures import Album, Example, FrameView, Scene
from mrigan.errors import ModelError
from mrigan.imaging.quality import colour, sharpness, side
from mrigan.video import Detection, Frame, cut_face, resize_face

if TYPE_CHECKING:
    from torch import Tensor

    from mrigan.models.bundle import Bundle

Box = tuple[float, float, float, float]
MEASURES = ("side", "sharpness", "distance", "colour")
BATCH_SIZE = 32  # faces per forward pass


def require_finite(values: Tensor) -> None:
    """Raise ModelError if an output of the model is not a finite number."""
    if not values.isfinite().all():
        raise ModelError("the model's output for a face is not a number: its weights are damaged", fix="train it again")


@dataclass(frozen=True)
class _Waiting:
    """A face that is not scored yet."""

    number: int
    frame: int
    time: float
    box: Box
    track: int
    face: np.ndarray
    scene: Scene | None


@dataclass(frozen=True)
class _Scored:
    """A face that is scored: its logit, those of each network, and `MEASURES`."""

    logit: float
    each: np.ndarray
    measures: tuple[float, ...]


class Scorer:
    """Faces in, logits and measures out, `BATCH_SIZE` at a time, of any inputs; keeps a few pictures of each
    input (see `mrigan.detect.pictures`).

    Args:
        keep: the most suspicious faces kept of an input, to be shown; 0 = no pictures at all.
    """

    def __init__(self, bundle: Bundle, config: FacesConfig, keep: int) -> None:
        self.bundle, self.config, self.keep = bundle, config, keep
        self._scored: dict[int, dict[tuple[int, Box], _Scored]] = {}  # by input, then face
        self._waiting: list[_Waiting] = []
        self._albums: dict[int, Album] = {}

    def add(self, number: int, frame: Frame, detection: Detection, *, track: int, view: FrameView, whole: bool) -> None:
        """Score a face, now or soon."""
        config = self.config
        if whole:
            face = resize_face(frame.image, config.size, config.resize)
        else:
            face = cut_face(frame.image, detection.box, config, detection.points)
        scene = view.scene(detection, config.margin, whole) if self.keep else None
        self._waiting.append(_Waiting(number, frame.index, frame.time, detection.box, track, face, scene))
        if len(self._waiting) == BATCH_SIZE:
            self.flush()

    def waits_for(self, number: int) -> bool:
        """Whether a face of this input is not scored yet."""
        return any(waiting.number == number for waiting in self._waiting)

    def flush(self) -> None:
        """Score what waits.

        Raises:
            ModelError: see `require_finite`.
        """
        import torch

        from mrigan.models.ensemble import mean_logit

        if not self._waiting:
            return
        faces = torch.from_numpy(np.stack([w.face for w in self._waiting]).transpose(0, 3, 1, 2).copy())
        each, distances = self.bundle.weigh(faces)
        require_finite(each)
        logits = mean_logit(each)
        if distances is not None:
            require_finite(distances)
        for i, w in enumerate(self._waiting):
            distance = math.nan if distances is None else float(distances[i])
            measured = (side(w.box), sharpness(w.face), distance, colour(w.face))
            scored = _Scored(float(logits[i]), each[i].double().numpy(), measured)
            self._scored.setdefault(w.number, {})[w.frame, w.box] = scored
            if self.keep:
                example = Example(w.frame, w.box, float(logits[i].double().sigmoid()), w.face, scene=w.scene)
                self._albums.setdefault(w.number, Album(self.keep)).add(example, w.track, w.time)
        self._waiting.clear()

    def complete(self, findings: Findings, number: int) -> Findings:
        """The findings of an input all of whose faces are scored, with these scores; the input is then forgotten."""
        by_face = self._scored.pop(number, {})
        scored = [by_face[face.frame, face.box] for face in findings.faces]
        findings.logits = [each.logit for each in scored]
        if scored and len(scored[0].each) > 1:
            findings.each = np.stack([each.each for each in scored])
        measured = np.array([each.measures for each in scored]).reshape(-1, len(MEASURES))
        findings.measures = {n: measured[:, i] for i, n in enumerate(MEASURES) if not np.isnan(measured[:, i]).all()}
        if number in self._albums:
            self._show(findings, self._albums.pop(number))
        return findings

    def _show(self, findings: Findings, album: Album) -> None:
        """The pictures to be shown, with their MRIs."""
        person = {(face.frame, face.box): face.person for face in findings.faces}
        faces = np.bincount(list(person.values()))
        most = sorted(range(len(faces)), key=lambda p: (-faces[p], p))[:MAX_PEOPLE_SHOWN]
        people = {person[best.frame, best.box]: (best, strip) for best, strip in album.people()}
        shown = [people[number] for number in most if number in people]
        examples = album.suspicious()
        pictured = self._with_mris([*examples, *(best for best, _ in shown)])
        findings.examples, findings.scenes = pictured[: len(examples)], pictured[len(examples) :]
        findings.strips = [strip for _, strip in shown]

    def _with_mris(self, kept: list[Example]) -> list[Example]:
        """The same faces with their MRIs, each predicted once."""
        import torch

        if not self.bundle.draws_mris or not kept:
            return kept
        different = {(e.frame, e.box): e.face for e in kept}
        faces = torch.from_numpy(np.stack(list(different.values())).transpose(0, 3, 1, 2).copy())
        mris = self.bundle.predict(faces)[1]
        assert mris is not None
        pictures = dict(zip(different, mris.permute(0, 2, 3, 1).numpy(), strict=True))
        return [replace(e, mri=pictures[e.frame, e.box]) for e in kept]
