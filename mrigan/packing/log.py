"""What a build says while it runs, without tearing the progress bar."""

from __future__ import annotations

import logging

from mrigan.terminal import log_handler


def show_log() -> None:
    """Show the lines of this room on stderr, one a unit."""
    logger = logging.getLogger("mrigan.packing")
    if not logger.handlers:
        logger.addHandler(log_handler("%(asctime)s %(message)s", datefmt="%H:%M:%S", show_level=False))
        logger.setLevel(logging.INFO)
