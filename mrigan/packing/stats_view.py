"""The statistics of a shard set for a person: a table for the terminal, and a figure of six panels."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from mrigan.catalog import LABELS, SPLITS
from mrigan.outputs import SOFTWARE
from mrigan.packing.groups import Group, summary
from mrigan.packing.stats import Stats
from mrigan.terminal import Console

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, MUTED, LINE = "#1d2126", "#667079", "#d8dde2"
COLORS = {"real": "#2f7d95", "fake": "#c7502f"}
SHADES = {"train": 1.0, "val": 0.6, "test": 0.35}  # opacity of a split
STYLE: dict[Any, Any] = {
    "text.parse_math": False, "font.family": "DejaVu Sans", "font.size": 9, "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED, "axes.titlecolor": INK, "axes.titlesize": 10, "axes.titlelocation": "left",
    "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True, "xtick.color": MUTED,
    "ytick.color": MUTED, "text.color": INK, "legend.frameon": False, "figure.dpi": 110,
}  # fmt: skip
SOURCES, FRAMES = 12, 7  # drawn of each


def show(stats: Stats) -> list[str]:
    """Lines for the terminal: a line a group, totals, and the warnings."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("data set", "method", "compression", "split", "label"):
        table.add_column(name, overflow="fold")
    for name in ("families", "clips", "faces", "MiB", "a clip", "MRI mean", "face px", "dropped", "failed"):
        table.add_column(name, justify="right")
    for group in stats.groups:
        table.add_row(*(part or "-" for part in (group.dataset, group.method, group.compression)), group.split,
                      group.label, *_numbers([group]))  # fmt: skip
    table.add_section()
    for label in LABELS:
        numbers = _numbers([g for g in stats.groups if g.label == label])
        table.add_row("all", "", "", "", label, str(stats.families[label]), *numbers[1:])
    buffer = io.StringIO()
    Console(file=buffer, width=160).print(table)
    lines = [line.rstrip() for line in buffer.getvalue().splitlines()]
    for name, title in (("dropped", "dropped"), ("failed", "failed")):
        reasons = _sum(stats.groups, name)
        if reasons:
            lines.append(f"{title}: " + ", ".join(f"{n} {reason}" for reason, n in reasons.most_common()))
    unproven = sum(group.unproven for group in stats.groups)
    if unproven:
        lines.append(f"alignment unproven: {unproven} stored fake faces (nothing moves that would show another moment)")
    for split, each in stats.matching.items():
        before, after = each["before"], each["after"]
        kept = " and ".join(f"{after[label]:,} of {before[label]:,} {label}" for label in LABELS)
        lines.append(f"matched in {', '.join(stats.plan.config.pack.match)}: {split} takes {kept} faces")
        lines += [f"    {fact} alone tells them apart: {accuracy:.2f} before, {after['telling'][fact]:.2f} after"
                  for fact, accuracy in before["telling"].items() if fact in after["telling"]]  # fmt: skip
    if stats.built < stats.units:
        lines.append(f"{stats.built} of {stats.units} units are built: mrigan shards build {stats.folder}")
    lines += [f"warning: {warning}" for warning in stats.warnings]
    return lines


def _numbers(groups: Sequence[Group]) -> list[str]:
    clips, mri, widths = (_sum(groups, name) for name in ("per_clip", "mri", "widths"))
    sizes = summary(widths)
    return [
        f"{sum(g.families for g in groups)}", f"{sum(g.clips for g in groups)}", f"{sum(g.faces for g in groups)}",
        f"{sum(g.bytes for g in groups) / 2**20:.1f}", f"{summary(clips)['mean']:.1f}" if clips else "-",
        f"{summary(mri)['mean']:.1f}" if mri else "-", f"{sizes['p10']}–{sizes['p90']}" if sizes else "-",
        f"{_sum(groups, 'dropped').total()}", f"{_sum(groups, 'failed').total()}",
    ]  # fmt: skip


