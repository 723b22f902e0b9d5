"""Verdicts on the real videos of shards, by the same rule and limits as on files; their faces are cut already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from mrigan.catalog.clips import clip_id
from mrigan.data import ShardSet, check_separate, eval_batches
from mrigan.detect.about import about_model
from mrigan.detect.decide import Criteria, decide
from mrigan.detect.findings import Findings
from mrigan.detect.scorer import require_finite
from mrigan.engine.distributed import choose_device
from mrigan.evaluation.false_alarms import UNREADABLE, RealVerdict
from mrigan.evaluation.schema import VIDEO
from mrigan.imaging.quality import colour, sharpness
from mrigan.models.bundle import Bundle, load_bundle
from mrigan.models.ensemble import mean_logit
from mrigan.progress import bar
from mrigan.scoring.options import ScoringOptions
from mrigan.scoring.shards import faceless_videos
from mrigan.video import Face
from mrigan.video.stills import PICTURE_SUFFIXES

COLUMNS = [*VIDEO, "clip", "person", "frame", "time", "family", "group"]


def reals_of_shards(model: Path, name: str, folders: Sequence[Path], options: ScoringOptions) -> list[RealVerdict]:
    """The verdicts on the reals of a split; a source is a data set in one compression.

    Raises:
        ModelError, ShardError: the model or a folder cannot be used, or the split has no samples.
    """
    bundle = load_bundle(model).to(choose_device(options.device))
    shards = ShardSet.open(list(folders), options.split, "any")
    check_separate(shards.folders)
    about = about_model(bundle, name, bundle.faces)
    criteria = Criteria.of(bundle.card, "", about["validation"])
    reals: list[RealVerdict] = []
    for clip, (row, findings) in _findings(bundle, shards, options).items():
        picture = row["name"].lower().endswith(PICTURE_SUFFIXES)
        verdict = decide(clip, None, findings, criteria, picture=picture, config=bundle.faces, model=about)
        source = f"{row['dataset']} {row['compression']}".strip()
        reason, probability = verdict.reason or "", verdict.probability
        reals.append(RealVerdict(source, clip, verdict.verdict, reason, probability, row["family"], row["group"]))
    return reals


def _findings(
    bundle: Bundle, shards: ShardSet, options: ScoringOptions
) -> dict[str, tuple[Mapping[str, Any], Findings]]:
    """By clip, a row of `COLUMNS` and what is known of its faces; also of clips without a face."""
    ids = np.flatnonzero(shards.labels == 0)
    each, measures = _look(bundle, shards, ids, options)
    logits = mean_logit(torch.from_numpy(each)).numpy()
    rows = shards.rows.select(COLUMNS).take(pa.array(ids)).to_pylist()
    if "face_px" in shards.rows.column_names:  # sets of an older version do not tell
        measures["side"] = shards.rows["face_px"].take(pa.array(ids)).to_numpy()
    of_clip: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        of_clip.setdefault(row["clip"], []).append(place)
    found: dict[str, tuple[Mapping[str, Any], Findings]] = {}
    for clip, places in of_clip.items():
        faces = [Face(rows[i]["frame"], rows[i]["time"], rows[i]["person"], _box(measures, i), 1.0, ()) for i in places]
        seen = {name: values[places] for name, values in measures.items()}
        frames = len({face.frame for face in faces})
        networks = each[places] if each.shape[1] > 1 else None
        findings = Findings(faces, logits[places].tolist(), seen, frames=frames, each=networks)
        found[clip] = rows[places[0]], findings
    for video, row in faceless_videos(shards).items():
        if row["label"] == "real":
            error = row["reason"] if row["reason"].startswith(UNREADABLE) else ""
            found[clip_id(*video)] = row, Findings(frames=int(not error), error=error)
    return found


def _box(measures: Mapping[str, np.ndarray], i: int) -> tuple[float, float, float, float]:
    """A box of the face's size, where that is known; a verdict on shards is not shown with its frames."""
    side = float(measures["side"][i]) if "side" in measures else 0.0
    return 0.0, 0.0, side, side


def _look(
    bundle: Bundle, shards: ShardSet, ids: np.ndarray, options: ScoringOptions
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Logits (N, K) of the samples `ids` by each network, and their measures as in `Findings`."""
    logits, distances, sharp, colours = [], [], [], []
    size = bundle.faces.size
    batches = eval_batches(shards, ids, options.batch_size, workers=options.workers, size=size, mri=False)
    with batches, bar("scoring real faces", len(ids), "faces") as advance:
        for batch in batches:
            scored, far = bundle.weigh(batch.face)
            require_finite(scored)
            logits.append(scored.double().numpy())
            if far is not None:
                require_finite(far)
                distances.append(far.double().numpy())
            for face in batch.face.cpu().permute(0, 2, 3, 1).contiguous().numpy():
                sharp.append(sharpness(face))
                colours.append(colour(face))
            advance(len(batch))
    measures = {"sharpness": np.array(sharp), "colour": np.array(colours)}
    if distances:
        measures["distance"] = np.concatenate(distances)
    return np.concatenate(logits) if logits else np.zeros((0, 1)), measures
