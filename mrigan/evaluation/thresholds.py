"""The grid search for FAKE_FRAME_THRESHOLD and FAKE_FRACTION (MRI-GAN, section 5, Table 2), on validation only."""

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
    """Every setting of the search, frame thresholds along the first axis: Table 2 comes from its best.

    Attributes:
        tpr, tnr: (6, 7) rates of the videos that have a face; NaN where `reason` says that a class is missing.
        videos: with a face. splits: their names.
        fakes: of the videos. fake_families, real_families: how many independent ones each class has.
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
        """What the rates of one setting are made of: `fakes`, `fakes_found`, `fake_families`, `reals`,
        `reals_called_fake`, `real_families`; videos, and families of which they come."""
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
        """(6, 7) mean of the two rates."""
        return (self.tpr + self.tnr) / 2

    def to_dict(self) -> dict[str, Any]:
        """As metrics.json keeps it."""
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
            "thresholds are never searched on test scores", fix="give validation scores, or the thresholds themselves"
        )
    models = pc.unique(scores["model"]).to_pylist()
    if len(models) > 1:
        raise InputError(f"thresholds belong to one model, and these scores are of {', '.join(sorted(models))}")
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
    known = "family" in scores.column_names  # a table that nobody has checked may lack it
    names = scores["family"].take(first[predicted]).to_pylist() if known else [""] * len(labels)
    families = np.array([name or f"video {i}" for i, name in enumerate(names)])
    of_fakes, of_reals = (len(set(families[rows])) for rows in (labels, ~labels))
    return Grid(tpr, tnr, len(labels), splits, "", int(labels.sum()), of_fakes, of_reals)


def refuse_shared_families(validation: pa.Table, scores: pa.Table) -> None:
    """Raise InputError where thresholds would be searched on families that are judged by them in another split."""
    searched = _families(validation)
    splits = pa.array(sorted(set(pc.unique(validation["split"]).to_pylist())))
    others = scores.filter(pc.invert(pc.is_in(scores["split"], splits)))
    shared = sorted(searched & _families(others))
    if shared:
        raise InputError(
            f"thresholds would be searched on {len(shared)} families that are in another split too: "
            f"{', '.join(shared[:3])}",
            fix="split again by family (`mrigan catalog scan`, `audit`), or give --thresholds FRAME,FRACTION",
        )


def _families(scores: pa.Table) -> set[str]:
    """The known families; a name that is no catalog's id means something within its data set only."""
    if "family" not in scores.column_names:
        return set()
    codes = scores.select(["dataset", "family"]).group_by(["dataset", "family"]).aggregate([])
    pairs = zip(codes["dataset"].to_pylist(), codes["family"].to_pylist(), strict=True)
    return {family if "/" in family else f"{dataset}: {family}" for dataset, family in pairs if family}


def search_thresholds(scores: pa.Table) -> dict[str, Any]:
    """The setting of the grid with the best balanced accuracy over videos.

    Of several equally good settings the one nearest to the middle of them all, in steps of the grid, is taken: it is
    the last to turn bad when the scores shift. A remaining tie goes to the lower frame threshold, then the lower
    fraction.

    Args:
        scores: a checked scores table of one model, validation rows only. Videos without a face have no say.

    Returns:
        `frame`, `fraction`, `balanced_accuracy`, `tpr`, `tnr`, `videos` (with a face), `counts` (see `Grid.counts`),
        `ties` (settings equally good), `source`. The defaults (.5, .5) come back, with `reason` saying why, where no
        setting beats calling all videos alike, and where one class only is there: nothing can then be searched, and
        the figures are None.

    Raises:
        InputError: test rows, or several models.
    """
    found = threshold_grid(scores)
    if found.reason:
        return {
            **DEFAULT_THRESHOLDS,
            "balanced_accuracy": None,
            "tpr": None,
            "tnr": None,
            "videos": found.videos,
            "counts": None,
            "ties": 0,
            "source": f"default: the {found.splits} scores cannot be searched",
            "reason": found.reason,
        }
    balanced = found.balanced_accuracy
    if balanced.max() <= 0.5 + 1e-12:  # as good as calling every video real, or every one fake
        i, j = (grid.index(DEFAULT_THRESHOLDS[n]) for grid, n in ((FRAME_GRID, "frame"), (FRACTION_GRID, "fraction")))
        ties, source = 0, f"default: no setting beats chance on {found.videos} {found.splits} videos"
        why = {"reason": "no setting does better than calling all videos real, or all fake"}
    else:
        best = np.argwhere(np.isclose(balanced, balanced.max(), rtol=0, atol=1e-12))  # (K, 2), frame first
        i, j = best[np.argmin(((best - best.mean(0)) ** 2).sum(1).round(9))]
        ties, source, why = len(best), f"searched on {found.videos} {found.splits} videos", {}
    return {
        "frame": FRAME_GRID[i],
        "fraction": FRACTION_GRID[j],
        "balanced_accuracy": float(balanced[i, j]),
        "tpr": float(found.tpr[i, j]),
        "tnr": float(found.tnr[i, j]),
        "videos": found.videos,
        "counts": found.counts(i, j),
        "ties": ties,
        "source": source,
        **why,
    }


def parse_thresholds(text: str) -> dict[str, Any]:
    """`"0.8,0.3"` as `{"frame": 0.8, "fraction": 0.3, "source": "given"}`.

    Raises:
        ConfigError: not two numbers within 0..1.
    """
    try:
        frame, fraction = (float(part) for part in text.split(","))
    except ValueError:
        frame = fraction = -1.0
    if not (0 <= frame <= 1 and 0 <= fraction <= 1):
        raise ConfigError(
            f"{text!r} is not FRAME,FRACTION, both within 0..1", where="--thresholds", fix="for example 0.8,0.3"
        )
    return {"frame": frame, "fraction": fraction, "source": "given"}
