"""The grid search of FAKE_FRAME_THRESHOLD and FAKE_FRACTION (MRI-GAN, section 5, Table 2), on validation only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mrigan.errors import ConfigError, InputError
from mrigan.evaluation.metrics import one_class
from mrigan.evaluation.schema import VIDEO, group_codes
from mrigan.evaluation.videos import DEFAULT_THRESHOLDS, enough

FRAME_GRID = (0.5, 0.55, 0.6, 0.7, 0.8, 0.9)
FRACTION_GRID = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)


@dataclass(frozen=True)
class Grid:
    """The results of all settings, frame thresholds along the first axis; Table 2 is the best setting.

    Attributes:
        tpr, tnr: (6, 7) rates of the videos with a face; NaN if a class is missing (see `reason`).
        videos: the number of videos with a face. splits: their names.
        fakes: the number of fakes. fake_families, real_families: the number of families of each class.
    """

    tpr: NDArray[np.float64]
    tnr: NDArray[np.float64]
    videos: int
    splits: str
    reason: str
    fakes: int = 0
    fake_families: int = 0
    real_families: int = 0

    def counts(self, i: int, j: int) -> dict[str, int]:
        """The counts behind the rates of one setting: `fakes`, `fakes_found`, `fake_families`, `reals`,
        `reals_called_fake`, `real_families` (videos, or families)."""
        reals = self.videos - self.fakes
        return {
            "fakes": self.fakes,
            "fakes_found": round(self.tpr[i, j] * self.fakes),
            "fake_families": self.fake_families,
            "reals": reals,
            "reals_called_fake": round((1 - self.tnr[i, j]) * reals),
            "real_families": self.real_families,
        }

    @property
    def balanced_accuracy(self) -> NDArray[np.float64]:
        """(6, 7) the mean of TPR and TNR."""
        return (self.tpr + self.tnr) / 2

    def to_dict(self) -> dict[str, Any]:
        """As in metrics.json."""
        rates = {name: getattr(self, name).tolist() for name in ("tpr", "tnr", "balanced_accuracy")}
        return {
            "frame": [*FRAME_GRID],
            "fraction": [*FRACTION_GRID],
            "videos": self.videos,
            "splits": self.splits,
            **rates,
        }


def threshold_grid(scores: pa.Table) -> Grid:
    """All 42 settings at once, on validation scores of one model.

    Raises:
        InputError: test rows, or several models.
    """
    if pc.any(pc.equal(pc.utf8_lower(scores["split"]), "test")).as_py():
        raise InputError(
            "thresholds must not be searched on test scores", fix="give validation scores, or the thresholds themselves"
        )
    models = pc.unique(scores["model"]).to_pylist()
    if len(models) > 1:
        what = f"thresholds belong to one model, but these scores are of {', '.join(sorted(models))}"
        raise InputError(what, fix="give the scores of one model")
    codes, first = group_codes(scores, VIDEO)
    labels = scores["label"].to_numpy()[first].astype(bool)
    face = scores["frame"].to_numpy() >= 0
    probs = scores["prob"].fill_null(0).to_numpy()
    faces = np.bincount(codes[face], minlength=len(first))
    called = np.stack([np.bincount(codes[face & (probs > t)], minlength=len(first)) for t in FRAME_GRID])  # (6, V)
    predicted = faces > 0
    labels, faces, called = labels[predicted], faces[predicted], called[:, predicted]
    splits = ", ".join(sorted(pc.unique(scores["split"]).to_pylist()))
    reason = one_class(labels)
    shape = (len(FRAME_GRID), len(FRACTION_GRID))
    if reason:
        return Grid(np.full(shape, np.nan), np.full(shape, np.nan), len(labels), splits, reason)
    fake = enough(called[:, None, :], faces, np.array(FRACTION_GRID)[None, :, None])  # (6, 7, V)
    tpr, tnr = fake[..., labels].mean(-1), 1 - fake[..., ~labels].mean(-1)
    has_families = "family" in scores.column_names  # an unchecked table may lack it
    names = scores["family"].take(first[predicted]).to_pylist() if has_families else [""] * len(labels)
    families = np.array([name or f"video {i}" for i, name in enumerate(names)])
    of_fakes, of_reals = (len(set(families[rows])) for rows in (labels, ~labels))
    return Grid(tpr, tnr, len(labels), splits, "", int(labels.sum()), of_fakes, of_reals)


def refuse_shared_families(validation: pa.Table, scores: pa.Table) -> None:
    """Raise InputError if a family in the validation rows is also in another split."""
    searched = _families(validation)
    splits = pa.array(sorted(set(pc.unique(validation["split"]).to_pylist())))
    others = scores.filter(pc.invert(pc.is_in(scores["split"], splits)))
    shared = sorted(searched & _families(others))
    if shared:
        raise InputError(
            f"{len(shared)} families of the validation scores are also in another split: {', '.join(shared[:3])}",
            fix="split again by family (`mrigan catalog scan`, `audit`), or give --thresholds FRAME,FRACTION",
        )


def _families(scores: pa.Table) -> set[str]:
    """The named families; a name that is not a catalog id is unique only within its data set."""
    if "family" not in scores.column_names:
        return set()
    codes = scores.select(["dataset", "family"]).group_by(["dataset", "family"]).aggregate([])
    pairs = zip(codes["dataset"].to_pylist(), codes["family"].to_pylist(), strict=True)
    return {family if "/" in family else f"{dataset}: {family}" for dataset, family in pairs if family}


def search_thresholds(scores: pa.Table) -> dict[str, Any]:
    """The setting of the grid with the best balanced accuracy over videos.

    Of several equally good settings, the one nearest to their mean (in steps of the grid) is chosen, because it is the
    most robust if the scores shift. A remaining tie goes to the lower frame threshold, then to the lower fraction.

    Args:
        scores: a checked scores table of one model, validation rows only. Videos without a face are ignored.

    Returns:
        `frame`, `fraction`, `balanced_accuracy`, `tpr`, `tnr`, `videos` (with a face), `counts` (see `Grid.counts`),
        `ties` (the number of equally good settings), `source`. The defaults (.5, .5), with the `reason`, if no setting
        is better than one verdict for all videos, or if there is only one class; then the metrics are None.

    Raises:
        InputError: test rows, or several models.
    """
    grid = threshold_grid(scores)
    if grid.reason:
        return {
            **DEFAULT_THRESHOLDS,
            "balanced_accuracy": None,
            "tpr": None,
            "tnr": None,
            "videos": grid.videos,
            "counts": None,
            "ties": 0,
            "source": f"default: the {grid.splits} scores cannot be searched",
            "reason": grid.reason,
        }
    balanced = grid.balanced_accuracy
    if balanced.max() <= 0.5 + 1e-12:  # as good as one verdict for all videos
        i, j = FRAME_GRID.index(DEFAULT_THRESHOLDS["frame"]), FRACTION_GRID.index(DEFAULT_THRESHOLDS["fraction"])
        ties, source = 0, f"default: no setting beats chance on {grid.videos} {grid.splits} videos"
        why = {"reason": "no setting is better than calling all videos real, or all fake"}
    else:
        best = np.argwhere(np.isclose(balanced, balanced.max(), rtol=0, atol=1e-12))  # (K, 2), frame first
        i, j = best[np.argmin(((best - best.mean(0)) ** 2).sum(1).round(9))]
        ties, source, why = len(best), f"searched on {grid.videos} {grid.splits} videos", {}
    return {
        "frame": FRAME_GRID[i],
        "fraction": FRACTION_GRID[j],
        "balanced_accuracy": float(balanced[i, j]),
        "tpr": float(grid.tpr[i, j]),
        "tnr": float(grid.tnr[i, j]),
        "videos": grid.videos,
        "counts": grid.counts(i, j),
        "ties": ties,
        "source": source,
        **why,
    }


def parse_thresholds(text: str) -> dict[str, Any]:
    """`"0.8,0.3"` as `{"frame": 0.8, "fraction": 0.3, "source": "given"}`.

    Raises:
        ConfigError: not two such numbers, 0 ≤ FRAME < 1 and 0 < FRACTION ≤ 1: beyond, all videos get one verdict.
    """
    try:
        frame, fraction = (float(part) for part in text.split(","))
    except ValueError:
        frame = fraction = -1.0
    if not (0 <= frame < 1 and 0 < fraction <= 1):
        what = f"{text!r} is not FRAME,FRACTION, from 0 to below 1 and from above 0 to 1"
        raise ConfigError(what, where="--thresholds", fix="for example 0.8,0.3")
    return {"frame": frame, "fraction": fraction, "source": "given"}
