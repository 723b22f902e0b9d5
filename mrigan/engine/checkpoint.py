"""Checkpoints: one folder a step, whole or absent, verified when read; safetensors and JSON, never a pickle.

    checkpoints/step-000200/{generator,discriminator,…}.safetensors + state.json      checkpoints/best.json

A folder is written under a hidden name, fsynced, and renamed. `state.json` is its marker: written last, removed first.
It holds the SHA-256 of every other file and a checksum of its own values, so that a damaged or edited checkpoint is
noticed and the one before it is used.

Formats: 1 has no checksum of `state.json` itself. 2, written now, has one over all values of `state.json`.
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
UNCHECKED = 1  # the format whose state.json has no checksum
MARKER = "state.json"
BEST = "best.json"
LEAST = 2  # checkpoints that stay whatever `keep` says: the newest may prove damaged
_STEP = re.compile(r"step-(\d+)")


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint on disk.

    Attributes:
        state: what state.json holds.
        has_checksum: whether all values of `state` are known to be those that were saved; not so in format 1.
    """

    path: Path
    state: dict[str, Any]
    has_checksum: bool = True

    @property
    def step(self) -> int:
        """Optimizer steps done when it was saved."""
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
        folder: where the `step-NNNNNN` folders lie; made when the first one is saved.
        keep: how many of the newest stay (never fewer than 2); the best by held-out score stays besides.
        permanent: a checkpoint at a multiple of so many steps stays for ever; 0 = none.
    """

    def __init__(self, folder: str | Path, keep: int = 3, permanent: int = 0) -> None:
        self.folder = Path(folder)
        self.keep, self.permanent = max(keep, LEAST), permanent
        self.best: dict[str, Any] | None = None  # {"step", "score"} of the best checkpoint so far

    def path(self, step: int) -> Path:
        """The folder of a step."""
        return self.folder / f"step-{step:06d}"

    def steps(self) -> list[int]:
        """The steps that have a finished checkpoint, ascending as numbers (a million sorts after nine)."""
        if not self.folder.is_dir():
            return []
        found = ((_STEP.fullmatch(p.name), p) for p in self.folder.iterdir())
        steps = {int(m.group(1)) for m, p in found if m and (p / MARKER).is_file()}
        return sorted(step for step in steps if (self.path(step) / MARKER).is_file())  # "step-7" is a name of nobody's

    def save(
        self, step: int, files: Mapping[str, TensorFile], state: dict[str, Any], score: float | None = None
    ) -> Path:
        """Write a checkpoint, note whether it is the best so far, and purge old ones.

        Args:
            step: optimizer steps done.
            files: name (without suffix) → tensors.
            state: whatever else is needed to go on; JSON.
            score: held-out score of this step, higher is better; None = not scored, so never the best.

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
            if final.exists():  # a leftover without its marker, or this very step saved again
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
                fix="see that the folder is writable and has room; the same command goes on from the checkpoint before",
            ) from error
        self._note_best(best)
        self._purge()
        return final

    def load(self, step: int, verify: bool = True) -> Checkpoint:
        """The checkpoint of `step`: state.json checked, and every file against its SHA-256.

        Args:
            verify: False = the tensors are not read: another rank has just done that.

        Raises:
            CheckpointError: it is missing, incomplete, damaged or edited; the message names the file.
        """
        path = self.path(step)
        try:
            state, has_checksum = read_checked_json(path / MARKER)
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{MARKER} is not readable: {error}", where=path) from None
        version = state.get("format")
        if version not in (UNCHECKED, FORMAT):
            raise CheckpointError(f"format {version}, and this version reads {UNCHECKED} and {FORMAT}", where=path)
        if version != UNCHECKED and not has_checksum:
            raise CheckpointError(f"{MARKER} has lost its checksum", where=path)
        if state.get("step") != step:
            raise CheckpointError(
                f"{MARKER} is of step {state.get('step')}: the folder was renamed, or the file edited", where=path
            )
        sums = _listed_files(path, state.get("files"))
        for name, expected in sums.items() if verify else ():
            try:
                actual = sha256_file(path / name)
            except OSError as error:
                raise CheckpointError(f"{name} is not readable: {error.strerror}", where=path) from None
            if actual != expected:
                raise CheckpointError(f"{name} is damaged: its SHA-256 is not the one that was saved", where=path)
        return Checkpoint(path, state, has_checksum)

    def recover(self, check: Callable[[Checkpoint], None] = lambda checkpoint: None) -> Checkpoint | None:
        """The newest undamaged checkpoint, or None where there is none to begin with.

        Damaged ones are renamed to `damaged-…` with a warning that names them, so that they are neither used nor lost.
        Half-written folders of a killed process are removed.

        Args:
            check: raises CheckpointError for a whole checkpoint that this run cannot have saved.

        Raises:
            CheckpointError: checkpoints exist and all are damaged.
        """
        for half in self.folder.glob(".step-*.tmp"):
            shutil.rmtree(half)
        for half in self.folder.glob(f".{BEST}.*.tmp"):
            half.unlink()
        steps = self.steps()
        for folder in self.folder.glob("step-*"):  # what a kill during a purge left
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
                    "checkpoint %s cannot be used (%s); it is kept as %s and the one before it is tried",
                    self.path(step),
                    error.what,
                    aside.name,
                )
                continue
            best = checkpoint.state.get("best")
            self._note_best(best if _is_best(best) and best["step"] in steps else None)
            self._purge()  # which a kill may have kept from its end
            return checkpoint
        if steps:
            raise CheckpointError(
                "no checkpoint of this run is undamaged", where=self.folder, fix="start afresh with --new"
            )
        return None

    def before(self, step: int) -> Checkpoint | None:
        """The newest undamaged checkpoint of fewer than `step` steps, None where there is none."""
        for earlier in reversed(self.steps()):
            if earlier < step:
                try:
                    return self.load(earlier)
                except CheckpointError as error:
                    log.warning("%s; the one before it is tried", error)
        return None

    def rewind(self, checkpoint: Checkpoint) -> None:
        """Remove all that came after `checkpoint`, the newest first; the best is what was the best then."""
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
        """The best checkpoint by held-out score; the newest, with a warning, where the best is missing or damaged."""
        newest = self.steps()[-1]
        if self.best is None:
            return self.load(newest)
        try:
            return self.load(self.best["step"])
        except CheckpointError as error:
            log.warning("the best checkpoint cannot be used, the newest takes its place: %s", error)
            return self.load(newest)

    def _note_best(self, best: dict[str, Any] | None) -> None:
        if best != self.best and best is not None:
            write_json(self.folder / BEST, best)
        self.best = best

    def _purge(self) -> None:
        stay = set(self.steps()[-self.keep :]) | ({self.best["step"]} if self.best else set())
        for step in self.steps():
            if step not in stay and not (self.permanent and step % self.permanent == 0):
                _remove(self.path(step))


def _remove(folder: Path) -> None:
    """Remove a checkpoint, its marker first: a kill in between leaves rubbish, never something that looks finished."""
    (folder / MARKER).unlink(missing_ok=True)
    failpoint("checkpoint.unmarked", folder.name)
    sync_folder(folder)
    shutil.rmtree(folder)
    failpoint("checkpoint.removed", folder.name)


def _listed_files(folder: Path, listed: Any) -> dict[str, str]:
    """The SHA-256 of each file of a checkpoint, where the list in state.json can be right.

    Raises:
        CheckpointError: it is no list of this folder's files.
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
    """Whether that is a step with its score; in format 1 nothing binds it."""
    return isinstance(best, dict) and isinstance(best.get("step"), int) and isinstance(best.get("score"), int | float)
