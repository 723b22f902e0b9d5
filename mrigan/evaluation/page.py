"""The page of an evaluation: models side by side, figures, a table by source, and the videos that went wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mrigan.evaluation.page_tables import (
    comparison_lines,
    data_set_table,
    digits,
    main_tables,
    person_rows,
    source_rows,
    strategy_rows,
)
from mrigan.evaluation.results import VALIDATION, Result
from mrigan.evaluation.schema import VIDEO
from mrigan.evaluation.terminal import training_lines
from mrigan.text import page_text

FEW = 30  # videos of a class; below, a figure moves by several points with one video
WORST = 10  # videos listed


def templates() -> Environment:
    """The templates of this room's pages; whatever they are given is shown as text."""
    return Environment(
        loader=PackageLoader("mrigan.evaluation", "."),
        autoescape=True,
        finalize=page_text,
        undefined=StrictUndefined,
        trim_blocks=True,
    )


def render(
    by_split: Mapping[str, Sequence[Result]],
    figures: Mapping[str, Mapping[str, str]],
    left_out: Mapping[str, int],
    comparisons: Sequence[Mapping[str, Any]],
    training: Mapping[str, Mapping[str, Mapping[str, str]]],
) -> str:
    """The page as HTML.

    Args:
        by_split: the results, in the order of the page.
        figures: SVG elements by split and name (see `mrigan.evaluation.report.FIGURES`).
        left_out: videos that were never put before a model, by reason.
        comparisons: see `mrigan.evaluation.comparison.compare`.
        training: see `mrigan.evaluation.evaluate`.
    """
    environment = templates()
    sections = [
        {
            "split": split,
            "results": results,
            "warnings": _warnings(results),
            "training": training_lines((r.model, training[r.model][split]) for r in results),
            "tables": main_tables(results),
            "figures": {name: Markup(svg) for name, svg in figures[split].items()},
            "groups": source_rows(results),
            "data_sets": data_set_table(results),
            "strategies": strategy_rows(results),
            "persons": person_rows(results),
            "comparisons": comparison_lines([pair for pair in comparisons if pair["split"] == split]),
            "drawn": _drawn(results[0]),
            "mistakes": [listing for result in results for listing in _mistakes(result)],
        }
        for split, results in by_split.items()
    ]
    everyone = [result for results in by_split.values() for result in results]
    models = list(dict.fromkeys(result.model for result in everyone))
    return environment.get_template("page.html").render(
        models=models, sections=sections, summary=_summary(by_split, left_out)
    )


def _summary(by_split: Mapping[str, Sequence[Result]], left_out: Mapping[str, int]) -> list[str]:
    lines = []
    for split, results in by_split.items():
        video, faces = results[0].video, results[0].frame["n"]
        sources = sorted(set(results[0].videos["dataset"].to_pylist()))
        lines.append(
            f"{split.capitalize() or 'All'}: {video['n']:,} videos ({video['real']:,} real, {video['fake']:,} fake), "
            f"{faces:,} faces, from {', '.join(sources)}."
        )
    if left_out:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(left_out.items()))
        lines.append(f"Not in here, because the shards leave them out: {reasons}.")
    return lines


def _warnings(results: Sequence[Result]) -> list[str]:
    warnings = []
    few = min(min(r.video["real"], r.video["fake"]) for r in results)
    if few < FEW:
        warnings.append(
            f"Only {few} video{'s' * (few != 1)} of one class: one more or less moves these figures by several points."
        )
    if len({(r.video["n"], r.frame["n"]) for r in results}) > 1:
        warnings.append("The models were not scored on the same faces; their columns are not strictly comparable.")
    for r in results:
        if r.split in VALIDATION and not str(r.thresholds["source"]).startswith(("default", "given")):
            warnings.append(
                f"The thresholds of {r.model} come from validation scores, perhaps these very ones: here its verdicts "
                "look better than they are."
            )
    return warnings


def _drawn(result: Result) -> str:
    """What the intervals rest on, in sentences."""
    count, over, missing = (result.intervals[key] for key in ("clusters", "over", "missing"))
    exact = "exact (Clopper-Pearson) intervals, a family counted once"
    if missing:
        alone = exact if over == "family" else "exact (Clopper-Pearson) intervals, each video taken for itself"
        return f"Small: rates have {alone}. The other figures have none: {missing}."
    names = {"group": "people (or other groups)", "family": "families of an original and its fakes"}
    exact = exact if over == "family" else exact.replace("a family", "each of them")
    return f"Small: 95 % intervals, by drawing {count:,} {names[over]} with replacement; rates have {exact}."


def _mistakes(result: Result) -> list[dict[str, Any]]:
    """The videos with a wrong verdict, the worst first, and those without one."""
    videos = [_video(row) for row in result.videos.to_pylist()]
    wrong = [v for v in videos if v["verdict"] not in ("undecided", v["truth"])]
    wrong.sort(key=lambda v: -v["wrongness"])
    silent = [v for v in videos if v["verdict"] == "undecided"]
    listings = []
    if wrong:
        note = f"{len(wrong)} wrong verdicts; the {min(len(wrong), WORST)} furthest off by mean probability."
        listings.append({"title": f"{result.model}: what it got most wrong", "note": note, "videos": wrong[:WORST]})
    if silent:
        note = f"{len(silent)} videos got no verdict" + (f"; the first {WORST}." if len(silent) > WORST else ".")
        listings.append({"title": f"{result.model}: no face found", "note": note, "videos": silent[:WORST]})
    return listings


def _video(row: Mapping[str, Any]) -> dict[str, Any]:
    truth = "fake" if row["label"] else "real"
    prob = row["prob"]
    return {
        "video": "/".join(row[key] or "-" for key in VIDEO),
        "truth": truth,
        "verdict": row["verdict"],
        "faces": row["faces"],
        "prob": digits(prob),
        "fraction": digits(row["fraction"]),
        "wrongness": 0 if prob is None else abs(row["label"] - prob),
    }
