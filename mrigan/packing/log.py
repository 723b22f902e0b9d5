"""What a build says while it runs, without tearing the progress bar."""

from __future__ import annotations

import logging

from mrigan.progress import console


def show_log() -> None:
    """Show the lines of this room on stderr, one a unit."""
    from rich.logging import RichHandler

    handler: logging.Handler = RichHandler(console=console, show_path=False, show_level=False)
    if not console.is_terminal:  # a log file: one line is one line
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
    logger = logging.getLogger("mrigan.packing")
    if not logger.handlers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
