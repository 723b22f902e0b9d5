"""Shard folders that may not be written to: a finished one answers, an unfinished one says so in words."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mrigan.packing import build_shards
from mrigan.shardset.layout import Layout

RUN = """
import json, sys
from typer.testing import CliRunner
from mrigan.cli.app import app
for words in json.loads(sys.argv[1]):
    done = CliRunner().invoke(app, words)
    print(json.dumps([done.exit_code, done.output, repr(done.exception)]))
"""


def as_a_user() -> list[str]:
    """What a command begins with so that permissions hold for it: they do not hold for root."""
    if os.geteuid():
        return []
    rights = "-dac_override,-dac_read_search"
    words = ["setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}"]
    if not shutil.which("setpriv") or subprocess.run([*words, "true"], capture_output=True, check=False).returncode:
        pytest.skip("root's rights cannot be given up here")
    return words


@pytest.fixture
def read_only() -> Iterator[Callable[[Path], None]]:
    """Takes the right to write away from all that a folder holds."""
    folders: list[Path] = []

    def change(folder: Path, allowed: bool) -> None:
        for path in (folder, *folder.rglob("*")):
            mode = path.stat().st_mode
            path.chmod(mode | stat.S_IWUSR if allowed else mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))

    def lock(folder: Path) -> None:
        folders.append(folder)
        change(folder, False)

    yield lock
    for folder in folders:
        change(folder, True)


def outcomes(*commands: list[str]) -> list[tuple[int, str, str]]:
    done = subprocess.run([*as_a_user(), sys.executable, "-c", RUN, json.dumps(commands)], text=True,
                          stdout=subprocess.PIPE, check=True)  # fmt: skip
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_ino) for path in sorted(folder.rglob("*"))}


def test_a_finished_set_is_not_written_again(copy: Callable[[], Path]) -> None:
    folder = copy()
    before = stamps(folder)
    assert build_shards(folder, workers=1).built == 0
    assert stamps(folder) == before
    layout = Layout(folder)
    samples, manifest = layout.samples.read_bytes(), layout.manifest.read_bytes()
    layout.samples.write_bytes(samples[:-1])
    layout.manifest.write_text("{")
    assert build_shards(folder, workers=1).built == 0
    assert (layout.samples.read_bytes(), layout.manifest.read_bytes()) == (samples, manifest)


def test_read_only_folders(copy: Callable[[], Path], read_only: Callable[[Path], None]) -> None:
    finished = copy()
    unfinished = Path(shutil.copytree(finished, finished.with_name("unfinished")))
    next(Layout(unfinished).units.glob("*.json")).unlink()
    read_only(finished)
    read_only(unfinished)
    before = stamps(finished.parent)
    names = [["build", "--workers", "1"], ["verify", "--sample", "--workers", "1"], ["repair", "--workers", "1"]]
    commands = [["shards", name, str(folder), *more] for folder in (finished, unfinished) for name, *more in names]
    whole, verified, *rest = outcomes(*commands)
    assert (whole[0], verified[0]) == (0, 0), (whole, verified)
    # The finished set holds clips that could not be read, which a repair tries again.
    for (code, output, error), found in zip(
        rest, ("OutputError", "OutputError", "SystemExit", "OutputError"), strict=True
    ):
        assert (code, found in error) == (1, True), error
        assert "Traceback" not in output
    assert "cannot be written: Permission denied" in rest[0][2]
    assert stamps(finished.parent) == before
