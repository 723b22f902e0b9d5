"""Looking at one input: frames → faces → probabilities, with only a batch of pictures in memory at any time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Protocol

import numpy as np

from mrigan.config import FacesConfig
from mrigan.detect.inputs import Input, fingerprint, refuse_url
from mrigan.detect.pictures import Album, Example, FrameView, Scene
from mrigan.detect.verdict import FileIdentity
from mrigan.errors import InputError, ModelError
from mrigan.imaging.quality import colour, sharpness, side
from mrigan.time_limit import GLANCE, within
from mrigan.video import (
    BrokenVideo,
    DamagedVideo,
    Detection,
    Face,
    FaceDetector,
    Frame,
    VideoInfo,
    crop,
    probe,
    read_frames,
    resize_face,
)
from mrigan.video.stills import read_picture
from mrigan.video.tracks import Tracker

if TYPE_CHECKING:
    from mrigan.models.bundle import Bundle

Box = tuple[float, float, float, float]
MEASURES = ("side", "sharpness", "distance", "colour")
PEOPLE = 6  # of an input whose pictures are shown, those with the most faces
BATCH = 32  # faces that the networks see at once
CHUNK = 256 << 20  # bytes of frames that the face detector gets at once


class Progress(Protocol):
    """Called with the number of frames looked at."""

    def __call__(self, items: int = 1, note: str = "") -> None: ...


def in_silence(items: int = 1, note: str = "") -> None:
    """Progress that nobody is shown."""


@dataclass
class Findings:
    """What was seen in one input.

    Args:
        faces: by frame, then person.
        logits: one a face. measures: `side` (px), `sharpness`, `colour`, and `distance` where the model knows what it
            has seen; one of each a face.
        frames: pictures looked at; `empty` of them without a face.
        total: pictures that the input says it has, None where it does not say.
        size: (w, h) in px as displayed.
        crowded: pictures in which as many faces were found as are looked at; there may have been more.
        examples: the most suspicious faces first.
        scenes: the most suspicious face of each of the `PEOPLE` with the most faces, with where it was.
        strips: thumbnails of the same people in order of time, one list a person.
        error: why the input, or the rest of it, cannot be read; "" if all is well.
        damaged: which frames are damaged inside a file of full length; "" if none.
        others: a line on each video stream that was not looked at.
        changes: seconds and (w, h) of the first frame, and of each frame that has another size than the one before.
        file: its `fingerprint` when the look began; None where it was not there.
    """

    faces: list[Face] = field(default_factory=list)
    logits: list[float] = field(default_factory=list)
    measures: dict[str, np.ndarray] = field(default_factory=dict)
    frames: int = 0
    empty: int = 0
    total: int | None = None
    size: tuple[int, int] = (0, 0)
    crowded: int = 0
    examples: list[Example] = field(default_factory=list)
    scenes: list[Example] = field(default_factory=list)
    strips: list[list[Example]] = field(default_factory=list)
    error: str = ""
    damaged: str = ""
    others: tuple[str, ...] = ()
    changes: list[tuple[float, tuple[int, int]]] = field(default_factory=list)
    file: FileIdentity | None = None

    @property
    def probs(self) -> list[float]:
        """One a face, 0 (real) to 1 (fake)."""
        return [1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x)) for x in self.logits]


def expected_frames(inputs: Sequence[Input], every: int) -> list[int]:
    """How many frames of each input will be looked at, for a progress bar; 0 where the file does not say.

    From a file on that does not answer, 0 of all.
    """
    expected = [int(item.picture) for item in inputs]
    for i, item in enumerate(inputs):
        with suppress(InputError):
            try:
                if not item.picture:
                    expected[i] = math.ceil((_total_frames(within(GLANCE, probe, item.path)) or 0) / every)
            except TimeoutError:
                break
    return expected


def look_at(
    item: Input,
    bundle: Bundle,
    config: FacesConfig,
    detector: FaceDetector | None,
    *,
    examples: int,
    progress: Progress,
) -> Findings:
    """Find and score the faces of a video or picture.

    Args:
        detector: None = every picture is one face, already cropped.
        examples: how many of the most suspicious faces are kept, and how many MRIs predicted for them.
    """
    scorer = Scorer(bundle, config, examples)
    looked = find(item, 0, scorer, detector, progress)
    scorer.flush()
    return scorer.complete(looked, 0)


def find(item: Input, number: int, scorer: Scorer, detector: FaceDetector | None, progress: Progress) -> Findings:
    """Find the faces of a video or picture and hand them to `scorer`, which knows the input by `number`.

    Returns:
        Findings whose faces may still wait to be scored: see `Scorer.waits_for` and `Scorer.complete`.
    """
    findings, config = Findings(file=fingerprint(item.path)), scorer.config
    tracker = Tracker()
    try:
        refuse_url(item.path)
        frames = _frames(item, config.every, findings)
        while chunk := list(islice(frames, _chunk_length(findings, detector))):
            for frame, found in zip(chunk, _detect(chunk, detector), strict=True):
                tracks = tracker.add(frame.index, frame.time, found, frame.image)
                view = FrameView(frame.image)
                findings.empty += not found
                findings.crowded += len(found) == config.max_persons
                for detection, track in zip(found, tracks, strict=True):
                    scorer.add(number, frame, detection, track=track, view=view, whole=detector is None)
            progress(len(chunk))
    except InputError as error:
        findings.error = f"{error.what}; {error.fix}" if error.fix else error.what
    findings.faces = tracker.faces()
    return findings


def _frames(item: Input, every: int, findings: Findings) -> Iterator[Frame]:
    """The pictures to look at; one that is cut off ends early; what cannot be read is kept in `findings`."""
    if item.picture:
        image, findings.total = read_picture(item.path)
        findings.frames, findings.size = 1, (image.shape[1], image.shape[0])
        yield Frame(0, 0.0, image)
        return
    info = probe(item.path)
    findings.total, findings.others = _total_frames(info), info.others
    frames = read_frames(item.path, every, changes=findings.changes)
    while True:
        try:
            frame = next(frames)
        except StopIteration as end:
            findings.total = end.value
            return
        except DamagedVideo as error:
            findings.total = error.frames
            if findings.frames:
                findings.damaged = error.what
            else:
                findings.error = error.what
            return
        except BrokenVideo as error:
            findings.error = error.what
            return
        findings.frames += 1
        findings.size = frame.image.shape[1], frame.image.shape[0]
        yield frame


def _total_frames(info: VideoInfo) -> int | None:
    if info.frames is not None:
        return info.frames
    return round(info.duration * info.fps) if info.duration and info.fps else None


def _chunk_length(findings: Findings, detector: FaceDetector | None) -> int:
    """As many pictures as the detector takes at once and `CHUNK` holds; one where their size is not known yet."""
    w, h = findings.size
    if detector is None or not w:
        return 1
    return max(1, min(detector.batch, CHUNK // (3 * w * h)))


def _detect(chunk: list[Frame], detector: FaceDetector | None) -> list[list[Detection]]:
    if detector is not None:
        return detector.detect([frame.image for frame in chunk])
    sizes = [(float(f.image.shape[1]), float(f.image.shape[0])) for f in chunk]
    return [[Detection((0.0, 0.0, w, h), 1.0, ())] for w, h in sizes]


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


class Scorer:
    """Faces in, logits and measures out, `BATCH` at a time whichever input they are of; keeps a few pictures of each
    input (see `mrigan.detect.pictures`).

    Args:
        keep: the most suspicious faces kept of an input, to be shown; 0 = no pictures at all.
    """

    def __init__(self, bundle: Bundle, config: FacesConfig, keep: int) -> None:
        self.bundle, self.config, self.keep = bundle, config, keep
        self._scored: dict[int, dict[tuple[int, Box], tuple[float, ...]]] = {}  # by input; logit, then MEASURES
        self._waiting: list[_Waiting] = []
        self._albums: dict[int, Album] = {}

    def add(self, number: int, frame: Frame, detection: Detection, *, track: int, view: FrameView, whole: bool) -> None:
        """Score a face, now or soon."""
        image = frame.image if whole else crop(frame.image, detection.box, self.config.margin)
        face = resize_face(image, self.config.size, self.config.resize)
        scene = view.scene(detection, self.config.margin, whole) if self.keep else None
        self._waiting.append(_Waiting(number, frame.index, frame.time, detection.box, track, face, scene))
        if len(self._waiting) == BATCH:
            self.flush()

    def waits_for(self, number: int) -> bool:
        """Whether a face of this input is not scored yet."""
        return any(waiting.number == number for waiting in self._waiting)

    def flush(self) -> None:
        """Score what waits.

        Raises:
            ModelError: the model gives no number.
        """
        import torch

        if not self._waiting:
            return
        faces = torch.from_numpy(np.stack([w.face for w in self._waiting]).transpose(0, 3, 1, 2).copy())
        logits, distances = self.bundle.weigh(faces)
        for numbers in (logits, distances):
            if numbers is not None and not torch.isfinite(numbers).all():
                raise ModelError("the model gives no number for a face: its weights are damaged", fix="train it again")
        for i, w in enumerate(self._waiting):
            distance = math.nan if distances is None else float(distances[i])
            measured = (float(logits[i]), side(w.box), sharpness(w.face), distance, colour(w.face))
            self._scored.setdefault(w.number, {})[w.frame, w.box] = measured
            if self.keep:
                example = Example(w.frame, w.box, float(logits[i].double().sigmoid()), w.face, scene=w.scene)
                self._albums.setdefault(w.number, Album(self.keep)).add(example, w.track, w.time)
        self._waiting.clear()

    def complete(self, findings: Findings, number: int) -> Findings:
        """The findings of an input all of whose faces are scored, with these scores; the input is then forgotten."""
        by_face = self._scored.pop(number, {})
        rows = [by_face[face.frame, face.box] for face in findings.faces]
        scored = np.array(rows).reshape(-1, len(MEASURES) + 1)
        findings.logits = scored[:, 0].tolist()
        findings.measures = {n: scored[:, i] for i, n in enumerate(MEASURES, 1) if not np.isnan(scored[:, i]).all()}
        if number in self._albums:
            self._show(findings, self._albums.pop(number))
        return findings

    def _show(self, findings: Findings, album: Album) -> None:
        """The pictures to be shown, with their MRIs."""
        person = {(face.frame, face.box): face.person for face in findings.faces}
        faces = np.bincount(list(person.values()))
        most = sorted(range(len(faces)), key=lambda p: (-faces[p], p))[:PEOPLE]
        people = {person[best.frame, best.box]: (best, strip) for best, strip in album.people()}
        shown = [people[number] for number in most if number in people]
        examples = album.suspicious()
        pictured = self._with_mris([*examples, *(best for best, _ in shown)])
        findings.examples, findings.scenes = pictured[: len(examples)], pictured[len(examples) :]
        findings.strips = [strip for _, strip in shown]

    def _with_mris(self, kept: list[Example]) -> list[Example]:
        """The same faces with their MRIs, each predicted once."""
        import torch

        from mrigan.models.predict import predict_mri

        G = self.bundle.generator
        if G is None or not kept:
            return kept
        different = {(e.frame, e.box): e.face for e in kept}
        faces = torch.from_numpy(np.stack(list(different.values())).transpose(0, 3, 1, 2).copy())
        mris = (predict_mri(G, faces.to(next(G.parameters()).device)) * 255).round().to(torch.uint8).cpu()
        pictures = dict(zip(different, mris.permute(0, 2, 3, 1).numpy(), strict=True))
        return [replace(e, mri=pictures[e.frame, e.box]) for e in kept]
