"""Atomic writes (an output appears complete or not at all), temporary files, process ids, content hashes."""

from __future__ import annotations

import codecs
import errno
import fcntl
import glob
import hashlib
import json
import os
import re
import secrets
import shutil
import signal
import socket
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

from mrigan.errors import OutputError
from mrigan.regular import open_regular
from mrigan.text import printable

TRIAL_BYTES = 1 << 16  # written to check that the disk has free space
HASH_BYTES = 1 << 20  # read at a time
MAX_LINKS = 40  # symbolic links in a chain, as in the kernel
MAX_READER_DELAY = 5.0  # seconds that the reader of a named pipe may start later than the writer
FAILPOINT = "MRIGAN_FAILPOINT"  # environment variable for tests: "NAME N" or "NAME N full"; see `failpoint`
_passes = count(1)


class Output:
    """The destination of one result. Create it before the work starts: it checks at once that it can be written.

    A regular file is replaced atomically when the result is complete; for a symbolic link, its target is replaced.
    A device, a named pipe, a socket or an open descriptor such as /dev/stdout is not replaced: the complete result is
    written into it. A named pipe or a device is opened by the constructor.

    Attributes:
        path: as given. file: the file that is replaced; None if the result is written into `path`.

    Raises:
        OutputError: a folder, a circle of links, a pipe without a reader, or a device that cannot be opened.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.file: Path | None = None
        self._stream: BinaryIO | None = None
        try:
            self._stream = _open_descriptor(self.path)
            if self._stream is None:
                mode = _mode(self.path)
                if stat.S_ISREG(mode):
                    self.file = Path(os.path.realpath(self.path))
                else:
                    self._stream = _open_special(self.path, mode)
        except OSError as error:
            raise not_writable(self.path, error) from None

    def try_write(self) -> Output:
        """Write a few bytes beside the file and remove them again; creates missing folders. Returns itself.

        Also removes what a killed process left of it.

        Raises:
            OutputError: the folder cannot be created or written to, or the disk is full.
        """
        if self.file is not None:
            beside: Path | None = None
            try:
                self.file.parent.mkdir(parents=True, exist_ok=True)
                for path in self.file.parent.glob(f".{glob.escape(self.file.name)}.*.tmp"):
                    if writer_is_gone(path):
                        path.unlink(missing_ok=True)
                beside = temporary_path(self.file)
                with open(beside, "xb") as file:
                    failpoint("try.begun", self.file.name)
                    file.write(bytes(TRIAL_BYTES))
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as error:
                raise not_writable(self.path, error) from None
            finally:
                if beside is not None:
                    beside.unlink(missing_ok=True)
        return self

    @property
    def is_standard_output(self) -> bool:
        """Whether this is the standard output of the process, for example as /dev/stdout."""
        try:
            return self._stream is not None and os.path.samestat(os.fstat(self._stream.fileno()), os.fstat(1))
        except OSError:  # it is closed
            return False

    def open_stream(self) -> BinaryIO | None:
        """The stream, for results that are written piece by piece; None for a file. The caller closes it."""
        return self._stream

    @contextmanager
    def writing(self) -> Iterator[BinaryIO]:
        """A seekable binary file; it becomes the output when the block ends without an error."""
        if self.file is None:
            assert self._stream is not None
            with tempfile.TemporaryFile() as complete, self._stream as stream:
                yield complete
                complete.seek(0)
                shutil.copyfileobj(complete, stream)
            return
        self.file.parent.mkdir(parents=True, exist_ok=True)
        beside = temporary_path(self.file)
        try:
            with open(beside, "xb") as file:
                if self.file.exists():  # keep its permissions
                    os.fchmod(file.fileno(), stat.S_IMODE(self.file.stat().st_mode))
                failpoint("write.begun", self.file.name)
                yield file
                file.flush()
                os.fsync(file.fileno())
            failpoint("write.done", self.file.name)
            try:
                os.replace(beside, self.file)
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
                shutil.copyfile(beside, self.file)  # a bind mount of one file, as in containers, cannot be replaced
                beside.unlink()
            failpoint("write.replaced", self.file.name)
            sync_folder(self.file.parent)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise


def failpoint(name: str, what: str = "") -> None:
    """A point where tests kill this process like `kill -9`; does nothing unless MRIGAN_FAILPOINT is set.

    MRIGAN_FAILPOINT="checkpoint 3" kills at the third point whose `name what` begins with "checkpoint"; " 3" at the
    third of all. "write.begun 3 full" fills the disk there instead. Put one before and after each step that makes a
    result visible or removes one.

    Args:
        name: of the point: `room.moment`. what: the file or unit.

    Raises:
        OSError: ENOSPC, with "full".
    """
    setting = os.environ.get(FAILPOINT)
    if setting:
        start, _, number = setting.removesuffix(" full").rpartition(" ")
        if f"{name} {what}".startswith(start) and next(_passes) == int(number):
            if setting.endswith(" full"):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), what)
            os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def atomic_write(path: str | Path | Output) -> Iterator[BinaryIO]:
    """Open a temporary binary file beside `path`; fsync and rename it to `path` when the block ends without an error.

    On an error the temporary file (see `temporary_path`) is removed. For other than regular files see `Output`.
    """
    with (path if isinstance(path, Output) else Output(path)).writing() as file:
        yield file


def try_output(path: str | Path) -> None:
    """Raise OutputError, before the work starts, if a file cannot be written; other than files are not checked."""
    if not os.path.exists(path) or os.path.isfile(path):
        Output(path).try_write()


def _mode(path: Path) -> int:
    """The mode bits of a path or of a link's target; those of a regular file if nothing exists yet.

    Raises:
        OSError: a folder, or a path that cannot exist.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return stat.S_IFREG
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    return mode


