"""A folder that a run would be written to, and the shards that it would read."""

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

LEAST, ENOUGH = 2 << 30, 20 << 30  # free bytes: one checkpoint of MRI-GAN has .7 GB, a run keeps at least four
AMOUNT = 128 << 20  # bytes written and read to measure
SLOW = 100e6  # bytes a second; a checkpoint of .7 GB then takes 7 s
SMALL = 20  # files for the time of one
SHOWN = 5  # damages


def check_folder(folder: Path) -> Iterator[Finding]:
    """Space, rights, locks and speed where a run would be written. What it writes is removed."""
    above = folder.absolute()
    while not above.exists():
        above = above.parent
    if not above.is_dir():
        yield problem("folder", f"{above} is no folder", "give another run.dir")
        return
    free = shutil.disk_usage(above).free
    found = f"{above}: {free / 2**30:.1f} GiB free"
    if free < LEAST:
        yield problem("disk space", found, "free space, or give another run.dir")
        return
    yield (
        ok("disk space", found)
        if free >= ENOUGH
        else warning(
            "disk space", found, "fewer checkpoints: checkpoint.keep=2, checkpoint.permanent=0; or another run.dir"
        )
    )
    try:
        with tempfile.TemporaryDirectory(prefix=".mrigan-doctor-", dir=above) as scratch:
            yield _speed(Path(scratch))
            yield _small_files(Path(scratch))
            yield _locks(Path(scratch))
    except OSError as error:
        yield problem(
            "folder", f"{above} cannot be written: {error.strerror}", "rights, quota (quota -s), mount options"
        )


def _speed(folder: Path) -> Finding:
    block = os.urandom(1 << 20)
    path = folder / "data"
    begin = time.perf_counter()
    with open(path, "wb") as file:
        for _ in range(AMOUNT >> 20):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    wrote = AMOUNT / (time.perf_counter() - begin)
    with open(path, "rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        begin = time.perf_counter()
        while file.read(1 << 20):
            pass
        read = AMOUNT / (time.perf_counter() - begin)
    found = f"writes {wrote / 1e6:.0f} MB/s (synced), reads {read / 1e6:.0f} MB/s"
    if wrote < SLOW:
        return warning("disk speed", found, "a faster file system for run.dir; or save less often: checkpoint.every")
    return ok("disk speed", found)


def _small_files(folder: Path) -> Finding:
    begin = time.perf_counter()
    for number in range(SMALL):
        with open(folder / f".{number}", "wb") as file:
            file.write(b"{}")
            file.flush()
            os.fsync(file.fileno())
        os.replace(folder / f".{number}", folder / str(number))
    each = (time.perf_counter() - begin) / SMALL
    found = f"{each * 1e3:.1f} ms for a small file, synced and renamed"
    if each > 0.2:
        return warning("file system", found, "an overloaded metadata server? another file system for run.dir")
    return ok("file system", found)


def _locks(folder: Path) -> Finding:
    with open(folder / "lock", "wb") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return problem(
                "file locks", f"are refused: {error.strerror}", "mount with locks (NFS: no nolock; Lustre: flock)"
            )
    return ok("file locks", "work: two jobs cannot write one run")


def check_separation(folders: Sequence[str]) -> Iterator[Finding]:
    """Whether the splits of all shard folders together are separate; those at URLs are looked at when they are here."""
    from mrigan.data import check_separate

    here = [folder for folder in folders if "://" not in folder and Layout(Path(folder)).samples.is_file()]
    if not here:
        return
    try:
        check_separate(here)
    except MriganError as error:
        yield problem("splits", error.what, error.fix or "")
    else:
        yield ok(
            "splits", f"no family, clip or key is in two splits of {len(here)} shard folder{'s' * (len(here) > 1)}"
        )


def check_shards(folder: str, splits: tuple[str, str], kind: str = "any") -> Iterator[Finding]:
    """Whether a training could open the shards, and whether a sample of them is sound.

    Args:
        folder: a shard folder.
        splits: those that are trained and validated on.
        kind: "pairs" or "any"; see `ShardSet.open`.
    """
    if "://" in folder:
        yield note("shards", f"{folder} is checked when it is fetched: size and SHA-256 of every shard")
        return
    from mrigan.data import ShardSet
    from mrigan.packing import verify_shards

    try:
        counts = {split: len(ShardSet.open([folder], split, kind)) for split in splits}
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
        few = "; ".join(str(damage) for damage in damages[:SHOWN])
        more = f"; and {len(damages) - SHOWN} more" if len(damages) > SHOWN else ""
        yield problem("shards", f"{folder}: {few}{more}", f"mrigan shards verify {folder}, then build it again")
    else:
        said = ", ".join(f"{split} {count:,}" for split, count in counts.items())
        yield ok("shards", f"{folder}: {said} samples; a sample of each shard is as it was written")
