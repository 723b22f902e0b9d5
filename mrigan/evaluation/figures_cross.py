"""The figure of Cross-AUC: a heat map per model, reals of a data set by fakes of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mrigan.evaluation.figures import FAKE, MODELS, MUTED
from mrigan.evaluation.results import Result
from mrigan.text import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CELL = (0.95, 0.52)  # inches


def cross_auc_figure(results: Sequence[Result]) -> Figure:
    """A row of cells per data set of reals, a column per data set of fakes; the colour is the distance from .5."""
    from matplotlib.figure import Figure

    found = [(result.model, result.cross_auc["cells"]) for result in results if result.cross_auc]
    columns = max(len({_name(cell["fakes"]) for cell in cells}) for _, cells in found)
    heights = [len({_name(cell["reals"]) for cell in cells}) for _, cells in found]
    size = (1.9 + CELL[0] * max(columns, 3), sum(heights) * CELL[1] + 0.95 * len(found))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(found), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, (model, cells) in zip(panels, found, strict=True):
        _matrix(axes, cells)
        axes.set_title(f"{model}: reals in rows, fakes in columns")
    return figure


def _matrix(axes: Axes, cells: Sequence[dict[str, Any]]) -> None:
    from matplotlib.patches import Rectangle

    reals, fakes = (list(dict.fromkeys(_name(cell[side]) for cell in cells)) for side in ("reals", "fakes"))
    for cell in cells:
        i, j = reals.index(_name(cell["reals"])), fakes.index(_name(cell["fakes"]))
        auc = cell["auc"]
        color, strength = MODELS[0] if auc >= 0.5 else FAKE, 0.04 + 1.1 * abs(auc - 0.5)
        axes.add_patch(Rectangle((j, i), 1, 1, facecolor=color, alpha=strength, linewidth=0))
        if _name(cell["reals"]) == _name(cell["fakes"]):
            axes.add_patch(Rectangle((j + 0.03, i + 0.05), 0.94, 0.9, fill=False, edgecolor=MUTED, linewidth=0.8))
        axes.text(j + 0.5, i + (0.36 if cell["interval"] else 0.5), f"{auc:.2f}", ha="center", va="center", fontsize=11)
        if cell["interval"]:
            text = "{:.2f}–{:.2f}".format(*cell["interval"])
            axes.text(j + 0.5, i + 0.74, text, ha="center", va="center", fontsize=7)
    axes.set(xlim=(0, len(fakes)), ylim=(len(reals), 0))
    axes.set_xticks([j + 0.5 for j in range(len(fakes))], fakes)
    axes.set_yticks([i + 0.5 for i in range(len(reals))], reals)
    axes.tick_params(length=0)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)


def _name(source: dict[str, Any]) -> str:
    """In print: matplotlib makes the labels of ticks only as it draws them, after `draw` has cleaned all texts."""
    return printable(f"{source['dataset']}\n{source['compression']}".strip(), keep="\n")
