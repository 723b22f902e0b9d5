"""Make the sample's folder in DFDC's layout, atomically and with several processes; equal seeds give equal bytes."""

from __future__ import annotations

import fcntl
import json
import logging
import multiprocessing
import os
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import resource_tracker
from pathlib import Path

import cv2
import numpy as np

from mrigan.errors import ConfigError, InputError
from mrigan.files import sha256_file, sync_folder, write_json, write_text
from mrigan.progress import bar
from mrigan.sample.encode import ClipWriter
from mrigan.sample.fakes import KINDS
from mrigan.sample.motion import FPS, render
from mrigan.sample.people import HEIGHT, WIDTH, make_person
from mrigan.sample.portraits import load_portraits
from mrigan.stopping import held_back

log = logging.getLogger(__name__)

VERSION = 2  # increased if the same settings give other bytes
PEOPLE_A_PART = 2  # they are swapped with each other, so that no face is in two parts
UNSEEN_KIND = "generator"
UNSEEN_LENGTH = 3  # times as long as the other clips: long enough for a verdict
MARKER = "sample.json"
README = """Invented people in DFDC's layout, made by `mrigan sample` from two public-domain portraits: Eileen Collins
(NASA; scikit-image ships it) and Grace Hopper (US Navy; matplotlib ships it). Faces, hair, colours, rooms, motion and
fakes are drawn from a seed.

It shows the machine working. It is no benchmark: figures measured on it say nothing about real deepfakes.

dfdc_train_part_N/  two people each: an original and a fake of each kind, listed in metadata.json
unseen/             a real and a fake clip, three times as long, of a person who is in no part
sample.json         settings, the kind of each fake, and the SHA-256 of every file
"""


@dataclass(frozen=True)
class Settings:
    """The settings that determine the bytes of a sample."""

    people: int = 14
    seed: int = 0
    seconds: float = 2.0

    @property
    def frames(self) -> int:
        return round(self.seconds * FPS)


def make_sample(out: str | Path, *, people: int = 14, seed: int = 0, seconds: float = 2.0, workers: int = 0) -> Path:
    """Make the sample in `out`, or reuse a finished sample. Returns `out`.

    Args:
        out: a new or empty folder, or one with a sample of the same settings.
        people: number of invented people, two per part, 5 clips each.
        seconds: length of a clip, at 25 frames/s; unseen clips are three times as long.
        workers: processes, 0 = one per core. The bytes do not depend on it.

    Raises:
        ConfigError: impossible settings. InputError: `out` has other files, or another process is making it.
    """
    settings = Settings(people, seed, float(seconds))
    if not 2 <= people <= 1000 or not 0.4 <= seconds <= 600:
        raise ConfigError(
            f"cannot make a sample of {people} people and {seconds:g} s",
            fix="give 2 to 1000 people and clips of 0.4 to 600 s",
        )
    out = Path(out).resolve()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        _check_finished(out, settings)
        log.info("reusing the finished sample %s", out)
        return out
    with _work_folder(out) as folder:
        _build(folder, settings, workers or len(os.sched_getaffinity(0)))
        os.replace(folder, out)
        sync_folder(out.parent)
    return out


def _check_finished(out: Path, settings: Settings) -> None:
    """Raise InputError unless `out` is a complete sample of these settings."""
    try:
        marker = json.loads((out / MARKER).read_text())
        files = dict(marker["files"])
        made = marker["settings"] | {"version": marker["version"]}
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(
            "the folder is not empty and is not a sample; it was not changed",
            where=out,
            fix="give a new or empty folder",
        ) from None
    if made != asdict(settings) | {"version": VERSION}:
        raise InputError(f"the folder has a sample of other settings: {made}", where=out, fix="give another folder")
    for name, digest in files.items():
        if not (out / name).is_file() or sha256_file(out / name) != digest:
            raise InputError(
                f"{name} is missing or changed", where=out, fix="remove the folder and make the sample again"
            )


@contextmanager
def _work_folder(out: Path) -> Iterator[Path]:
    """A hidden, empty folder beside `out`, for one process at a time; removed on an error."""
    folder = out.parent / f".{out.name}.partial"
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # released when the process ends
        for leftover in folder.iterdir():
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        yield folder
    except BlockingIOError:
        raise InputError("another process is making this sample", where=out, fix="wait for it") from None
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        os.close(lock)


