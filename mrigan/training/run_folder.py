"""The run folder decides: the same folder continues its run, a changed config is refused, two jobs never share it.

The first checkpoint pins the settings. Until then a start with others replaces them: a typo costs nothing.

run.dir/
  config.json        the resolved config          run.json      what else the weights depend on: data hash, generator
  status.json        running | stopped | failed | hung | finished, the step, MLflow's run id (for scripts: the marker)
  metrics.jsonl      a line a logged step          pictures/     checkpoints/          model/   when finished
  health/            a heartbeat a rank, and what a rank that hung or failed left; see mrigan.health
  tracking.db        what MLflow has not got yet, and what it must not get twice
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import logging
import os
import shutil
import threading
from pathlib import Path
from typing import Any, TypeVar

from mrigan.config import DetectorConfig, GanConfig, differences, flatten, to_dict
from mrigan.engine.checkpoint import Checkpoint
from mrigan.errors import CheckpointError
from mrigan.files import failpoint, sync_folder, write_json
from mrigan.health.status import read_status, write_status

log = logging.getLogger(__name__)
C = TypeVar("C", GanConfig, DetectorConfig)

# May change between two starts of one run: none of them changes a step that both configs have, but for the rounding and
# (engine.accumulate, like the number of ranks) for where dropout falls. Everything else does.
# `data.shards` and `model.generator` are compared by content (run.json): a folder may move.
FREE = ("run.", "data.about", "data.shards", "data.cache", "data.loader", "data.decode_on", "data.workers",
        "data.verify", "data.on_bad", "model.generator", "checkpoint.", "eval.", "tracking.", "train.steps",
        "train.epochs", "train.device", "engine.", "health.")  # fmt: skip


# What earlier versions did before a key existed. A run that one of them began goes on so.
BEFORE_THE_KEY = {"data.balance": "classes", "data.crop": "near", "optim.name": "adam", "optim.momentum": 0.9,
                  "optim.schedule": "constant", "optim.warmup": 0, "optim.decay_steps": 0}  # fmt: skip


def as_begun(config: C, new: bool) -> C:
    """The config, with what the run in its folder began with where that run is older than a key.

    Args:
        new: the run in the folder will not be continued.
    """
    folder = RunFolder(config.run.dir)
    if new or not folder.pinned:
        return config
    begun, wanted = folder.config(), flatten(to_dict(config))
    for key, value in BEFORE_THE_KEY.items():
        if key in wanted and key not in begun and wanted[key] != value:
            log.warning("%s was begun before %s existed, and goes on with %s=%s", folder.path, key, key, value)
            section, _, name = key.partition(".")
            old = dataclasses.replace(getattr(config, section), **{name: value})
            config = dataclasses.replace(config, **{section: old})
    return config


class RunFolder:
    """The folder of one run. Rank 0 opens it; all paths may be used anywhere."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.checkpoints = self.path / "checkpoints"
        self.pictures = self.path / "pictures"
        self.metrics = self.path / "metrics.jsonl"
        self.model = self.path / "model"
        self.health = self.path / "health"
        self._lock: int | None = None
        self._status = threading.Lock()  # the thread that writes checkpoints notes them there
        self._warned = False  # of a damaged status.json

    def open(self, config: dict[str, Any], depends: dict[str, Any], new: bool) -> None:
        """Lock the folder and make sure that it is this run's, or a new one.

        Args:
            config: the resolved config.
            depends: what the weights depend on besides: kind of run, data hash, the generator's hash.
            new: start afresh; an earlier run is moved to `<dir>.old-N`, never deleted.

        Raises:
            CheckpointError: another job has the folder open; its run has saved a checkpoint with another config; or it
                holds what is no run.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        self._acquire()
        self._remove_unfinished()
        known = (self.path / "config.json").is_file()
        if known and not new and not self.pinned and not self._same(config, depends):
            # A start that saved nothing pins no settings. What it logged is of other settings: it is kept by itself.
            log.info("the settings of an earlier start in %s, which saved nothing, are replaced", self.path)
            if any((self.path / name).exists() for name in (self.metrics.name, self.pictures.name, "tracking.db")):
                self._move_aside()
            known = False
        if new and any(p.name != ".lock" for p in self.path.iterdir()):
            if not known:
                raise CheckpointError(
                    "--new would move a folder that holds something else than a run",
                    where=self.path,
                    fix="give another run.dir",
                )
            self._move_aside()
            known = False
        if known:
            self.compare(config, depends)
        elif self.checkpoints.exists():
            raise CheckpointError(
                "the folder has checkpoints but no config.json",
                where=self.path,
                fix="restore it, or give another run.dir",
            )
        write_json(self.path / "config.json", config)
        write_json(self.path / "run.json", depends)

    @property
    def pinned(self) -> bool:
        """Whether the settings are the run's for good: it has saved a checkpoint, or a model."""
        saved = self.checkpoints.iterdir() if self.checkpoints.is_dir() else ()
        return any(path.name.startswith(("step-", "damaged-")) for path in saved) or self.model.exists()

    def config(self) -> dict[str, Any]:
        """The flat settings that the run began with."""
        return _as_today(flatten(self._read("config.json")))

    def status(self) -> dict[str, Any]:
        """What `status.json` says; {} where there is none, or a damaged one: the checkpoints know the rest."""
        try:
            return read_status(self.path)
        except CheckpointError as error:
            if not self._warned:
                log.warning("%s in %s; the run goes on from its checkpoints, and writes it anew", error.what, self.path)
            self._warned = True
            return {}

    def set_status(self, state: str, **more: Any) -> None:
        """Replace `status.json`; what is not given stays as it was."""
        with self._status:
            write_status(self.path, {**self.status(), "state": state, **more})

    def tell(self, state: str, error: str, again: bool) -> None:
        """Note how the run ended; of any rank, where rank 0 is the one that cannot."""
        self.set_status(state, error=error, retry=again)

    def close(self) -> None:
        """Release the lock."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _acquire(self) -> None:
        # A POSIX record lock: it dies with the process, and forked loader workers do not inherit it (they outlive a
        # kill -9).
        self._lock = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.close()
            raise CheckpointError(
                "another job is writing this run",
                where=self.path,
                fix="wait for it or stop it, or give another run.dir",
            ) from None

    def _remove_unfinished(self) -> None:
        """Remove what a killed process was writing; the lock says that no other is at work here."""
        for folder in (self.path, self.pictures, self.model):
            for path in folder.glob(".*.tmp"):
                if path.is_file():
                    path.unlink()
        for path in self.path.glob(f".{self.model.name}.*"):  # a model folder, or the one that it was to replace
            if path.is_dir():
                shutil.rmtree(path)

    def _move_aside(self) -> None:
        number = 1
        while (aside := self.path.with_name(f"{self.path.name}.old-{number}")).exists():
            number += 1
        os.rename(self.path, aside)
        failpoint("run.moved", aside.name)
        sync_folder(self.path.parent)
        log.warning("the run before is kept as %s", aside)
        self.close()
        self.path.mkdir()
        self._acquire()

    def _same(self, config: dict[str, Any], depends: dict[str, Any]) -> bool:
        try:
            self.compare(config, depends)
        except CheckpointError:
            return False
        return True

    def compare(self, config: dict[str, Any], depends: dict[str, Any]) -> None:
        """Raise CheckpointError where the folder's run had other settings; reads only."""
        changed = differences(BEFORE_THE_KEY | self.config(), BEFORE_THE_KEY | flatten(config))
        refused = _not_free(changed) + differences(self._read("run.json"), depends)
        if refused:
            raise CheckpointError(
                "this run was started with other settings:\n    " + "\n    ".join(refused),
                where=self.path,
                fix="put them back to continue it, give another run.dir, or start afresh here with --new",
            )
        for line in changed:
            log.info("changed since the last start: %s", line)

    def check_origin(self, checkpoint: Checkpoint, config: dict[str, Any], depends: dict[str, Any]) -> None:
        """Raise CheckpointError where a checkpoint is of other settings than the run: one of the two was replaced."""
        begun = BEFORE_THE_KEY | _as_today(flatten(checkpoint.state["config"]))
        changed = differences(begun, BEFORE_THE_KEY | flatten(config))
        refused = _not_free(changed) + differences(checkpoint.state["depends"], depends)
        if refused:
            raise CheckpointError(
                "the newest checkpoint was saved with other settings than config.json and run.json say:\n    "
                + "\n    ".join(refused),
                where=checkpoint.path,
                fix="restore config.json and run.json, or move the checkpoint away where it is of another run",
            )

    def _read(self, name: str) -> dict[str, Any]:
        try:
            data = json.loads((self.path / name).read_bytes())
            if not isinstance(data, dict):
                raise ValueError("it holds no JSON object")
        except (OSError, ValueError, RecursionError) as error:
            raise CheckpointError(
                f"{name} cannot be read: {error}", where=self.path, fix="restore it, or start afresh with --new"
            ) from None
        return data


def _not_free(changed: list[str]) -> list[str]:
    return [line for line in changed if not line.startswith(FREE)]


def _as_today(begun: dict[str, Any]) -> dict[str, Any]:
    """Flat settings of an earlier version, as this one says the same."""
    if begun.get("model.weights") == "" and "model.backbone" in begun:
        return begun | {"model.weights": "random"}
    return begun
