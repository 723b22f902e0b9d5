"""Checks of the run folder's disk, and of the shards."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from mrigan.errors import MriganError
from mrigan.finding import Finding, note, ok, problem, warning
from mrigan.shardset.layout import Layout
from mrigan.storage import folder_of, is_remote

MIN_FREE, ENOUGH_FREE = 2 << 30, 20 << 30  # bytes; a checkpoint of MRI-GAN has .7 GB, a run keeps at least four
MEASURED = 128 << 20  # bytes that are written and read to measure the speed
MIN_SPEED = 100e6  # bytes per second; a checkpoint of .7 GB then takes 7 s
SMALL_FILES = 20  # that are written to measure the time of one
MAX_SMALL_FILE_S = 0.2
MAX_DAMAGES = 5  # in a message


def check_folder(folder: Path) -> Iterator[Finding]:
    """Free space, permissions, locks and speed of the run folder's disk. Leaves no files."""
    above = folder.absolute()
    while not above.exists():
        above = above.parent
    if not above.is_dir():
        yield problem("folder", f"{above} is not a folder", "give another run.dir")
        return
    free = shutil.disk_usage(above).free
    summary = f"{above}: {free / 2**30:.1f} GiB free"
    if free < MIN_FREE:
        yield problem("disk space", summary, "free space, or give another run.dir")
        return
    yield (
        ok("disk space", summary)
        if free >= ENOUGH_FREE
        else warning(
            "disk space", summary, "fewer checkpoints: checkpoint.keep=2, checkpoint.permanent=0; or another run.dir"
        )
    )
    try:
        with tempfile.TemporaryDirectory(prefix=".mrigan-doctor-", dir=above) as scratch:
            yield _speed(Path(scratch))
            yield _small_files(Path(scratch))
            yield _locks(Path(scratch))
    except OSError as error:
        yield problem(
            "folder",
            f"{above} cannot be written: {error.strerror}",
            "check permissions, quota (quota -s), mount options",
        )


def _speed(folder: Path) -> Finding:
    block = os.urandom(1 << 20)
    path = folder / "data"
    begin = time.perf_counter()
    with open(path, "wb") as file:
        for _ in range(MEASURED >> 20):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    wrote = MEASURED / (time.perf_counter() - begin)
    with open(path, "rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        begin = time.perf_counter()
        while file.read(1 << 20):
            pass
        read = MEASURED / (time.perf_counter() - begin)
    summary = f"writes {wrote / 1e6:.0f} MB/s (synced), reads {read / 1e6:.0f} MB/s"
    if wrote < MIN_SPEED:
        return warning("disk speed", summary, "a faster file system for run.dir; or save less often: checkpoint.every")
    return ok("disk speed", summary)


def _small_files(folder: Path) -> Finding:
    begin = time.perf_counter()
    for number in range(SMALL_FILES):
        with open(folder / f".{number}", "wb") as file:
            file.write(b"{}")
            file.flush()
            os.fsync(file.fileno())
        os.replace(folder / f".{number}", folder / str(number))
    each = (time.perf_counter() - begin) / SMALL_FILES
    summary = f"{each * 1e3:.1f} ms per small file, synced and renamed"
    if each > MAX_SMALL_FILE_S:
        return warning("file system", summary, "an overloaded metadata server? use another file system for run.dir")
    return ok("file system", summary)


def _locks(folder: Path) -> Finding:
    with open(folder / "lock", "wb") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return problem(
                "file locks",
                f"are refused: {error.strerror}",
                "mount it with locks (NFS: without nolock; Lustre: with flock)",
            )
    return ok("file locks", "work: two jobs cannot use the same run folder")


def check_separation(folders: Sequence[str]) -> Iterator[Finding]:
    """Whether the splits of all shard folders are separate. Folders at URLs are checked after they are fetched."""
    from mrigan.data import check_separate

    local = [folder_of(folder) for folder in folders if not is_remote(folder)]
    local = [folder for folder in local if Layout(folder).samples.is_file()]
    if not local:
        return
    try:
        check_separate(local)
    except MriganError as error:
        yield problem("splits", error.what, error.fix or "")
    else:
        yield ok(
            "splits", f"no family, clip or key is in two splits of {len(local)} shard folder{'s' * (len(local) > 1)}"
        )


def check_shards(folder: str, splits: tuple[str, str], kind: str = "any") -> Iterator[Finding]:
    """Whether a training can open the shards, and whether one sample of each shard is undamaged.

    Args:
        folder: a shard folder.
        splits: for training and for validation.
        kind: "pairs" or "any"; see `ShardSet.open`.
    """
    if is_remote(folder):
        yield note("shards", f"{folder} is checked when it is fetched: size and SHA-256 of every shard")
        return
    from mrigan.data import ShardSet
    from mrigan.packing import verify_shards

    try:
        counts = {split: len(ShardSet.open([folder_of(folder)], split, kind)) for split in splits}
        damages = verify_shards(folder, full=False)
    except MriganError as error:
        yield problem("shards", f"{folder}: {error.what}", error.fix or f"mrigan shards verify {folder}")
        return
    for split, count in counts.items():
        if not count:
            yield problem(
                "shards",
                f"{folder} has no sample in the split {split}",
                "assign clips to that split: mrigan catalog scan --val, --test; or another data.val_split",
            )
    if damages:
        few = "; ".join(str(damage) for damage in damages[:MAX_DAMAGES])
        more = f"; and {len(damages) - MAX_DAMAGES} more" if len(damages) > MAX_DAMAGES else ""
        yield problem("shards", f"{folder}: {few}{more}", f"mrigan shards verify {folder}, then build it again")
    else:
        sizes = ", ".join(f"{split} {count:,}" for split, count in counts.items())
        yield ok("shards", f"{folder}: {sizes} samples; one sample of each shard was checked")
