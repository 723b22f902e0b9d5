"""From a command line to a training: what `mrigan train …` and the pages in `launch/` share.

Signal handlers come first, before `import torch`: this module and all that it imports at its top do without it.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from mrigan.config import DetectorConfig, GanConfig, load_config
from mrigan.engine.environment import find_ranks
from mrigan.engine.signals import listening
from mrigan.errors import MriganError
from mrigan.health.failure import PeerFailed, write_torchrun_error
from mrigan.stopping import Stopped
from mrigan.terminal import echo, log_handler, say, say_error
from mrigan.threads import settle

REGISTER = "tracking.register_anyway=true"  # what --register stands for


def launch(kind: str, config: str, overrides: Sequence[str], new: bool, dry: bool = False) -> int:
    """Find this process's rank, load the config, train, and say how it went.

    Args:
        kind: "gan" or "detector".
        config: a YAML file, or a shipped one by name.
        overrides: `key=value`.
        new: start afresh.
        dry: print the plan, do one step, keep nothing.

    Returns:
        The exit code: 0 finished; 75 stopped by a signal, saved, the same command goes on; 1 failed; 2 wrong use.
    """
    with listening():
        code = _launch(kind, config, list(overrides), new, dry)
    # gloo's threads end with the last reference to their group. One that still holds a tensor when Python is being
    # taken down aborts the process: "terminate called without an active exception" (pytorch#179291).
    gc.collect()
    return code


def main(kind: str, about: str) -> None:
    """What a page in `launch/` runs: parse the command line, train, exit."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="a YAML file, or the name of a shipped one (gan/paper.yaml)")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="for example train.steps=100")
    parser.add_argument("--new", action="store_true", help="start afresh; an earlier run is moved to <dir>.old-N")
    parser.add_argument("--dry-run", action="store_true", help="print the plan, do one step, leave nothing behind")
    parser.set_defaults(register=False)
    if kind == "detector":
        parser.add_argument("--register", action="store_true", help="also if validation shows no more than chance")
    options = parser.parse_intermixed_args()
    overrides = [*options.overrides, *([REGISTER] if options.register else [])]
    sys.exit(launch(kind, options.config, overrides, options.new, options.dry_run))


def _launch(kind: str, config: str, overrides: list[str], new: bool, dry: bool) -> int:
    try:
        find_ranks(os.environ)
        settle()
        rank = int(os.environ.get("RANK", "0"))
        _show_log(rank)
        folder = _train(kind, config, overrides, new, dry)
    except Stopped as stopped:
        if rank == 0:
            say(str(stopped), style="yellow", lines=True)
        return stopped.exit_code
    except MriganError as error:
        if not isinstance(error, PeerFailed):
            write_torchrun_error(error)
        say_error(error)
        return error.exit_code
    if rank == 0 and folder is not None:
        say(f"finished: {folder / 'model'}")
    return 0


def _train(kind: str, config: str, overrides: list[str], new: bool, dry: bool) -> Path | None:
    # The settings first: a wrong key is an answer at once, not after `import torch`.
    if kind == "gan":
        settings = load_config(GanConfig, config, overrides)
        if dry:
            from mrigan.training.trials import dry_run, gan_trial

            dry_run(gan_trial(settings), settings, new, echo)
            return None
        from mrigan.training.gan import train_gan

        return train_gan(settings, new)
    wanted = load_config(DetectorConfig, config, overrides)
    if dry:
        from mrigan.training.trials import detector_trial, dry_run

        dry_run(detector_trial(wanted), wanted, new, echo)
        return None
    from mrigan.training.detector import train_detector

    return train_detector(wanted, new)


def _show_log(rank: int) -> None:
    logging.basicConfig(  # noqa: TID251 (with our handler)
        level=logging.INFO if rank == 0 else logging.WARNING,
        handlers=[log_handler(f"%(asctime)s rank {rank} %(levelname)s %(message)s")],
    )
