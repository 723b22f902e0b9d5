"""Compare two models by DeLong's test on the videos that both have judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

from mrigan.errors import InputError
from mrigan.evaluation.intervals import delong
from mrigan.evaluation.results import Result
from mrigan.evaluation.schema import VIDEO


def compare(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Compare every pair of models of one split by the AUC of their videos' mean probabilities.

    Returns:
        For each pair `{"split", "first", "second", "videos", "auc": [a, b], "difference", "interval", "p"}`; with too
        few common videos `p` is None and `undefined` is the reason. If the scores name families, the test uses them as
        units, because videos of one family are not independent. Otherwise each video is a unit, and p may be too small.
    """
    rows = []
    for a, b in combinations(results, 2):
        first, second = _scored(a), _scored(b)
        both = sorted(first.keys() & second.keys())
        row: dict[str, Any] = {"split": a.split, "first": a.model, "second": b.model, "videos": len(both)}
        try:
            families = [first[v][2] for v in both]
            numbers = {family: number for number, family in enumerate(dict.fromkeys(families))}
            row |= asdict(
                delong(
                    [first[v][0] for v in both],
                    [first[v][1] for v in both],
                    [second[v][1] for v in both],
                    [numbers[family] for family in families] if all(name for _, name in families) else None,
                )
            )
        except InputError as error:
            row |= {"auc": None, "difference": None, "interval": None, "p": None, "undefined": error.what}
        rows.append(row)
    return rows


def _scored(result: Result) -> dict[tuple[str, ...], tuple[int, float, tuple[str, str]]]:
    """Video → (label, mean probability, (data set, family)), for the videos with a face."""
    columns = [result.videos[name].to_pylist() for name in (*VIDEO, "label", "prob", "family")]
    return {
        tuple(row[:4]): (row[4], row[5], (row[0], row[6])) for row in zip(*columns, strict=True) if row[5] is not None
    }
