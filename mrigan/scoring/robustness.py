"""`mrigan evaluate --robustness`: every model on the faces of shards under ten corruptions of five severities."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from mrigan import __version__
from mrigan.config.model_card import given
from mrigan.data import ShardSet, check_separate
from mrigan.data.decode import decode
from mrigan.engine.distributed import choose_device
from mrigan.engine.seeding import seed_of
from mrigan.errors import InputError
from mrigan.evaluation.robustness import CLEAN, SCHEMA, write_robustness
from mrigan.evaluation.schema import MRI, OPTIONAL, VIDEO
from mrigan.imaging.arrays import resize
from mrigan.imaging.corruptions import CORRUPTIONS, corrupt
from mrigan.models.bundle import Bundle, load_bundle
from mrigan.progress import bar
from mrigan.scoring.evaluate import model_names, own_thresholds
from mrigan.scoring.options import ScoringOptions
from mrigan.scoring.parts import Parts
from mrigan.tracking import resolve

log = logging.getLogger(__name__)

PARTS = "robustness-parts"
SEVERITIES = range(1, 6)
BATCH_SIZE = 64


def evaluate_robustness(
    models: Sequence[str | Path],
    shards: Sequence[str | Path],
    out: str | Path,
    options: ScoringOptions = ScoringOptions(),  # noqa: B008 (frozen)
    *,
    thresholds: Mapping[str, Any] | None = None,
    faces: int = 500,
    corruptions: Sequence[str] = tuple(CORRUPTIONS),
) -> list[dict[str, Any]]:
    """Score every model on whole videos of a split, as they are and under every corruption and severity, and write the
    report (see `mrigan.evaluation.robustness.write_robustness`).

    Finished scores are kept in `out`/robustness-parts until the report is written: the same call continues an
    interrupted one, and starts from the beginning if a model, the shards or `faces` have changed.

    Args:
        faces: about so many, half of them fake; whole videos, drawn by the hash of their ids: the same every time.

    Raises:
        InputError: only one class is there. ModelError, ShardError: a model or a shard folder cannot be used.
    """
    names = model_names(models)
    device = choose_device(options.device)
    bundles = {n: load_bundle(resolve(m)).to(device) for n, m in zip(names, models, strict=True)}
    opened = ShardSet.open(list(shards), options.split, "any")
    check_separate(opened.folders)
    videos = _choose(opened, faces)
    conditions = [(CLEAN, 0), *((name, severity) for name in corruptions for severity in SEVERITIES)]
    parts = Parts(Path(out) / PARTS, _identity(bundles, opened, faces, device))
    tables = {condition: parts.load(_name(*condition)) for condition in conditions}
    missing = [condition for condition, table in tables.items() if table is None]
    if len(missing) < len(conditions):
        log.info(
            "%d of %d corruptions and severities are scored already", len(conditions) - len(missing), len(conditions)
        )
    with bar("scoring degraded faces", sum(map(len, videos)) * len(missing), "faces") as advance:
        for name, severity in missing:
            scored = []
            for ids in videos:
                scored += _score_video(opened, ids, bundles, name, severity)
                advance(len(ids))
            tables[name, severity] = pa.concat_tables(scored)
            parts.save(_name(name, severity), tables[name, severity])
    limits = {name: dict(thresholds or own_thresholds(bundle)) for name, bundle in bundles.items()}
    levels = {name: (CORRUPTIONS[name].levels, CORRUPTIONS[name].unit) for name in corruptions}
    rows = write_robustness(pa.concat_tables(list(tables.values())), limits, levels, Path(out))
    parts.clear()
    return rows


def _name(corruption: str, severity: int) -> str:
    return f"{corruption}-{severity}"


def _identity(bundles: Mapping[str, Bundle], shards: ShardSet, faces: int, device: Any) -> dict[str, Any]:
    """All that the scores depend on: the models' files, the samples, how many are drawn, and the program."""
    return {
        "mrigan": __version__,
        "models": {name: given(bundle.card)["files"] for name, bundle in bundles.items()},
        "columns": SCHEMA.names,
        "shards": shards.hash,
        "split": shards.split,
        "faces": faces,
        "device": torch.device(device).type,
    }


