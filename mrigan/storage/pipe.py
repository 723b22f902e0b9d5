"""A folder behind a shell command: `pipe:aws s3 cp s3://bucket/set/{} -`."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from typing import IO

from mrigan.errors import ConfigError, ShardError
from mrigan.storage.urls import CHUNK_BYTES, MAX_SILENCE, NoRangesError

PIPE = "pipe:"
MAX_STDERR = 500  # characters of it that an error shows


class PipeStorage:
    """A folder whose files a shell command writes to its output: `pipe:aws s3 cp s3://bucket/set/{} -`.

    `{}` stands for the name of a file.

    Raises:
        ConfigError: the command has no `{}`.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        if "{}" not in url:
            raise ConfigError(
                "the command does not say where the name of a file goes", where=url, fix="write {} for the name"
            )

    def where(self, name: str) -> str:
        """The command for a file.

        Raises:
            ShardError: the name has characters that a set's files do not have.
        """
        if not re.fullmatch(r"[\w.-]+", name):  # it was read from a file, and a shell will see it
            raise ShardError(f"a file is called {name!r}", where=self.url, fix="verify the set at its source")
        return self.url.replace("{}", name)

    def chunks(self, name: str, start: int) -> Iterator[bytes]:
        """The output of the command for a file.

        Raises:
            NoRangesError: `start` is not 0: a command begins at the beginning.
            OSError: the command failed. TimeoutError: it wrote nothing, or did not end, for `MAX_SILENCE` seconds.
        """
        if start:
            raise NoRangesError("a command's output has to be read from its beginning")
        command = self.where(name).removeprefix(PIPE)
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(
                command,
                shell=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                bufsize=0,
                start_new_session=True,  # an interrupt of the training must not cut what a batch waits for
            )
            assert process.stdout is not None
            try:
                yield from _output(process.stdout)
                if _exit_code(process):
                    errors.seek(0)
                    words = errors.read(MAX_STDERR).decode(errors="replace").strip()
                    raise OSError(f"the command ended with exit code {process.returncode}: {words}")
            finally:
                process.stdout.close()
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()

    def read_once(self, name: str) -> bytes:
        """The contents of a small file; raises as `chunks`."""
        return b"".join(self.chunks(name, 0))


def _exit_code(process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait(MAX_SILENCE)
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"the command did not end within {MAX_SILENCE} seconds after its output") from None


def _output(stdout: IO[bytes]) -> Iterator[bytes]:
    output = select.poll()  # select.select takes no file above number 1,023
    output.register(stdout, select.POLLIN)
    while True:
        if not output.poll(1000 * MAX_SILENCE):
            raise TimeoutError(f"the command wrote nothing for {MAX_SILENCE} seconds")
        data = os.read(stdout.fileno(), CHUNK_BYTES)
        if not data:
            return
        yield data
