"""The page of an evaluation: models side by side, figures, a table by source, and the videos with wrong verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mrigan.evaluation.page_cells import digits
from mrigan.evaluation.page_originals import cross_auc_lines, originals_table
from mrigan.evaluation.page_tables import (
    comparison_lines,
    data_set_table,
    main_tables,
    person_rows,
    source_rows,
    strategy_rows,
)
from mrigan.evaluation.results import VALIDATION, Result
from mrigan.evaluation.schema import VIDEO
from mrigan.evaluation.terminal import training_lines
from mrigan.text import page_text

FEW_VIDEOS = 30  # of a class; with fewer, one video changes a metric by several points
MAX_LISTED = 10  # videos


def templates() -> Environment:
    """The templates of this room's pages; all values are escaped."""
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
        left_out: by reason, the number of videos that are not in the shards.
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
            "cross_auc": cross_auc_lines(results),
            "originals": originals_table(results),
            "strategies": strategy_rows(results),
            "persons": person_rows(results),
            "comparisons": comparison_lines([pair for pair in comparisons if pair["split"] == split]),
            "about_intervals": _about_intervals(results[0]),
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
        lines.append(f"Not evaluated, because these videos are not in the shards: {reasons}.")
    return lines


def _warnings(results: Sequence[Result]) -> list[str]:
    warnings = []
    few = min(min(r.video["real"], r.video["fake"]) for r in results)
    if few < FEW_VIDEOS:
        warnings.append(
            f"Only {few} video{'s' * (few != 1)} of one class: a single video changes these metrics by several points."
        )
    if len({(r.video["n"], r.frame["n"]) for r in results}) > 1:
        warnings.append("The models were not scored on the same faces, so their columns are not strictly comparable.")
    for r in results:
        if r.split in VALIDATION and not str(r.thresholds["source"]).startswith(("default", "given")):
            warnings.append(
                f"The thresholds of {r.model} come from validation scores, perhaps from these: then its verdicts look "
                "better here than they are."
            )
    return warnings


def _about_intervals(result: Result) -> str:
    """How the intervals were computed, in one or two sentences."""
    count, over, missing = (result.intervals[key] for key in ("clusters", "over", "missing"))
    unit = {"group": "person (or other group)", "family": "family"}.get(over, "video")
    exact = f"exact (Clopper-Pearson) intervals, in which each {unit} counts once"
    if missing:
        return f"Small numbers: rates have {exact}. The other metrics have no interval: {missing}."
    names = {"group": "people (or other groups)", "family": "families of an original and its fakes"}
    return f"Small numbers: 95 % intervals by a bootstrap over {count:,} {names[over]}; rates have {exact}."


def _mistakes(result: Result) -> list[dict[str, Any]]:
    """The videos with a wrong verdict, the worst first, and the videos without a verdict."""
    videos = [_video(row) for row in result.videos.to_pylist()]
    wrong = [v for v in videos if v["verdict"] not in ("undecided", v["truth"])]
    wrong.sort(key=lambda v: -v["wrongness"])
    undecided = [v for v in videos if v["verdict"] == "undecided"]
    listings = []
    if wrong:
        shown = wrong[:MAX_LISTED]
        note = f"{len(wrong)} wrong verdicts; these {len(shown)} have the largest error of the mean probability."
        listings.append({"title": f"{result.model}: worst errors", "note": note, "videos": shown})
    if undecided:
        first = f"; the first {MAX_LISTED}." if len(undecided) > MAX_LISTED else "."
        note = f"{len(undecided)} videos have no verdict{first}"
        listings.append({"title": f"{result.model}: no face found", "note": note, "videos": undecided[:MAX_LISTED]})
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
