"""From a command line to a training: what `mrigan train …` and the pages in `launch/` share.

Signal handlers come first, before `import torch`: this module and all that it imports at its top do without it.
"""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from mrigan.config import load_config
from mrigan.engine.environment import find_ranks
from mrigan.engine.signals import listening
from mrigan.errors import MriganError
from mrigan.health.failure import PeerFailed, write_torchrun_error
from mrigan.stopping import Stopped
from mrigan.terminal import echo, log_handler, say, say_error
from mrigan.threads import settle
from mrigan.training.tasks import find_task

REGISTER = "tracking.register_anyway=true"  # what --register stands for


def launch(name: str, config: str, overrides: Sequence[str], new: bool, dry: bool = False) -> int:
    """Find this process's rank, load the config, train, and say how it went.

    Args:
        name: of the task, see `mrigan.training.tasks`.
        config: a YAML file, or a shipped one by name.
        overrides: `key=value`.
        new: start afresh.
        dry: print the plan, do one step, keep nothing.

    Returns:
        The exit code: 0 finished; 75 stopped by a signal, saved, the same command goes on; 1 failed; 2 wrong use.
    """
    with listening():
        code = _launch(name, config, list(overrides), new, dry)
    # gloo's threads end with the last reference to their group. One that still holds a tensor when Python is being
    # taken down aborts the process: "terminate called without an active exception" (pytorch#179291).
    gc.collect()
    return code


def _launch(name: str, config: str, overrides: list[str], new: bool, dry: bool) -> int:
    try:
        find_ranks(os.environ)
        settle()
        rank = int(os.environ.get("RANK", "0"))
        _show_log(rank)
        folder = _train(name, config, overrides, new, dry)
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


def _train(name: str, config: str, overrides: list[str], new: bool, dry: bool) -> Path | None:
    # The settings first: a wrong key is an answer at once, not after `import torch`.
    settings = load_config(find_task(name).config_class, config, overrides)
    if dry:
        from mrigan.training.dry_run import dry_run

        dry_run(name, settings, new, echo)
        return None
    from mrigan.training.train import train

    return train(name, settings, new)


def _show_log(rank: int) -> None:
    logging.basicConfig(  # noqa: TID251 (with our handler)
        level=logging.INFO if rank == 0 else logging.WARNING,
        handlers=[log_handler(f"%(asctime)s rank {rank} %(levelname)s %(message)s")],
    )
