"""The folder of a run: the same folder continues the run, a changed config is refused, and only one job may use it.

The first checkpoint pins the settings. An earlier start can be repeated with other settings, so that a typo costs
nothing.

run.dir/
  config.json        the resolved config          run.json      other dependencies: data hash, generator's hash
  status.json        running | stopped | failed | hung | finished, the step, MLflow's run id (for scripts)
  metrics.jsonl      a line per logged step        pictures/     checkpoints/          model/   when finished
  health/            a heartbeat per rank, and the evidence of a hang or failure; see mrigan.health
  tracking.jsonl     params, tags and files for MLflow             tracking.json  what MLflow has received
  environment.json   the versions of Python and of the packages
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
import threading
from pathlib import Path
from typing import Any, TypeVar

from mrigan.config import TrainingConfig, differences, resume, to_dict
from mrigan.engine.checkpoint import Checkpoint
from mrigan.errors import CheckpointError
from mrigan.files import failpoint, sync_folder, write_json
from mrigan.health.status import read_status, write_status

log = logging.getLogger(__name__)
C = TypeVar("C", bound=TrainingConfig)


def as_begun(config: C, new: bool) -> C:
    """The config, with the settings of the run in its folder where that run is older than a key.

    Args:
        new: the run in the folder will not be continued.
    """
    folder = RunFolder(config.run.dir)
    if new or not folder.pinned:
        return config
    config, replaced = resume.as_begun(config, folder.config())
    for setting in replaced:
        log.warning("%s is older than %s, and continues with %s", folder.path, setting.partition("=")[0], setting)
    return config


class RunFolder:
    """The folder of one run. Rank 0 opens it; every rank may use the paths."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.checkpoints = self.path / "checkpoints"
        self.pictures = self.path / "pictures"
        self.metrics = self.path / "metrics.jsonl"
        self.model = self.path / "model"
        self.health = self.path / "health"
        self._lock: int | None = None
        self._status = threading.Lock()  # the thread that writes checkpoints updates the status too
        self._warned = False  # about a damaged status.json

    def open(self, config: Any, depends: dict[str, Any], new: bool) -> None:
        """Lock the folder, and check that it belongs to this run or is new.

        Args:
            config: the resolved config, a dataclass.
            depends: other dependencies of the weights: kind of run, data hash, the generator's hash.
            new: start a new run; an earlier run is moved to `<dir>.old-N`, never deleted.

        Raises:
            CheckpointError: another job has the folder open; its run has saved a checkpoint with another config; or the
                folder is not a run.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        self._acquire()
        self._remove_unfinished()
        exists = (self.path / "config.json").is_file()
        if exists and not new and not self.pinned and not self._same(config, depends):
            # The log of a start that saved nothing belongs to other settings, so it is moved aside.
            log.info("replacing the settings of an earlier start in %s, which saved no checkpoint", self.path)
            logs = (self.metrics.name, self.pictures.name, "tracking.jsonl", "tracking.db")
            if any((self.path / name).exists() for name in logs):
                self._move_aside()
            exists = False
        if new and any(p.name != ".lock" for p in self.path.iterdir()):
            if not exists:
                raise CheckpointError(
                    "--new would move a folder that is not a run",
                    where=self.path,
                    fix="give another run.dir",
                )
            self._move_aside()
            exists = False
        if exists:
            self.compare(config, depends)
        elif self.checkpoints.exists():
            raise CheckpointError(
                "the folder has checkpoints, but no config.json",
                where=self.path,
                fix="restore it, or give another run.dir",
            )
        write_json(self.path / "config.json", to_dict(config))
        write_json(self.path / "run.json", depends)

    @property
    def pinned(self) -> bool:
        """Whether the settings are final: the run has saved a checkpoint, or a model."""
        saved = self.checkpoints.iterdir() if self.checkpoints.is_dir() else ()
        return any(path.name.startswith(("step-", "damaged-")) for path in saved) or self.model.exists()

    def config(self) -> dict[str, Any]:
        """The settings that the run began with, nested, perhaps of an earlier version."""
        return self._read("config.json")

    def status(self) -> dict[str, Any]:
        """The content of `status.json`; {} if it is missing or damaged, because the checkpoints do not depend on it."""
        try:
            return read_status(self.path)
        except CheckpointError as error:
            if not self._warned:
                log.warning("%s in %s; continuing from the checkpoints, and rewriting it", error.what, self.path)
            self._warned = True
            return {}

    def set_status(self, state: str, **more: Any) -> None:
        """Replace `status.json`; values that are not given do not change."""
        with self._status:
            write_status(self.path, {**self.status(), "state": state, **more})

    def report_end(self, state: str, error: str, again: bool) -> None:
        """Write how the run ended; any rank may call it, if rank 0 cannot."""
        self.set_status(state, error=error, retry=again)

    def close(self) -> None:
        """Release the lock."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _acquire(self) -> None:
        # A POSIX record lock ends with the process, and forked loader workers, which outlive a kill -9, do not inherit
        # it.
        self._lock = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.close()
            raise CheckpointError(
                "another job is using this run folder",
                where=self.path,
                fix="wait for that job or stop it, or give another run.dir",
            ) from None

    def _remove_unfinished(self) -> None:
        """Remove unfinished files of a killed process; because of the lock, no other process is writing."""
        for folder in (self.path, self.pictures, self.model):
            for path in folder.glob(".*.tmp"):
                if path.is_file():
                    path.unlink()
        for path in self.path.glob(f".{self.model.name}.*"):  # a new model folder, or the one that it was to replace
            if path.is_dir():
                shutil.rmtree(path)

    def _move_aside(self) -> None:
        number = 1
        while (aside := self.path.with_name(f"{self.path.name}.old-{number}")).exists():
            number += 1
        os.rename(self.path, aside)
        failpoint("run.moved", aside.name)
        sync_folder(self.path.parent)
        log.warning("the earlier run was moved to %s", aside)
        self.close()
        self.path.mkdir()
        self._acquire()

    def _same(self, config: Any, depends: dict[str, Any]) -> bool:
        try:
            self.compare(config, depends)
        except CheckpointError:
            return False
        return True

    def compare(self, config: Any, depends: dict[str, Any]) -> None:
        """Raise CheckpointError if the run in the folder has other settings; only reads."""
        refused, allowed = resume.changes(self.config(), config)
        refused += differences(self._read("run.json"), depends)
        if refused:
            raise CheckpointError(
                "this run was started with other settings:\n    " + "\n    ".join(refused),
                where=self.path,
                fix="restore them to continue, give another run.dir, or start a new run here with --new",
            )
        for line in allowed:
            log.info("changed since the last start: %s", line)

    def check_origin(self, checkpoint: Checkpoint, config: Any, depends: dict[str, Any]) -> None:
        """Raise CheckpointError if a checkpoint has other settings than the run: one of the two was replaced."""
        refused, _ = resume.changes(checkpoint.state["config"], config)
        refused += differences(checkpoint.state["depends"], depends)
        if refused:
            raise CheckpointError(
                "the newest checkpoint has other settings than config.json and run.json:\n    "
                + "\n    ".join(refused),
                where=checkpoint.path,
                fix="restore config.json and run.json, or move the checkpoint away if it belongs to another run",
            )

    def _read(self, name: str) -> dict[str, Any]:
        try:
            data = json.loads((self.path / name).read_bytes())
            if not isinstance(data, dict):
                raise ValueError("not a JSON object")
        except (OSError, ValueError, RecursionError) as error:
            raise CheckpointError(
                f"{name} cannot be read: {error}", where=self.path, fix="restore it, or start a new run with --new"
            ) from None
        return data
