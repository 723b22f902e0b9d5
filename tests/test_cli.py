"""What every command has: short help, completion, a progress line that a person can plan by."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
import typer.main
from typer.testing import CliRunner

from mrigan import progress
from mrigan.cli.app import app


def commands(command: click.Command, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The words of every command, the groups among them."""
    found = [path]
    for name, sub in getattr(command, "commands", {}).items():
        found += commands(sub, (*path, name))
    return found


def test_h_is_help_everywhere() -> None:
    paths = commands(typer.main.get_command(app))
    assert len(paths) > 20
    for path in paths:
        done = CliRunner().invoke(app, [*path, "-h"])
        assert done.exit_code == 0, path
        assert "--help" in done.output


def complete(*words: str) -> tuple[list[str], str]:
    """What a shell is offered after these words; and which of the heavy modules were imported for it."""
    code = (
        "import sys; from mrigan.cli import main\n"
        "try: main()\n"
        "finally: print(*(m for m in ('torch', 'mlflow', 'cv2', 'av', 'numpy', 'pandas') if m in sys.modules),"
        " file=sys.stderr)"
    )
    asked = {"_MRIGAN_COMPLETE": "complete_bash", "COMP_WORDS": " ".join(["mrigan", *words]),
             "COMP_CWORD": str(len(words))}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code.replace("main()", "sys.argv[0] = 'mrigan'; main()", 1)],
        env=os.environ | asked, capture_output=True, text=True, check=False)  # fmt: skip
    return done.stdout.split(), done.stderr.strip()


def test_completion_is_light() -> None:
    assert complete("det") == (["detect"], "")
    offered, heavy = complete("detect", "--js")
    assert (sorted(offered), heavy) == (["--json", "--jsonl"], "")


def test_the_time_left_is_told_in_minutes() -> None:
    assert progress.time_left(30, 1) == "30 s left"
    assert progress.time_left(61, 1) == "2 min left"
    assert progress.time_left(7140, 1) == "119 min left"
    assert progress.time_left(3 * 3600 + 241, 1) == "3 h 05 min left"
    assert progress.time_left(5, 0) == "time left unknown"


def test_a_name_that_the_terminal_cannot_show() -> None:
    code = (
        "import sys; from mrigan.cli import main; sys.argv = ['mrigan', '--version']\n"
        "try: main()\n"
        "except SystemExit: sys.stdout.write('人')"
    )
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=False)
    assert done.stdout.endswith(rb"\u4eba"), done.stderr


def test_nobody_reads_standard_error() -> None:
    code = (
        "from mrigan.progress import bar, say\n"
        "with bar('x', 2, every=0) as advance: advance(); say('a' * 99); advance()\n"
        "print('done')"
    )
    read, write = os.pipe()
    os.close(read)
    for closed in (write, os.open("/dev/full", os.O_WRONLY)):
        done = subprocess.run([sys.executable, "-c", code], stderr=closed, stdout=subprocess.PIPE,
                              check=False)  # fmt: skip
        os.close(closed)
        assert done.stdout == b"done\n"


@pytest.mark.parametrize("where", ["/proc/v.parquet", "/dev/full/v.parquet"])
def test_an_output_that_cannot_be_written_is_no_traceback(where: str, tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("path,label\na.mp4,real\n")
    (tmp_path / "a.mp4").touch()
    words = ["catalog", "scan", "manifest", str(tmp_path / "m.csv"), "-o", where]
    done = subprocess.run([sys.executable, "-m", "mrigan.cli", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert where in done.stderr