def _build(folder: Path, settings: Settings, workers: int) -> None:
    numbers = range(settings.people)
    names = _names(settings, len(KINDS) + 1)
    jobs = [
        (settings.frames, folder / _part(number), number, dict(zip(["original", *KINDS], names[number], strict=True)))
        for number in numbers
    ]
    unseen = settings.people + settings.people % PEOPLE_A_PART  # skip the donor of an odd last person
    jobs.append(
        (UNSEEN_LENGTH * settings.frames, folder / "unseen", unseen, {"original": "real.mp4", UNSEEN_KIND: "fake.mp4"})
    )
    for _, place, _, _ in jobs:
        place.mkdir(exist_ok=True)
    with bar("sample", sum(len(clips) for *_, clips in jobs), "clips") as advance:
        for done in _run([(settings.seed, *job) for job in jobs], workers):
            advance(done)
    for part in sorted({_part(number) for number in numbers}):
        write_json(folder / part / "metadata.json", _metadata(part, names, list(KINDS)))
    write_text(folder / "README.txt", README)
    kinds = {
        f"{_part(number)}/{name}": {"person": number, "kind": kind}
        for number in numbers
        for kind, name in zip(["original", *KINDS], names[number], strict=True)
    }
    files = {str(path.relative_to(folder)): sha256_file(path) for path in sorted(folder.rglob("*")) if path.is_file()}
    write_json(folder / MARKER, {"version": VERSION, "settings": asdict(settings), "clips": kinds, "files": files})


def _run(jobs: list[tuple], workers: int) -> Iterable[int]:
    """The number of clips of each job, as the jobs end."""
    if workers == 1:
        yield from (make_clips(*job) for job in jobs)
        return
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _start_worker) as pool:
        resource_tracker.ensure_running()  # not in the block: it lets signals through when it has started
        with held_back():  # of a signal to the group this process hears, and ends the others
            made = [pool.submit(make_clips, *job) for job in jobs]
        try:
            for done in as_completed(made):
                yield done.result()
        except BaseException:
            for worker in list(pool._processes.values()):  # which are minutes of work away from their end
                worker.kill()
            raise


def _start_worker() -> None:
    cv2.setNumThreads(1)  # the processes share the cores


def make_clips(seed: int, frames: int, folder: Path, number: int, clips: dict[str, str]) -> int:
    """Write the clips of one person; returns their number.

    Args:
        frames: of each clip. clips: file names by "original" and the kinds of fake.
    """
    portraits = load_portraits()
    person, donor = (make_person(seed, n, portraits) for n in (number, number ^ 1))
    order = ["original", *KINDS]
    makers = {
        kind: KINDS[kind](person, donor, np.random.default_rng([seed, number, 4, order.index(kind)]))
        for kind in clips
        if kind != "original"
    }
    writers = {kind: ClipWriter(folder / name, FPS, (WIDTH, HEIGHT)) for kind, name in clips.items()}
    for frame in render(person, seed, frames):
        writers["original"].write(frame.image)
        for kind, make in makers.items():
            writers[kind].write(make(frame))
    for writer in writers.values():
        writer.close()
    return len(writers)


def _part(number: int) -> str:
    return f"dfdc_train_part_{number // PEOPLE_A_PART}"


def _names(settings: Settings, each: int) -> list[list[str]]:
    """Random file names of ten letters, as in DFDC: `each` names per person."""
    rng = np.random.default_rng([settings.seed, settings.people, 5])
    names: dict[str, None] = {}
    while len(names) < each * settings.people:
        names["".join(map(chr, rng.integers(97, 123, 10))) + ".mp4"] = None
    flat = list(names)
    return [flat[i : i + each] for i in range(0, len(flat), each)]


def _metadata(part: str, names: list[list[str]], kinds: list[str]) -> dict[str, dict[str, str]]:
    """The metadata.json of one part, sorted by name."""
    rows: dict[str, dict[str, str]] = {}
    for number, (original, *fakes) in enumerate(names):
        if _part(number) == part:
            rows[original] = {"label": "REAL", "split": "train"}
            rows |= {name: {"label": "FAKE", "split": "train", "original": original} for name in fakes[: len(kinds)]}
    return dict(sorted(rows.items()))