def _open_descriptor(path: Path) -> BinaryIO | None:
    """A copy of the descriptor of a path such as /dev/stdout or /dev/fd/3; None for any other path."""
    for _ in range(MAX_LINKS):
        folder = os.path.realpath(path.parent)
        if re.fullmatch(r"/proc/\d+(/task/\d+)?/fd", folder):
            if not folder.startswith(os.path.realpath("/proc/self") + "/"):
                return open(path, "ab")  # of another process, which also writes to it
            if path.name == "1" and sys.stdout is not None:
                sys.stdout.flush()  # keep the order of the output
            descriptor = os.dup(int(path.name))
            if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
                os.close(descriptor)
                raise OSError(errno.EBADF, "it is open only for reading", str(path))
            return os.fdopen(descriptor, "wb")
        if not path.is_symlink():
            return None
        path = path.parent / os.readlink(path)
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))


def _open_special(path: Path, mode: int) -> BinaryIO:
    """Open a device, pipe or socket for writing; waits some seconds for the reader of a pipe."""
    if stat.S_ISSOCK(mode):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(os.fspath(path))
            return connection.makefile("wb")
    deadline = time.monotonic() + MAX_READER_DELAY
    while True:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
            break
        except OSError as error:
            if error.errno != errno.ENXIO or not stat.S_ISFIFO(mode):
                raise
            if time.monotonic() > deadline:
                raise OSError(errno.ENXIO, "no process reads from this pipe", str(path)) from None
        time.sleep(0.05)  # there is no event for the arrival of a reader
    os.set_blocking(descriptor, True)
    return os.fdopen(descriptor, "wb")


def not_writable(path: Path, error: OSError) -> OutputError:
    """The error that says why `path` cannot be written, and what to do."""
    fixes = {
        errno.EISDIR: "give the name of a file in this folder",
        errno.ENXIO: "start the program that reads from it first",
        errno.EACCES: "choose another path, or make the folder writable",
        errno.EROFS: "choose another path: this file system is read-only",
        errno.ENOSPC: "free some space, or choose a path on another disk",
    }
    return OutputError(
        f"cannot be written: {error.strerror or error}",
        where=shown(os.fspath(path)),
        fix=fixes.get(error.errno or 0, "choose another path"),
    )


def temporary_path(path: Path) -> Path:
    """A new name beside `path`: `.NAME.<process space>-<pid>-<random>.tmp`.

    Readers ignore it because of its dot. It names the process that writes it (see `writer_is_gone`).
    """
    return path.parent / f".{path.name}.{process_space()}-{os.getpid()}-{secrets.token_hex(4)}.tmp"


def writer_is_gone(path: Path) -> bool:
    """Whether the process that made this `temporary_path` was on this machine and is dead.

    False if that is unknown: the process was on another machine or in another container.
    """
    match = re.search(r"\.([0-9a-f]{12})-(\d+)-[0-9a-f]{8}\.tmp$", path.name)
    return match is not None and process_is_gone(match[1], int(match[2]))


def process_is_gone(space: str, pid: int) -> bool:
    """Whether a process of this machine is dead; False for one in another `process_space`."""
    return space == process_space() and not _alive(pid)


@cache
def process_space() -> str:
    """12 hex digits that identify host, boot and pid namespace: within these a pid identifies one process."""
    facts = [socket.gethostname()]
    try:
        facts += [Path("/proc/sys/kernel/random/boot_id").read_text().strip(), os.readlink("/proc/self/ns/pid")]
    except OSError:
        facts.append("")  # not Linux: only the host's name
    return hash_json(facts)[:12]


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state not in "ZX"  # Z: a zombie
    except ProcessLookupError:
        return False
    except OSError:  # a process of another user, or no /proc
        return True


def sync_folder(folder: str | Path) -> None:
    """Make renames in `folder` survive a power loss."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def shown(path: str) -> str:
    """The path as printable text: bytes that are not UTF-8 become �, control characters are escaped."""
    return printable(os.fsencode(path).decode("utf-8", "replace"))


def write_text(path: str | Path | Output, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with atomic_write(path) as file:
        file.write(text.encode())


def write_json(path: str | Path | Output, data: Any) -> None:
    """Write `data` as indented JSON, atomically. NaN and infinities raise ValueError: they are not JSON."""
    write_text(path, json.dumps(data, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def text_encoding(start: bytes) -> str:
    """The encoding of a text by its first four bytes: UTF-16 or UTF-8, with or without a byte order mark."""
    if start[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16"
    if len(start) >= 2 and 0 in start[:2] and start[:2] != b"\0\0":  # UTF-16 without a mark: ASCII beside NULs
        return "utf-16-be" if start[0] == 0 else "utf-16-le"
    return "utf-8-sig"


def sha256_file(path: str | Path, hashing: Callable[[], None] = lambda: None) -> str:
    """Hex SHA-256 of a regular file's bytes.

    Args:
        hashing: called after each `HASH_BYTES`; what it raises ends it.
    """
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while chunk := file.read(HASH_BYTES):
            digest.update(chunk)
            hashing()
    return digest.hexdigest()


def hash_json(data: Any) -> str:
    """Hex SHA-256 of the canonical JSON of `data` (sorted keys, no spaces)."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
