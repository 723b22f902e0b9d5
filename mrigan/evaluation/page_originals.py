"""The parts of the evaluation page about fakes and their own originals, and about AUC across data sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mrigan.evaluation.originals import ALL, MACRO, OF_MRI, OF_PROB, SET
from mrigan.evaluation.page_cells import RISING, cell, digits, marked_row
from mrigan.evaluation.results import Result

NAMES = {
    "pair_accuracy": "Above original",
    "auc": "AUC",
    "mri_pair_accuracy": "MRI above original",
    "mri_auc": "AUC of MRI",
    "mri_fake": "MRI of fakes",
    "mri_original": "MRI of originals",
    "mri_ratio": "Ratio",
}
SUMS = {MACRO: "Mean of the rows above", ALL: "All fakes"}
MAIN = (  # rows of the main table
    ("Fakes above their originals", ALL, "pair_accuracy"),
    ("AUC against originals, mean", MACRO, "auc"),
    ("AUC of the MRI against originals, mean", MACRO, "mri_auc"),
)


def summary_rows(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Rows of the table of videos: metrics against originals, and the AUC across data sets."""
    rows = [(name, [_of(r.originals, key, metric) for r in results]) for name, key, metric in MAIN]
    rows.append(("AUC across data sets, mean", [_across(r) for r in results]))
    return [
        marked_row(
            name,
            [cell(*pair, "" if pair[0] is not None else "not measured") for pair in pairs],
            [value for value, _ in pairs],
            RISING,
        )
        for name, pairs in rows
        if any(value is not None for value, _ in pairs)
    ]


def originals_table(results: Sequence[Result]) -> dict[str, Any] | None:
    """Fakes against their own originals: a row per set and model, then the sums. None if there is no pair."""
    found = [(result.model, result.originals) for result in results if result.originals]
    if not found:
        return None
    with_mri = any("mri_auc" in originals[ALL] for _, originals in found)
    metrics = (*OF_PROB, *(OF_MRI if with_mri else ()))
    sets = sorted({tuple(row[key] for key in SET) for _, originals in found for row in originals["sets"]})
    rows = [
        _row(model, row, list(of_set), metrics)
        for of_set in sets
        for model, originals in found
        for row in originals["sets"]
        if tuple(row[key] for key in SET) == of_set
    ]
    for key, name in SUMS.items() if len(sets) > 1 else ():
        rows += [_row(model, originals[key], [], metrics) | {"sum": name} for model, originals in found]
    notes = dict.fromkeys(line for _, originals in found for line in _notes(originals))
    return {"measures": [NAMES[key] for key in metrics], "rows": rows, "with_mri": with_mri, "notes": list(notes)}


def cross_auc_lines(results: Sequence[Result]) -> list[str]:
    """The mean AUC within and across data sets of each model, in a sentence."""
    lines = []
    for result in results:
        if result.cross_auc:
            within, across = result.cross_auc["within"], result.cross_auc["across"]
            of_own = f", within them {_words(within)}" if within else ""
            lines.append(f"{result.model}: AUC across data sets {_words(across)}{of_own}.")
    return lines


def _words(mean: Mapping[str, Any]) -> str:
    interval = " (95 %: {:.2f} to {:.2f})".format(*mean["interval"]) if mean["interval"] else ""
    return f"{digits(mean['auc'])}{interval}"


def _row(model: str, figures: Mapping[str, Any], names: list[str], metrics: Sequence[str]) -> dict[str, Any]:
    reasons = figures["undefined"] | {key: "this model draws no MRI" for key in metrics if key not in figures}
    return {
        "names": names,
        "sum": "",
        "model": model,
        "fakes": figures["fakes"],
        "families": figures["families"],
        "cells": [cell(figures.get(k), figures["intervals"].get(k), reasons.get(k, "")) for k in metrics],
    }


def _notes(originals: Mapping[str, Any]) -> list[str]:
    lines = []
    if count := originals["without_original"]:
        lines.append(f"Fakes that are not in this table, because their original is not scored or not known: {count:,}.")
    if originals["missing"]:
        exact = "Intervals of shares are exact, and each family counts once in them"
        lines.append(f"{exact}. The other metrics have no interval: {originals['missing']}.")
    return lines


def _of(originals: Mapping[str, Any] | None, key: str, metric: str) -> tuple[float | None, Sequence[float] | None]:
    figures = (originals or {}).get(key, {})
    return figures.get(metric), figures.get("intervals", {}).get(metric)


def _across(result: Result) -> tuple[float | None, Sequence[float] | None]:
    mean = (result.cross_auc or {}).get("across", {})
    return mean.get("auc"), mean.get("interval")
