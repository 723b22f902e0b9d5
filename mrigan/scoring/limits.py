"""The calibration and limits of a finished detector, measured on held-out faces, or on training faces.

See `mrigan.evaluation.fit_limits`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch

from mrigan.config.model_card import FittedCard
from mrigan.data import ShardSet, eval_batches
from mrigan.evaluation.fit_limits import MIN_FAMILIES, fit_limits
from mrigan.imaging.quality import colour, sharpness
from mrigan.models import Bundle
from mrigan.models.familiarity import Familiarity, fit_familiarity
from mrigan.models.known_faces import KnownFaces, fit_known_faces

MAX_HELD_OUT_FACES = 4000  # held-out faces looked at, spread evenly over the set
MAX_KNOWN_FACES = 256  # training faces remembered, as many of each family
MIN_KNOWN_FACES = 50  # of known faces; from fewer nothing can be said about unknown ones
BATCH_SIZE = 64
MAX_DISTANCE = 0.98  # from the known faces: less far than the training family that is furthest from the others
COLOURLESS = 2.0  # levels, see `colour`; a family below it is grey: the model has then seen such
COLOUR_SHARE = 0.25  # of the colour of the palest training family: compression may take as much as that, grey takes all


@dataclass(frozen=True)
class Reliability:
    """What travels with the model: see `Bundle` for `familiarity` and `known`, `fit_limits` for `fitted`."""

    familiarity: Familiarity | None
    known: KnownFaces | None
    fitted: FittedCard


def fit_reliability(
    bundle: Bundle,
    train: ShardSet,
    held_out: ShardSet,
    scores: pa.Table,
    *,
    workers: int = 0,
    on_bad: str = "stop",
) -> Reliability:
    """Calibration, rules and limits of a detector, and what it is familiar with.

    With 20 held-out families, known faces are those of every second one; the distance of the others, which it was not
    fitted to, sets the limit. With fewer, known faces are the training faces, and the limit is how far the training
    families lie from each other.

    Args:
        train: what the detector learned from. scores: what it says of all faces of `held_out` (see `scores_table`).
        on_bad: of bad samples of `train`, as in training.
    """
    ids = np.unique(np.linspace(0, len(held_out) - 1, min(MAX_HELD_OUT_FACES, len(held_out))).astype(np.int64))
    hidden, sharp = _look(bundle, held_out, ids, workers)
    measures = {"sharpness": sharp}
    if "face_px" in held_out.rows.column_names:  # sets of an older version do not tell
        measures["side"] = held_out.rows["face_px"].to_numpy()
    families = _families(held_out, ids)
    known, others = hidden[families % 2 == 0], hidden[families % 2 == 1]
    familiarity = None
    enough = families.max(initial=-1) + 1 >= MIN_FAMILIES
    if enough and min(len(known), len(others)) >= MIN_KNOWN_FACES:
        familiarity = fit_familiarity(known)
        measures["distance"] = familiarity.distance(others).numpy()
    limits, remembered = _of_training(bundle, train, workers, on_bad, remember=familiarity is None)
    return Reliability(familiarity, remembered, fit_limits(scores, measures, limits))


def _of_training(
    bundle: Bundle, train: ShardSet, workers: int, on_bad: str, *, remember: bool
) -> tuple[dict[str, float], KnownFaces | None]:
    """The limits that the training faces set, and these faces where they are to be remembered."""
    ids = _spread(_families(train, np.arange(len(train))), MAX_KNOWN_FACES)
    faces, colours, seen = [], [], []
    size = bundle.faces.size
    with eval_batches(train, ids, BATCH_SIZE, workers=workers, size=size, mri=False, on_bad=on_bad) as batches:
        for batch in batches:
            face = batch.face.cpu()
            faces.append(face)
            seen.append(batch.ids.numpy())
            colours += [colour(image) for image in face.permute(0, 2, 3, 1).contiguous().numpy()]
    families = np.unique(_families(train, np.concatenate(seen)), return_inverse=True)[1]
    palest = min(float(np.median(np.array(colours)[families == family])) for family in np.unique(families))
    limits = {"min_colour": COLOUR_SHARE * palest} if palest >= COLOURLESS else {}
    if not remember:
        return limits, None
    was_training = bundle.detector.training
    maps = bundle.maps_of(torch.cat(faces), batch_size=BATCH_SIZE)
    bundle.detector.train(was_training)
    known = fit_known_faces(maps, torch.from_numpy(families)) if maps else None
    return limits | ({} if known is None else {"max_distance": MAX_DISTANCE}), known


def _families(shards: ShardSet, ids: np.ndarray) -> np.ndarray:
    """(N,) a number for the family of each of the samples `ids`; a sample without one is its video's."""
    family, clip = (shards.rows[name].take(pa.array(ids)).to_pylist() for name in ("family", "clip"))
    return np.unique([a or b for a, b in zip(family, clip, strict=True)], return_inverse=True)[1]


def _spread(families: np.ndarray, count: int) -> np.ndarray:
    """`count` of the samples 0…N-1 or fewer, sorted: as many of each family, spread evenly over it."""
    numbers = np.unique(families)
    numbers = numbers[np.unique(np.linspace(0, len(numbers) - 1, min(count, len(numbers))).astype(np.int64))]
    each = count // len(numbers)
    chosen = []
    for own in (np.flatnonzero(families == number) for number in numbers):
        chosen.append(own[np.unique(np.linspace(0, len(own) - 1, min(each, len(own))).astype(np.int64))])
    return np.sort(np.concatenate(chosen))


def _look(bundle: Bundle, shards: ShardSet, ids: np.ndarray, workers: int) -> tuple[torch.Tensor, np.ndarray]:
    """The detector's hidden layer (N, H) and the sharpness (N,) of the samples `ids`."""
    size = bundle.faces.size
    hidden, sharp = [], []
    was_training = bundle.detector.training
    with eval_batches(shards, ids, BATCH_SIZE, workers=workers, size=size, mri=False) as batches:
        for batch in batches:
            hidden.append(bundle.examine(batch.face, BATCH_SIZE)[1])
            sharp += [sharpness(face) for face in batch.face.cpu().permute(0, 2, 3, 1).contiguous().numpy()]
    bundle.detector.train(was_training)
    return torch.cat(hidden), np.array(sharp)
