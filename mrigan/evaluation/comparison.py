"""Do two systems differ? DeLong's test on the videos that both have judged."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

from mrigan.errors import InputError
from mrigan.evaluation.intervals import delong
from mrigan.evaluation.results import Result
from mrigan.evaluation.schema import VIDEO


def compare(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Every pair of models of one split, by the AUC of their videos' mean probabilities.

    Returns:
        `{"split", "first", "second", "videos", "auc": [a, b], "difference", "interval", "p"}` a pair; `p` None and
        `undefined` with the reason where too few videos are common. Videos of one family are not independent: where
        the scores name families, these are the units; else each video is, and p is perhaps too small.
    """
    rows = []
    for a, b in combinations(results, 2):
        mine, theirs = _scored(a), _scored(b)
        both = sorted(mine.keys() & theirs.keys())
        row: dict[str, Any] = {"split": a.split, "first": a.model, "second": b.model, "videos": len(both)}
        try:
            families = [mine[v][2] for v in both]
            numbers = {family: number for number, family in enumerate(dict.fromkeys(families))}
            found = delong(
                [mine[v][0] for v in both],
                [mine[v][1] for v in both],
                [theirs[v][1] for v in both],
                [numbers[family] for family in families] if all(name for _, name in families) else None,
            )
        except InputError as error:
            row |= {"auc": None, "difference": None, "interval": None, "p": None, "undefined": error.what}
        else:
            row |= found.as_dict()
        rows.append(row)
    return rows


def _scored(result: Result) -> dict[tuple[str, ...], tuple[int, float, tuple[str, str]]]:
    """(label, mean probability, (data set, family)) of each video that has a face."""
    columns = [result.videos[name].to_pylist() for name in (*VIDEO, "label", "prob", "family")]
    return {
        tuple(row[:4]): (row[4], row[5], (row[0], row[6])) for row in zip(*columns, strict=True) if row[5] is not None
    }