def draw(stats: Stats) -> bytes:
    """A PNG: what is stored of each source, how strong its MRIs are, and how alike reals and fakes are otherwise."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(13, 8.6), layout="constrained")
        panels = figure.subplots(2, 3)
        for axes, panel in zip(panels.flat, (_sources, _mris, _lost, _clips, _frames, _widths), strict=True):
            panel(axes, stats.groups)
        faces = {label: sum(g.faces for g in stats.groups if g.label == label) for label in LABELS}
        title = f"{Path(stats.folder).resolve().name}: {faces['real']:,} real and {faces['fake']:,} fake faces"
        figure.legend(handles=[Patch(color=COLORS[label], label=label) for label in LABELS], loc="upper right", ncols=2)
        figure.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold")
        if stats.warnings:
            shown = [f"• {warning}" for warning in stats.warnings[:4]]
            shown += [f"… and {len(stats.warnings) - 4} more warnings"] if len(stats.warnings) > 4 else []
            figure.supxlabel("\n".join(shown), x=0.01, ha="left", fontsize=9, color=COLORS["fake"])
        png = io.BytesIO()
        FigureCanvasAgg(figure).print_png(png, metadata={"Software": SOFTWARE})
    return png.getvalue()


def _sources(axes: Axes, groups: Sequence[Group]) -> None:
    """Stored faces of each source, a bar, its splits as shades."""
    totals = Counter({(g.name, g.label): 0 for g in groups})
    for group in groups:
        totals[group.name, group.label] += group.faces
    names = sorted((key for key, _ in totals.most_common(SOURCES)), reverse=True)
    for place, (name, label) in enumerate(names):
        left = 0
        for split in SPLITS:
            faces = sum(g.faces for g in groups if (g.name, g.label, g.split) == (name, label, split))
            axes.barh(place, faces, left=left, color=COLORS[label], alpha=SHADES[split], height=0.7)
            left += faces
        axes.text(left, place, f" {left:,}", va="center", fontsize=8, color=MUTED)
    axes.set_yticks(range(len(names)), [name for name, _ in names])
    axes.margins(x=0.18)
    more = f"\nthe {SOURCES} largest of {len(totals)} sources" if len(totals) > SOURCES else ""
    axes.set_title(f"Stored faces (dark to light: train, val, test){more}")


def _mris(axes: Axes, groups: Sequence[Group]) -> None:
    """How strong the MRIs of each method are: a ridge each, its mean marked."""
    methods: dict[str, Counter[int]] = {}
    for group in groups:
        if group.mri:
            methods.setdefault(" ".join(p for p in (group.dataset, group.method) if p), Counter()).update(group.mri)
    chosen = sorted(sorted(methods, key=lambda name: -methods[name].total())[:SOURCES], reverse=True)
    end = max((summary(methods[name])["max"] for name in chosen), default=0)
    step = max(1, round(end / 60))
    for place, name in enumerate(chosen):
        counts = methods[name]
        bins = range(0, int(end) + step, step)
        heights = [sum(counts[i] for i in range(low, low + step)) for low in bins]
        top = max(heights)
        centres = [low + step / 2 for low in bins]
        axes.fill_between(
            centres, place, [place + 0.9 * h / top for h in heights], color=COLORS["fake"], alpha=0.75, lw=0
        )
        mean = summary(counts)["mean"]
        axes.plot([mean, mean], [place, place + 0.9], color=INK, lw=1)
        axes.text(mean, place + 0.86, f" {mean:.0f}", fontsize=8, color=INK, va="top")
    axes.set_yticks([place + 0.2 for place in range(len(chosen))], chosen)
    axes.set_xlabel("mean of a fake's MRI, of 255 (reals: 0)")
    axes.set_title("How far the fakes are from their originals")
    _empty(axes, not chosen, "no MRIs in this set")


def _lost(axes: Axes, groups: Sequence[Group]) -> None:
    """Dropped faces and failed clips by reason."""
    reasons = [(reason, count, color) for kind, color in (("dropped", MUTED), ("failed", COLORS["fake"]))
               for reason, count in _sum(groups, kind).most_common(6)]  # fmt: skip
    reasons.sort(key=lambda item: item[1])
    for place, (_, count, color) in enumerate(reasons):
        axes.barh(place, count, color=color, height=0.6)
        axes.text(count, place, f" {count:,}", va="center", fontsize=8, color=MUTED)
    axes.set_yticks(range(len(reasons)), [reason for reason, _, _ in reasons])
    axes.margins(x=0.18)
    axes.set_ylim(-0.6, max(len(reasons), 5) - 0.4)
    axes.set_title("Not stored: dropped, or failed (red)")
    _empty(axes, not reasons, "nothing was dropped, nothing failed")


def _clips(axes: Axes, groups: Sequence[Group]) -> None:
    axes.set_title("Faces a clip")
    _shares(axes, groups, "per_clip", "stored faces of one clip", "clips")


def _widths(axes: Axes, groups: Sequence[Group]) -> None:
    axes.set_title("Width of the faces")
    _shares(axes, groups, "widths", "px of the video's own frame", "faces")


def _shares(axes: Axes, groups: Sequence[Group], name: str, label: str, of: str) -> None:
    """Two histograms as shares of their label: where they part, a number tells the label."""
    counted = {kind: _sum([g for g in groups if g.label == kind], name) for kind in LABELS}
    end = max((value for counts in counted.values() for value in counts), default=0)
    step = max(1, -(-(end + 1) // 40))
    starts = range(0, end + 1, step)
    edges = [start - 0.5 for start in (*starts, starts[-1] + step)]
    for kind, counts in counted.items():
        total = max(counts.total(), 1)
        shares = [100 * sum(counts[i] for i in range(start, start + step)) / total for start in starts]
        axes.stairs(shares, edges, color=COLORS[kind], fill=True, alpha=0.35)
        axes.stairs(shares, edges, color=COLORS[kind], lw=1.2)
    axes.set_xlabel(label)
    axes.set_ylabel(f"% of the {of}")


def _frames(axes: Axes, groups: Sequence[Group]) -> None:
    """Sizes of frames, reals to the left, fakes to the right: a lopsided line gives the label away."""
    counted = {kind: _sum([g for g in groups if g.label == kind], "frames") for kind in LABELS}
    shares = {kind: {size: 100 * n / counts.total() for size, n in counts.items()} for kind, counts in counted.items()}
    sizes = _sum(groups, "frames").keys()
    shown = sorted(sizes, key=lambda size: sum(shares[kind].get(size, 0) for kind in LABELS))[-FRAMES:]
    for place, size in enumerate(shown):
        for kind, side in (("real", -1), ("fake", 1)):
            percent = shares[kind].get(size, 0)
            axes.barh(place, side * percent, color=COLORS[kind], height=0.6)
            axes.text(side * percent, place, f" {percent:.0f} % ", va="center", fontsize=8,
                      ha="left" if side > 0 else "right", color=MUTED)  # fmt: skip
    axes.axvline(0, color=INK, lw=0.8)
    axes.set_yticks(range(len(shown)), [f"{w} × {h}" for w, h in shown])
    axes.set_xticks([])
    axes.margins(x=0.2)
    axes.set_title("Frames: share of reals | of fakes")


def _empty(axes: Axes, empty: bool, why: str) -> None:
    if empty:
        axes.set_axis_off()
        axes.text(0.5, 0.5, why, ha="center", color=MUTED, transform=axes.transAxes)


def _sum(groups: Sequence[Group], name: str) -> Counter[Any]:
    total: Counter[Any] = Counter()
    for group in groups:
        total.update(getattr(group, name))
    return total