def _score_video(
    shards: ShardSet, ids: np.ndarray, bundles: Mapping[str, Bundle], name: str, severity: int
) -> list[pa.Table]:
    """The scores of a video's degraded faces, a table per model."""
    clips = [(part, _degraded(shards, part, _read(shards, part), name, severity)) for part in _persons(shards, ids)]
    order = np.concatenate([part for part, _ in clips])
    pictures = [face for _, clip in clips for face in clip]
    return [
        _labelled(_scores(shards, order, pictures, bundle), model=model, corruption=name, severity=severity)
        for model, bundle in bundles.items()
    ]


def _choose(shards: ShardSet, faces: int) -> list[np.ndarray]:
    """The ids of whole videos, reals and fakes in turn, until about `faces` are together."""
    names = ["/".join(video) for video in zip(*(shards.rows[n].to_pylist() for n in VIDEO), strict=True)]
    _, codes = np.unique(names, return_inverse=True)
    labels, order = np.asarray(shards.labels), np.argsort(codes, kind="stable")
    videos = np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)
    if not labels.any() or labels.all():
        raise InputError(f"only one class is in the {shards.split} split", fix="robustness needs reals and fakes")
    videos.sort(key=lambda ids: seed_of("robustness", names[ids[0]]))
    chosen: list[np.ndarray] = []
    for label in (0, 1):
        seen = 0
        for ids in (v for v in videos if labels[v[0]] == label):
            if seen < faces / 2:
                chosen.append(ids)
                seen += len(ids)
    return chosen


def _persons(shards: ShardSet, ids: np.ndarray) -> Iterator[np.ndarray]:
    """The ids of a video person by person, in the order of time."""
    person, frame = (shards.rows[name].take(pa.array(ids)).to_numpy() for name in ("person", "frame"))
    for one in np.unique(person):
        chosen = person == one
        yield ids[chosen][np.argsort(frame[chosen])]


def _read(shards: ShardSet, ids: np.ndarray) -> list[np.ndarray]:
    return [np.asarray(decode(shards.read(int(i))[0])) for i in ids]


def _degraded(shards: ShardSet, ids: np.ndarray, clip: list[np.ndarray], name: str, severity: int) -> list[np.ndarray]:
    if name == CLEAN:
        return clip
    rng = np.random.default_rng(seed_of(name, severity, shards.key(int(ids[0]))))
    return corrupt(clip, name, severity, rng)


def _scores(shards: ShardSet, ids: np.ndarray, faces: list[np.ndarray], bundle: Bundle) -> dict[str, Any]:
    """The columns of a scores table of these faces, without the model's name."""
    size = bundle.faces.size
    pictures = np.stack([resize(face, (size, size), "linear") for face in faces]).transpose(0, 3, 1, 2)
    logits = bundle.score(torch.from_numpy(np.ascontiguousarray(pictures)), BATCH_SIZE).double()
    names, at = (*VIDEO, "split", "person", "frame", "time", *OPTIONAL.names), pa.array(ids)
    columns = {name: shards.rows[name].take(at).combine_chunks() for name in names}
    labels = np.asarray(shards.labels)[ids]
    scored = {"logit": logits.numpy(), "prob": logits.sigmoid().numpy(), MRI.name: [None] * len(ids)}
    return columns | {"label": labels, **scored}


def _labelled(columns: dict[str, Any], **labels: Any) -> pa.Table:
    count = len(columns["label"])
    columns = columns | {name: [value] * count for name, value in labels.items()}
    return pa.table({field.name: columns[field.name] for field in SCHEMA}).cast(SCHEMA)
