"""Two more figures of the report: the reliability diagram, and the grid of the threshold search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mrigan.evaluation.figures import DASHES, LINE, MODELS, PAPER, entries, level_scores
from mrigan.evaluation.results import Result
from mrigan.evaluation.thresholds import FRACTION_GRID, FRAME_GRID

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BINS = 10


def reliability_figure(results: Sequence[Result]) -> Figure:
    """Reliability diagram: the share of fakes over the probability of fake. On the diagonal the probabilities are
    right; below it the model is overconfident."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 4.3), layout="constrained")
    panels = figure.subplots(1, 2)
    for axes, level, title in zip(panels, ("frame", "video"), ("Faces", "Videos, by mean probability"), strict=True):
        axes.plot([0, 1], [0, 1], color=LINE, linewidth=1)
        for number, result in enumerate(results):
            labels, probs = level_scores(result, level)
            index = np.clip(np.ceil(probs * BINS).astype(int) - 1, 0, BINS - 1)
            count = np.bincount(index, minlength=BINS)
            used = count > 0
            mean = np.bincount(index, probs, BINS)[used] / count[used]
            share = np.bincount(index, labels, BINS)[used] / count[used]
            color, ece = MODELS[number % len(MODELS)], getattr(result, level)["ece"]
            label = f"{result.model}  {'–' if ece is None else f'{ece:.3f}'}"
            axes.plot(mean, share, color=color, linestyle=DASHES[number % len(DASHES)], linewidth=1.4, label=label)
            size = 12 + 330 * count[used] / max(count.sum(), 1)
            axes.scatter(mean, share, s=size, color=color, edgecolor=PAPER, linewidth=0.8, zorder=3, clip_on=False)
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", title=title)
        axes.set(xlabel="predicted probability of fake", ylabel="share of fakes")
        axes.grid(color=LINE, linewidth=0.5, alpha=0.7)
        axes.legend(**entries(axes), loc="upper left", title="ECE", alignment="left", handlelength=2.2)
    return figure


def grid_figure(results: Sequence[Result]) -> Figure:
    """Balanced accuracy on validation for all 42 settings, a panel per model; a frame marks the chosen setting."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    searched = [(i, result) for i, result in enumerate(results) if result.grid is not None]
    rows = (len(searched) + 1) // 2
    figure = Figure(figsize=(8.4, 0.4 + 2.9 * rows), layout="constrained")
    panels = figure.subplots(rows, 2, squeeze=False)
    for axes in panels.flat[len(searched) :]:
        axes.set_axis_off()
    for axes, (number, result) in zip(panels.flat, searched, strict=False):
        assert result.grid is not None
        values = result.grid.balanced_accuracy
        low, high = values.min(), values.max()
        for (i, j), value in np.ndenumerate(values):
            strength = (value - low) / (high - low) if high > low else 0.5
            color = MODELS[number % len(MODELS)]
            axes.add_patch(Rectangle((j, i), 1, 1, facecolor=color, alpha=0.05 + 0.5 * strength, linewidth=0))
            axes.text(j + 0.5, i + 0.5, f"{value:.2f}".lstrip("0"), ha="center", va="center", fontsize=8)
            if (FRAME_GRID[i], FRACTION_GRID[j]) == (result.thresholds["frame"], result.thresholds["fraction"]):
                axes.add_patch(Rectangle((j, i), 1, 1, fill=False, edgecolor="#1d2126", linewidth=1.4, zorder=4))
        axes.set(xlim=(0, values.shape[1]), ylim=(values.shape[0], 0), title=f"{result.model}: balanced accuracy")
        axes.set_xticks(np.arange(len(FRACTION_GRID)) + 0.5, [f"{v:g}" for v in FRACTION_GRID])
        axes.set_yticks(np.arange(len(FRAME_GRID)) + 0.5, [f"{v:g}" for v in FRAME_GRID])
        axes.set(xlabel="fraction", ylabel="frame threshold")
        axes.tick_params(length=0)
        for side in ("left", "bottom"):
            axes.spines[side].set_visible(False)
    return figure
