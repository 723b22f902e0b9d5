"""The log lines of a build on stderr, which do not break the progress bar."""

from __future__ import annotations

import logging

from mrigan.terminal import log_handler


def show_log() -> None:
    """Show the lines of a build on stderr, one a unit."""
    for room in ("packing", "shardset", "workers"):
        logger = logging.getLogger(f"mrigan.{room}")
        if not logger.handlers:
            logger.addHandler(log_handler("%(asctime)s %(message)s", datefmt="%H:%M:%S", show_level=False))
            logger.setLevel(logging.INFO)
