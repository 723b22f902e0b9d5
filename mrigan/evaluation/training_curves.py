"""MRI-GAN's Figures 5 to 9: losses and mean SSIM over the steps of one or several runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mrigan.errors import InputError
from mrigan.evaluation.figures import DASHES, LINE, MODELS, entries

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANELS = {  # number of the paper's figure, what it shows, and the key in metrics.jsonl
    5: ("Loss of G", "train/generator"),
    6: ("L2 loss", "train/pixel"),
    7: ("SSIM loss", "train/perceptual"),
    8: ("Mean SSIM of held-out MRIs", "val/ssim"),
    9: ("Loss of D", "train/discriminator"),
}
MAX_POINTS = 60  # of a smoothed line; each is the mean over a part of the steps


@dataclass(frozen=True)
class GanRun:
    """The metrics of a training folder.

    Attributes:
        name: the folder's name with τ. tau: of Eq. 12. rows: of metrics.jsonl.
    """

    name: str
    tau: float
    folder: Path
    rows: list[dict[str, Any]]

    def series(self, key: str) -> tuple[np.ndarray, np.ndarray]:
        """(steps, values) of the rows that have `key`."""
        points = [(row["step"], row[key]) for row in self.rows if row.get(key) is not None]
        return tuple(np.array(points, np.float64).reshape(-1, 2).T)  # type: ignore[return-value]


def read_run(folder: str | Path) -> GanRun:
    """Read `config.json` and `metrics.jsonl` of a `run.dir` of `mrigan train gan`.

    Raises:
        InputError: the folder is not such a run.
    """
    folder = Path(folder)
    try:
        config = json.loads((folder / "config.json").read_bytes())
        config = config.get("config", config)
        tau = float(config["loss"]["tau"])
        lines = (folder / "metrics.jsonl").read_bytes().splitlines()
        rows = [json.loads(line) for line in lines if line.endswith(b"}")]  # the last line may be incomplete
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"not a run of MRI-GAN: {error}", where=folder, fix="give the run.dir of `mrigan train gan`"
        ) from None
    return GanRun(f"{folder.resolve().name} (tau {tau:g})", tau, folder, rows)


def curves_figure(runs: Sequence[GanRun]) -> Figure:
    """One panel per figure of the paper, one line per run: faint single steps and a strong smoothed line."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 5.2), layout="constrained")
    panels = figure.subplots(2, 3)
    for axes, (number, (title, key)) in zip(panels.flat, PANELS.items(), strict=False):
        for i, run in enumerate(runs):
            steps, values = run.series(key)
            color = MODELS[i % len(MODELS)]
            if len(steps) > MAX_POINTS:
                axes.plot(steps, values, color=color, linewidth=0.6, alpha=0.3)
            x, y = _smoothed(steps, values)
            axes.plot(x, y, color=color, linestyle=DASHES[i % len(DASHES)], linewidth=1.6, label=run.name)
        axes.set(title=f"{title} (Fig. {number})", xlabel="step")
        axes.grid(color=LINE, linewidth=0.5, alpha=0.7)
        axes.margins(x=0)
    legend = panels.flat[len(PANELS)]
    legend.set_axis_off()
    legend.legend(**entries(panels[0, 0]), loc="center left", title="run", alignment="left")
    return figure


def _smoothed(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The means of at most MAX_POINTS parts of a series."""
    parts = [part for part in np.array_split(np.arange(len(x)), MAX_POINTS) if len(part)]
    return np.array([x[p].mean() for p in parts]), np.array([y[p].mean() for p in parts])
