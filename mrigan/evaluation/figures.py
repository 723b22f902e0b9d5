"""The figures of the report: ROC curves, confusion matrices, histograms of scores.

Each is drawn once and saved as a PNG and as an inline SVG whose colours follow the page's light or dark theme.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mrigan.evaluation.metrics import one_class, roc
from mrigan.evaluation.results import Result
from mrigan.outputs import SOFTWARE
from mrigan.text import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, LINE, PAPER = "#1d2126", "#667079", "#d8dde2", "#fffffe"
REAL, FAKE = "#2f7d95", "#c7502f"
MODELS = ("#3b5b92", "#b8742a", "#4d8a5b", "#8a4f7d", "#7a6a4f", "#a33b4a")  # they differ in lightness too
DASHES = ("-", (0, (5, 2)), (0, (2, 1.5)), (0, (6, 2, 1.5, 2)), (0, (1, 1)), (0, (8, 3)))
THEME = {INK: "ink", MUTED: "muted", LINE: "line", PAPER: "paper", REAL: "real", FAKE: "fake"} | {
    color: f"model-{i}" for i, color in enumerate(MODELS)
}
STYLE: dict[Any, Any] = {
    "text.parse_math": False,  # a model's name may be a$b$c
    "svg.fonttype": "none",  # text stays selectable text in the page's font
    "svg.hashsalt": "mrigan",  # equal figures have equal bytes
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "text.color": INK,
    "legend.frameon": False,
    "figure.facecolor": PAPER,
    "figure.dpi": 160,
    "axes.facecolor": "none",
}
MAX_POINTS = 400  # of a drawn curve


def entries(axes: Axes) -> dict[str, list[Any]]:
    """The legend entries of all labelled artists, also of labels with a leading "_", which Matplotlib would skip."""
    drawn = [(artist, str(artist.get_label())) for artist in [*axes.lines, *axes.patches, *axes.collections]]
    named = [(artist, label) for artist, label in drawn if label and not label.startswith("_child")]
    return {"handles": [artist for artist, _ in named], "labels": [label for _, label in named]}


def draw(figure: Callable[[], Figure]) -> tuple[bytes, str]:
    """Render a figure: (PNG file, SVG element)."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.text import Text

    with mpl.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the page's fonts have other scripts
        drawn = figure()
        for text in drawn.findobj(Text):  # names of models and data sets come from outside
            text.set_text(printable(text.get_text(), keep="\n"))
        # Canvases instead of savefig, which would lay out and draw everything again for each file.
        png, svg = io.BytesIO(), io.StringIO()
        FigureCanvasAgg(drawn).print_png(png, metadata={"Software": SOFTWARE})
        drawn.set_layout_engine("none")  # the layout is done
        drawn.patch.set_visible(False)  # show the page's background
        FigureCanvasSVG(drawn).print_svg(svg, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return png.getvalue(), _inline(svg.getvalue())


def roc_figure(results: Sequence[Result]) -> Figure:
    """ROC curves of faces and of videos, a line per model; the dot marks the verdicts at the model's thresholds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 4.3), layout="constrained")
    panels = figure.subplots(1, 2)
    for axes, level, title in zip(panels, ("frame", "video"), ("Faces", "Videos, by mean probability"), strict=True):
        axes.plot([0, 1], [0, 1], color=LINE, linewidth=1)
        for number, result in enumerate(results):
            labels, probs = level_scores(result, level)
            metrics = getattr(result, level)
            color = MODELS[number % len(MODELS)]
            if one_class(labels):
                axes.plot([], [], color=color, label=f"{result.model}: {one_class(labels).split(':')[0]}")
                continue
            fpr, tpr = _thinned(*roc(labels, probs))
            label = f"{result.model}  {metrics['auc']:.3f}"
            dashes = DASHES[number % len(DASHES)]
            axes.plot(fpr, tpr, color=color, linestyle=dashes, linewidth=1.8, label=label, clip_on=False, zorder=3)
            axes.plot(
                metrics["fpr"],
                metrics["tpr"],
                "o",
                color=color,
                markersize=6,
                markeredgecolor=PAPER,
                clip_on=False,
                zorder=4,
            )
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", title=title)
        axes.set(xlabel="reals called fake (FPR)", ylabel="fakes found (TPR)")
        axes.grid(color=LINE, linewidth=0.5, alpha=0.7)
        axes.legend(**entries(axes), loc="lower right", title="AUC", alignment="right", handlelength=2.2)
    return figure


def confusion_figure(results: Sequence[Result]) -> Figure:
    """Confusion matrices, a row per model: faces at the frame threshold, videos by the fraction rule."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 0.5 + 2.5 * len(results)), layout="constrained")
    panels = figure.subplots(len(results), 2, squeeze=False)
    for row, result in zip(panels, results, strict=True):
        for axes, level, title in zip(row, ("frame", "video"), ("faces", "videos"), strict=True):
            metrics = getattr(result, level)
            _matrix(axes, np.array([[metrics["tn"], metrics["fp"]], [metrics["fn"], metrics["tp"]]]))
            axes.set_title(f"{result.model}: {title}")
    return figure


def histogram_figure(results: Sequence[Result]) -> Figure:
    """Histograms of the probabilities of real and fake, each class adding up to 100 %; a row per model."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 0.4 + 2.3 * len(results)), layout="constrained")
    panels = figure.subplots(len(results), 2, squeeze=False, sharex=True)
    edges = np.linspace(0, 1, 26)
    for row, result in zip(panels, results, strict=True):
        for axes, level, title in zip(row, ("frame", "video"), ("faces", "videos, mean"), strict=True):
            labels, probs = level_scores(result, level)
            for fake, color, name in ((False, REAL, "real"), (True, FAKE, "fake")):
                chosen = probs[labels == fake]
                heights = 100 * np.histogram(chosen, edges)[0] / max(len(chosen), 1)
                axes.stairs(heights, edges, fill=True, color=color, alpha=0.25)
                axes.stairs(heights, edges, color=color, linewidth=1.4, label=f"{name} ({len(chosen):,})")
            if level == "frame":
                axes.axvline(result.thresholds["frame"], color=MUTED, linewidth=1, linestyle=(0, (3, 2)), ymax=0.82)
            axes.set(xlim=(0, 1), ylabel="% of the class", title=f"{result.model}: {title}")
            axes.legend(**entries(axes), loc="upper center", ncols=2, handlelength=1.2)
            axes.margins(y=0.22)
    for axes in panels[-1]:
        axes.set_xlabel("probability of fake")
    return figure


def _matrix(axes: Axes, counts: np.ndarray) -> None:
    """A 2 × 2 matrix (rows: true class, columns: verdict), shaded by the share of its row."""
    from matplotlib.patches import Rectangle

    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    for (i, j), count in np.ndenumerate(counts):
        color = MODELS[0] if i == j else FAKE
        axes.add_patch(Rectangle((j, i), 1, 1, facecolor=color, alpha=0.06 + 0.5 * shares[i, j], linewidth=0))
        axes.text(j + 0.5, i + 0.44, f"{count:,}", ha="center", va="center", fontsize=13)
        share = f"{100 * shares[i, j]:.1f} %" if counts[i].sum() else "none"
        axes.text(j + 0.5, i + 0.72, share, ha="center", va="center", fontsize=8.5)
    axes.set(xlim=(0, 2), ylim=(2, 0), xticks=[0.5, 1.5], yticks=[0.5, 1.5])
    axes.set_xticklabels(["called real", "called fake"])
    axes.set_yticklabels(["real", "fake"])
    axes.tick_params(length=0)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)


def level_scores(result: Result, level: str) -> tuple[np.ndarray, np.ndarray]:
    """(labels, probabilities) of a result's faces, or of its videos with a face."""
    table = result.faces if level == "frame" else result.videos.filter(result.videos["prob"].is_valid())
    return table["label"].to_numpy().astype(bool), table["prob"].to_numpy()


def _thinned(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most MAX_POINTS points of an increasing curve, evenly spaced along it."""
    if len(x) <= MAX_POINTS:
        return x, y
    along = np.linspace(0, (x + y)[-1], MAX_POINTS)
    keep = np.unique(np.searchsorted(x + y, along).clip(0, len(x) - 1))
    return x[keep], y[keep]


def _inline(svg: str) -> str:
    """The SVG element with named colours, and without ids that would not be unique in a page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(
        r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1), count=1
    )
    for color, name in THEME.items():
        svg = svg.replace(color, f"var(--{name})")
    return svg
