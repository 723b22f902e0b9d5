"""What a build says while it runs: lines that do not tear the progress bar."""

from __future__ import annotations

import logging

from mrigan.progress import console


def show_log() -> None:
    """Show the lines of Mrigan's packing on stderr, one a unit."""
    from rich.logging import RichHandler

    logger = logging.getLogger("mrigan.packing")
    if not logger.handlers:
        logger.addHandler(RichHandler(console=console, show_path=False, show_level=False))
        logger.setLevel(logging.INFO)
