"""From a command line to a training function: what `mrigan train …` and the pages in `launch/` share."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from rich.logging import RichHandler

from mrigan.config import load_config
from mrigan.engine.signals import Stopped
from mrigan.errors import MriganError
from mrigan.progress import console

C = TypeVar("C")


def launch(train: Callable[[C, bool], Path], schema: type[C], config: str, overrides: Sequence[str], new: bool) -> int:
    """Load the config, train, and say how it went.

    Returns:
        The exit code: 0 finished; 75 stopped by a signal, saved, the same command goes on; 1 failed; 2 wrong use.
    """
    rank = int(os.environ.get("RANK", "0"))
    logging.basicConfig(
        level=logging.INFO if rank == 0 else logging.WARNING,
        format="%(message)s" if console.is_terminal else f"%(asctime)s rank {rank} %(levelname)s %(message)s",
        handlers=[RichHandler(console=console, show_path=False)] if console.is_terminal else None,
    )
    try:
        folder = train(load_config(schema, config, list(overrides)), new)
    except Stopped as stopped:
        console.print(str(stopped), style="yellow", markup=False, highlight=False, soft_wrap=True)
        return stopped.exit_code
    except MriganError as error:
        console.print("[bold red]error:[/] ", end="")
        console.print(str(error), markup=False, highlight=False, soft_wrap=True)
        return error.exit_code
    if rank == 0:
        console.print(f"finished: {folder / 'model'}", markup=False, highlight=False, soft_wrap=True)
    return 0


def main(train: Callable[[C, bool], Path], schema: type[C], about: str) -> None:
    """What a page in `launch/` runs: parse the command line, train, exit."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="a YAML file, or the name of a shipped one (gan/paper.yaml)")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="for example train.steps=100")
    parser.add_argument("--new", action="store_true", help="start afresh; an earlier run is moved to <dir>.old-N")
    options = parser.parse_intermixed_args()
    sys.exit(launch(train, schema, options.config, options.overrides, options.new))
