"""From the command line to a training; used by `mrigan train …` and the scripts in `launch/`.

Signal handlers are installed before `import torch`, so this module and its imports do not import torch.
"""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mrigan.config import load_config
from mrigan.engine.environment import find_ranks
from mrigan.engine.signals import listening
from mrigan.errors import MriganError
from mrigan.health.failure import PeerFailed, write_torchrun_error
from mrigan.stopping import Stopped
from mrigan.terminal import echo, log_handler, say, say_error
from mrigan.threads import settle
from mrigan.training.tasks import find_task

if TYPE_CHECKING:
    from mrigan.training.callbacks.base import Callback

REGISTER = "tracking.register_anyway=true"  # the meaning of --register


def launch(
    name: str,
    config: str,
    overrides: Sequence[str],
    new: bool,
    dry: bool = False,
    *,
    callbacks: Sequence[type[Callback]] = (),
) -> int:
    """Find the rank of this process, load the config, train, and print the result.

    Args:
        name: of the task, see `mrigan.training.tasks`.
        config: a YAML file, or the name of a shipped one.
        overrides: `key=value`.
        new, callbacks: see `mrigan.training.train.train`.
        dry: only print the plan, do one step, and write no files.

    Returns:
        The exit code: 0 finished; 75 stopped by a signal and saved, the same command continues; 1 failed; 2 wrong use.
    """
    with listening():
        code = _launch(name, config, list(overrides), new, dry, callbacks=callbacks)
    # gloo's threads end with the last reference to their group. A thread that still holds a tensor when Python shuts
    # down aborts the process: "terminate called without an active exception" (pytorch#179291).
    gc.collect()
    return code


def _launch(
    name: str, config: str, overrides: list[str], new: bool, dry: bool, *, callbacks: Sequence[type[Callback]]
) -> int:
    try:
        find_ranks(os.environ)
        settle()
        rank = int(os.environ.get("RANK", "0"))
        show_log(rank)
        folder = _train(name, config, overrides, new, dry, callbacks=callbacks)
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


def _train(
    name: str, config: str, overrides: list[str], new: bool, dry: bool, *, callbacks: Sequence[type[Callback]]
) -> Path | None:
    # Settings are loaded before `import torch`, so that a wrong key is reported at once.
    settings = load_config(find_task(name).config_class, config, overrides)
    if dry:
        from mrigan.training.dry_run import dry_run

        dry_run(name, settings, new, echo)
        return None
    from mrigan.training.train import train

    return train(name, settings, new, callbacks)


def show_log(rank: int = 0) -> None:
    """Show what a training logs on stderr; of ranks above 0 only warnings."""
    logging.basicConfig(  # noqa: TID251 (with our handler)
        level=logging.INFO if rank == 0 else logging.WARNING,
        handlers=[log_handler(f"%(asctime)s rank {rank} %(levelname)s %(message)s")],
    )
