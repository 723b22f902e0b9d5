"""The output of `mrigan shards watch`: a live table on a terminal, otherwise a line each time."""

from __future__ import annotations

import threading

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mrigan.packing.watch import View, Watch, duration
from mrigan.terminal import console, say
from mrigan.text import first_of

MAX_LISTED = 10  # failed units


def follow(watch: Watch, every: float) -> View:
    """Show the progress of a build until its manifest exists, or until Ctrl-C.

    Args:
        every: seconds between two views.
    """
    view = watch.look()
    pause = threading.Event()
    try:
        if console.is_terminal:
            with Live(_picture(view), console=console, auto_refresh=False) as live:
                while not view.finished:
                    pause.wait(every)
                    view = watch.look()
                    live.update(_picture(view), refresh=True)
            return view
        while not view.finished:
            say(view.line())
            pause.wait(every)
            view = watch.look()
    except KeyboardInterrupt:
        pass  # Ctrl-C ends watching
    return view


def _picture(view: View) -> RenderableType:
    left = "finished" if view.finished else "" if view.left is None else f"{duration(view.left)} left"
    head = Table.grid(padding=(0, 2))
    head.add_row(
        ProgressBar(total=view.clips, completed=view.done_clips, width=40),
        f"{view.done}/{view.units} units",
        f"{view.done_clips}/{view.clips} clips",
        f"{view.faces} faces",
        Text(f"{view.rate:.1f} faces/s", style="cyan"),
        Text(left, style="cyan"),
    )
    nodes = Table("node", "units", "faces", "faces/s", "last unit", box=None, header_style="dim", padding=(0, 2))
    for column in nodes.columns[1:]:
        column.justify = "right"
    for node in view.nodes:
        ago = f"{duration(max(view.at - node.last, 0))} ago"
        nodes.add_row(Text(node.name), str(node.units), str(node.faces), f"{node.rate:.1f}", ago)
    failed = first_of([f"failed {unit}: {reason}" for unit, reason in view.failed.items()], MAX_LISTED)
    return Group(head, nodes, *(Text(line, style="red") for line in failed))
