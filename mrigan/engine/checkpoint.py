"""Checkpoints: a folder per step, complete or absent, verified when read; safetensors and JSON, no pickle.

    checkpoints/step-000200/{generator,discriminator,…}.safetensors + state.json      checkpoints/best.json

A folder is written under a hidden name, fsynced, and renamed. `state.json` marks it as complete: it is written last and
removed first. It contains the SHA-256 of every other file and a checksum of its own values. If a checkpoint is damaged
or edited, the one before it is used.

Formats: 2, the current one, has a checksum over all values of `state.json`; 1 has none.
"""

from __future__ import annotations

import logging
import math
import os
import re
import secrets
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from mrigan.checked_json import read_checked_json, write_checked_json
from mrigan.engine.tensor_file import TensorFile, write_tensors
from mrigan.errors import CheckpointError
from mrigan.files import failpoint, sha256_file, sync_folder, write_json

log = logging.getLogger(__name__)

FORMAT = 2
UNCHECKED_FORMAT = 1  # its state.json has no checksum
MARKER = "state.json"
BEST = "best.json"
MIN_KEPT = 2  # whatever `keep` is: the newest checkpoint may be damaged
_STEP = re.compile(r"step-(\d+)")


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint on disk.

    Attributes:
        state: the content of state.json.
        has_checksum: whether a checksum proves all values of `state`; not so in format 1.
    """

    path: Path
    state: dict[str, Any]
    has_checksum: bool = True

    @property
    def step(self) -> int:
        """Optimizer steps that were done."""
        return int(self.state["step"])

    def tensors(self, name: str) -> dict[str, torch.Tensor]:
        """The tensors of `<name>.safetensors`, on the CPU.

        Raises:
            CheckpointError: the checkpoint has no such file, or it cannot be read.
        """
        if f"{name}.safetensors" not in self.state["files"]:
            raise CheckpointError(f"the checkpoint has no {name}.safetensors", where=self.path)
        try:
            return load_file(self.path / f"{name}.safetensors")
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"cannot read {name}.safetensors: {error}", where=self.path) from None


class CheckpointStore:
    """The checkpoints of one run. Only the process that holds the run's lock may save or recover.

    Args:
        folder: of the `step-NNNNNN` folders; created with the first one.
        keep: the number of newest checkpoints that are kept (at least 2); the best by held-out score is kept too.
        permanent: checkpoints at multiples of so many steps are never removed; 0 = none.
    """

    def __init__(self, folder: str | Path, keep: int = 3, permanent: int = 0) -> None:
        self.folder = Path(folder)
        self.keep, self.permanent = max(keep, MIN_KEPT), permanent
        self.best: dict[str, Any] | None = None  # {"step", "score"} of the best checkpoint so far

    def path(self, step: int) -> Path:
        """The folder of a step."""
        return self.folder / f"step-{step:06d}"

    def steps(self) -> list[int]:
        """The steps that have a complete checkpoint, in ascending numerical order."""
        if not self.folder.is_dir():
            return []
        matches = (_STEP.fullmatch(path.name) for path in self.folder.iterdir())
        steps = {int(match[1]) for match in matches if match}
        return sorted(step for step in steps if (self.path(step) / MARKER).is_file())

    def save(
        self, step: int, files: Mapping[str, TensorFile], state: dict[str, Any], score: float | None = None
    ) -> Path:
        """Write a checkpoint, record it if it is the best so far, and remove old ones.

        Args:
            step: optimizer steps done.
            files: name (without suffix) → tensors.
            state: all other values that are needed to continue; JSON.
            score: held-out score of this step, higher is better; None = not scored, and never the best.

        Raises:
            CheckpointError: the disk is full or not writable; earlier checkpoints are untouched.
        """
        score = score if score is not None and math.isfinite(score) else None
        best = self.best
        if score is not None and (best is None or score > best["score"]):
            best = {"step": step, "score": score}
        final = self.path(step)
        beside = self.folder / f".{final.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp"
        try:
            beside.mkdir(parents=True)
            failpoint("checkpoint.begun", final.name)
            sums = {
                f"{name}.safetensors": write_tensors(beside / f"{name}.safetensors", file)
                for name, file in files.items()
            }
            write_checked_json(
                beside / MARKER, {**state, "format": FORMAT, "step": step, "score": score, "best": best, "files": sums}
            )
            sync_folder(beside)
            if final.exists():  # without its marker, or the same step saved again
                _remove(final)
            failpoint("checkpoint.whole", final.name)
            os.rename(beside, final)
            failpoint("checkpoint.there", final.name)
            sync_folder(self.folder)
        except (OSError, SafetensorError) as error:
            shutil.rmtree(beside, ignore_errors=True)
            raise CheckpointError(
                f"cannot save a checkpoint: {error}",
                where=final,
                fix="check permissions and free space; the same command continues from the checkpoint before",
            ) from error
        self._note_best(best)
        self._purge()
        return final

    def load(self, step: int, verify: bool = True) -> Checkpoint:
        """The checkpoint of `step`: state.json checked, and every file against its SHA-256.

        Args:
            verify: False = the tensors are not read, because another rank has just verified them.

        Raises:
            CheckpointError: it is missing, incomplete, damaged or edited; the message names the file.
        """
        path = self.path(step)
        try:
            state, has_checksum = read_checked_json(path / MARKER)
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{MARKER} cannot be read: {error}", where=path) from None
        version = state.get("format")
        if version not in (UNCHECKED_FORMAT, FORMAT):
            raise CheckpointError(
                f"its format is {version}, but this version reads {UNCHECKED_FORMAT} and {FORMAT}", where=path
            )
        if version != UNCHECKED_FORMAT and not has_checksum:
            raise CheckpointError(f"the checksum of {MARKER} is missing", where=path)
        if state.get("step") != step:
            raise CheckpointError(
                f"{MARKER} says step {state.get('step')}: the folder was renamed, or the file was edited", where=path
            )
        sums = _listed_files(path, state.get("files"))
        for name, expected in sums.items() if verify else ():
            try:
                actual = sha256_file(path / name)
            except OSError as error:
                raise CheckpointError(f"{name} cannot be read: {error.strerror}", where=path) from None
            if actual != expected:
                raise CheckpointError(f"{name} is damaged (SHA-256 mismatch)", where=path)
        return Checkpoint(path, state, has_checksum)

    def recover(self, check: Callable[[Checkpoint], None] = lambda checkpoint: None) -> Checkpoint | None:
        """The newest undamaged checkpoint; None if there are no checkpoints.

        Damaged ones are renamed to `damaged-…` with a warning, so that they are neither used nor lost. Unfinished
        folders of a killed process are removed.

        Args:
            check: raises CheckpointError for a checkpoint that is undamaged, but cannot belong to this run.

        Raises:
            CheckpointError: checkpoints exist and all are damaged.
        """
        for unfinished in self.folder.glob(".step-*.tmp"):
            shutil.rmtree(unfinished)
        for unfinished in self.folder.glob(f".{BEST}.*.tmp"):
            unfinished.unlink()
        steps = self.steps()
        for folder in self.folder.glob("step-*"):  # half removed when the process was killed
            match = _STEP.fullmatch(folder.name)
            if match and steps and int(match.group(1)) < steps[-1] and not (folder / MARKER).exists():
                shutil.rmtree(folder)
        for step in reversed(steps):
            try:
                checkpoint = self.load(step)
                check(checkpoint)
            except CheckpointError as error:
                aside = self.folder / f"damaged-{step:06d}-{secrets.token_hex(2)}"
                os.rename(self.path(step), aside)
                log.warning(
                    "checkpoint %s cannot be used (%s); it was renamed to %s, trying the one before it",
                    self.path(step),
                    error.what,
                    aside.name,
                )
                continue
            best = checkpoint.state.get("best")
            self._note_best(best if _is_best(best) and best["step"] in steps else None)
            self._purge()  # again, in case a killed process did not finish it
            return checkpoint
        if steps:
            raise CheckpointError(
                "all checkpoints of this run are damaged", where=self.folder, fix="start a new run with --new"
            )
        return None

    def before(self, step: int) -> Checkpoint | None:
        """The newest undamaged checkpoint before `step`; None if there is none."""
        for earlier in reversed(self.steps()):
            if earlier < step:
                try:
                    return self.load(earlier)
                except CheckpointError as error:
                    log.warning("%s; trying the one before it", error)
        return None

    def rewind(self, checkpoint: Checkpoint) -> None:
        """Remove all checkpoints after `checkpoint`, the newest first, and restore the best of that time."""
        for step in reversed(self.steps()):
            if step > checkpoint.step:
                _remove(self.path(step))
        best = checkpoint.state.get("best")
        self.best = None
        if _is_best(best) and best["step"] in self.steps():
            self._note_best(best)
        else:
            (self.folder / BEST).unlink(missing_ok=True)

    def load_best(self) -> Checkpoint:
        """The best checkpoint by held-out score; if it is missing or damaged, the newest one, with a warning."""
        newest = self.steps()[-1]
        if self.best is None:
            return self.load(newest)
        try:
            return self.load(self.best["step"])
        except CheckpointError as error:
            log.warning("the best checkpoint cannot be used, using the newest one: %s", error)
            return self.load(newest)

    def _note_best(self, best: dict[str, Any] | None) -> None:
        if best != self.best and best is not None:
            write_json(self.folder / BEST, best)
        self.best = best

    def _purge(self) -> None:
        kept = set(self.steps()[-self.keep :]) | ({self.best["step"]} if self.best else set())
        for step in self.steps():
            if step not in kept and not (self.permanent and step % self.permanent == 0):
                _remove(self.path(step))


def _remove(folder: Path) -> None:
    """Remove a checkpoint, its marker first, so that a kill in between leaves nothing that looks complete."""
    (folder / MARKER).unlink(missing_ok=True)
    failpoint("checkpoint.unmarked", folder.name)
    sync_folder(folder)
    shutil.rmtree(folder)
    failpoint("checkpoint.removed", folder.name)


def _listed_files(folder: Path, listed: Any) -> dict[str, str]:
    """The SHA-256 of each file of a checkpoint, from the list in state.json.

    Raises:
        CheckpointError: it is not a list of this folder's files.
    """
    if not isinstance(listed, dict) or not all(
        re.fullmatch(r"\w+\.safetensors", name) and isinstance(expected, str) for name, expected in listed.items()
    ):
        raise CheckpointError(f"{MARKER} does not list the files of the checkpoint", where=folder)
    if extra := {path.name for path in folder.glob("*.safetensors")} - listed.keys():
        raise CheckpointError(f"{MARKER} does not list {', '.join(sorted(extra))}", where=folder)
    if not listed:
        raise CheckpointError(f"{MARKER} lists no files", where=folder)
    return listed


def _is_best(best: Any) -> TypeGuard[dict[str, Any]]:
    """Whether this is a step with its score; in format 1 no checksum protects it."""
    return isinstance(best, dict) and isinstance(best.get("step"), int) and isinstance(best.get("score"), int | float)
