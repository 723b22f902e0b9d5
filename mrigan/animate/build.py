"""Make the clips of many stills, with several processes, and the manifest that lists them.

Each clip appears complete or not at all, and depends only on the settings, its still's bytes and its number: so an
interrupted run can be continued, and any number of processes gives the same bytes.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2

from mrigan.animate.backdrop import find_backdrop, room_of
from mrigan.animate.film import compress, film
from mrigan.animate.portrait import PortraitReader
from mrigan.animate.shot import draw_shot, generator
from mrigan.animate.stage import set_stage
from mrigan.animate.stills import Still, find_stills
from mrigan.errors import ConfigError, InputError, MriganError
from mrigan.files import Output, atomic_write, not_writable, sha256_file, write_json, write_text, writer_is_gone
from mrigan.progress import bar, track
from mrigan.published import FACE_MESH, published_file
from mrigan.threads import cores
from mrigan.workers.pool import Busy, Died, Done, run_tasks

VERSION = 1  # increased if the same settings give other bytes
MARKER, MANIFEST = "animate.json", "manifest.csv"
COLUMNS = ("path", "label", "identity", "source", "dataset", "licence")
MAX_CLIPS, SECONDS = 1000, (0.2, 60.0)


@dataclass(frozen=True)
class Settings:
    """What determines the bytes of the clips."""

    clips: int = 2
    seconds: float = 2.5
    seed: int = 0


@dataclass(frozen=True)
class Animated:
    """The manifest, how many clips it has, stills without a clip and why, and how many stills have no known person."""

    manifest: Path
    clips: int
    skipped: list[tuple[Still, str]]
    strangers: int


def animate(
    stills: Sequence[Path],
    out: Path,
    *,
    people: Path | None = None,
    clips: int = 2,
    seconds: float = 2.5,
    seed: int = 0,
    dataset: str = "stills",
    workers: int = 0,
) -> Animated:
    """Make `clips` clips of each still in the folder `out`, or those that are missing there, and `MANIFEST`.

    Args:
        stills: pictures with one face each, or folders of them. people: see `find_stills`.
        seconds: length of a clip. seed: another one gives other clips.
        dataset: its name in the manifest.
        workers: processes, 0 = one per core.

    Raises:
        ConfigError: impossible settings. ModelError: the face mesh was never fetched.
        InputError: see `find_stills`; no still has a usable face; `out` has clips of other settings.
        OutputError: the folder cannot be written to.
    """
    if not 1 <= clips <= MAX_CLIPS or not SECONDS[0] <= seconds <= SECONDS[1]:
        raise ConfigError(
            f"cannot make {clips} clips of {seconds:g} s of each still",
            fix=f"1 to {MAX_CLIPS} clips of {SECONDS[0]:g} to {SECONDS[1]:g} s",
        )
    published_file(FACE_MESH)
    settings = Settings(clips, float(seconds), seed)
    given = find_stills(stills, people)
    _claim(out, settings)
    digests, skipped = _digests(given)
    with bar("clips", len(digests) * clips, "clips") as advance:
        workers = min(workers or cores(), max(len(digests), 1))
        tasks = [(still.path, digest) for still, digest in digests.items()]
        stills_of = {still.path: still for still in digests}
        for outcome in run_tasks(_worker, (str(out), settings), tasks, workers=workers):
            if isinstance(outcome, Busy) or (isinstance(outcome, Died) and outcome.again):
                continue
            advance(clips)
            reason = outcome.result if isinstance(outcome, Done) else f"animating it failed each time: {outcome.reason}"
            if isinstance(outcome, Died) and isinstance(outcome.error, MriganError | OSError):
                raise outcome.error  # of the disk or the networks: no other still would fare better
            if reason:
                skipped.append((stills_of[outcome.task[0]], reason))
    _sweep(out)
    skipped.sort(key=lambda item: item[0].name)
    failed = {still for still, _ in skipped}
    return _list(
        out, {still: digest for still, digest in digests.items() if still not in failed}, clips, dataset, skipped
    )


def _digests(stills: list[Still]) -> tuple[dict[Still, str], list[tuple[Still, str]]]:
    """The SHA-256 of each still; and those that cannot be read or have the bytes of an earlier one, with the reason."""
    digests: dict[str, Still] = {}
    skipped = []
    for still in track(stills, "reading", len(stills), "pictures"):
        try:
            digest = sha256_file(still.path)
        except OSError as error:
            skipped.append((still, error.strerror or str(error)))
            continue
        if (first := digests.setdefault(digest, still)) is not still:
            skipped.append((still, f"the same picture as {first.name}"))
    return {still: digest for digest, still in digests.items()}, skipped


def _claim(out: Path, settings: Settings) -> None:
    """Mark the folder with the settings.

    Raises:
        InputError: it has clips of other settings, or other files.
    """
    marker = out / MARKER
    wanted = {"version": VERSION, **asdict(settings)}
    Output(marker).try_write()
    _sweep(out)
    if marker.exists():
        try:
            found = json.loads(marker.read_text())
        except (OSError, ValueError):
            found = "an unreadable marker"
        if found != wanted:
            raise InputError(f"the folder has clips of other settings: {found}", where=out, fix="give another folder")
    elif any(out.iterdir()):
        raise InputError("the folder has other files; it was not changed", where=out, fix="give a new or empty folder")
    else:
        write_json(marker, wanted)


def _sweep(out: Path) -> None:
    """Remove what killed processes left."""
    for path in out.glob(".*.tmp"):
        if writer_is_gone(path):
            path.unlink(missing_ok=True)


def _worker(out: str, settings: Settings) -> Callable[[tuple[Path, str], Callable[[Any], None]], str]:
    """A function that makes the missing clips of a still; it returns "", or why there is none."""
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    reader = PortraitReader()

    def work(task: tuple[Path, str], report: Callable[[Any], None]) -> str:
        try:
            _make(*task, Path(out), settings, reader)
        except InputError as error:
            return error.what
        except OSError as error:  # of the picture
            return error.strerror or str(error)
        return ""

    return work


def _make(path: Path, digest: str, out: Path, settings: Settings, reader: PortraitReader) -> None:
    names = [clip_name(path, digest, number) for number in range(settings.clips)]
    missing = [number for number, name in enumerate(names) if not (out / name).exists()]
    if missing:
        portrait = reader(path)
        backdrop = find_backdrop(portrait)
    for number in missing:
        rng = generator(settings.seed, digest, number)
        shot = draw_shot(rng, room_of(portrait, backdrop), settings.seconds)
        stage = set_stage(portrait, backdrop, shot, rng)
        _write(out / names[number], compress(film(stage, shot, rng), shot))


def _write(path: Path, data: bytes) -> None:
    try:
        with atomic_write(path) as file:
            file.write(data)
    except OSError as error:
        raise not_writable(path, error) from None


def clip_name(path: Path, digest: str, number: int) -> str:
    """The file name of a clip: of the still's name and bytes, and the clip's number."""
    return f"{re.sub('[^A-Za-z0-9_-]', '_', path.stem)[:60]}-{digest[:10]}-{number}.mp4"


def _list(out: Path, made: dict[Still, str], clips: int, dataset: str, skipped: list[tuple[Still, str]]) -> Animated:
    """Write the manifest, in the order of the stills."""
    if not made:
        raise InputError(f"no picture has a usable face, for example: {skipped[0][1]}", where=skipped[0][0].path)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for still, digest in made.items():
        names = (clip_name(still.path, digest, number) for number in range(clips))
        writer.writerows((name, "real", still.person, still.name, dataset, still.licence) for name in names)
    write_text(out / MANIFEST, text.getvalue())
    return Animated(out / MANIFEST, len(made) * clips, skipped, sum(not still.person for still in made))
