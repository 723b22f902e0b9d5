"""Look at one input: frames → faces → probabilities, with only a batch of pictures in memory at any time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice

from mrigan.config import FacesConfig
from mrigan.detect.findings import Findings
from mrigan.detect.inputs import Input, fingerprint, refuse_url
from mrigan.detect.pictures import FrameView
from mrigan.detect.scorer import Scorer
from mrigan.errors import InputError
from mrigan.progress import Advance
from mrigan.time_limit import GLANCE, within
from mrigan.video import (
    BrokenVideo,
    DamagedVideo,
    Detection,
    FaceDetector,
    Frame,
    probe,
    read_frames,
    sampling,
    stated_frames,
)
from mrigan.video.stills import read_picture
from mrigan.video.tracks import Tracker

MAX_CHUNK_BYTES = 256 << 20  # of frames that the face detector gets at once


def in_silence(items: int = 1, note: str = "") -> None:
    """Progress that nobody is shown."""


def expected_frames(inputs: Sequence[Input], config: FacesConfig) -> list[int]:
    """How many frames of each input will be looked at, for a progress bar; 0 where the file does not say.

    From a file on that does not answer, 0 of all.
    """
    expected = [int(item.picture) for item in inputs]
    for i, item in enumerate(inputs):
        with suppress(InputError):
            try:
                if not item.picture:
                    total = stated_frames(within(GLANCE, probe, item.path)) or 0
                    expected[i] = min(config.frames, total) if config.frames else math.ceil(total / config.every)
            except TimeoutError:
                break
    return expected


def find(item: Input, number: int, scorer: Scorer, detector: FaceDetector | None, progress: Advance) -> Findings:
    """Find the faces of a video or picture and hand them to `scorer`, which knows the input by `number`.

    Returns:
        Findings whose faces may still wait to be scored: see `Scorer.waits_for` and `Scorer.complete`.
    """
    findings, config = Findings(file=fingerprint(item.path)), scorer.config
    tracker = Tracker()
    try:
        refuse_url(item.path)
        frames = _frames(item, config, findings)
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


def _frames(item: Input, config: FacesConfig, findings: Findings) -> Iterator[Frame]:
    """The pictures to look at; one that is cut off ends early; what cannot be read is kept in `findings`."""
    if item.picture:
        image, findings.total = read_picture(item.path)
        findings.frames, findings.size = 1, (image.shape[1], image.shape[0])
        yield Frame(0, 0.0, image)
        return
    info = probe(item.path)
    findings.total, findings.others = stated_frames(info), info.others
    frames = read_frames(item.path, **sampling(item.path, config, info), changes=findings.changes)
    while True:
        try:
            frame = next(frames)
        except StopIteration as end:
            findings.total = findings.total if end.value is None else end.value
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


def _chunk_length(findings: Findings, detector: FaceDetector | None) -> int:
    """Pictures that the detector takes at once, of at most `MAX_CHUNK_BYTES`; one while their size is not known."""
    w, h = findings.size
    if detector is None or not w:
        return 1
    return max(1, min(detector.batch, MAX_CHUNK_BYTES // (3 * w * h)))


def _detect(chunk: list[Frame], detector: FaceDetector | None) -> list[list[Detection]]:
    if detector is not None:
        return detector.detect([frame.image for frame in chunk])
    sizes = [(float(f.image.shape[1]), float(f.image.shape[0])) for f in chunk]
    return [[Detection((0.0, 0.0, w, h), 1.0, ())] for w, h in sizes]
