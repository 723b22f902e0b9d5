"""What a dead builder left goes; what a living one writes stays, wherever it lives."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mrigan.files import process_space, temporary_path, writer_is_gone
from mrigan.packing import build_shards, plan_shards
from mrigan.shardset.layout import Layout
from mrigan.shardset.leftovers import MAX_AGE, clean, leftovers
from tests.packing.conftest import PNG, Built, config, tree
from tests.packing.processes import BUILD

WRITE = "import sys; from mrigan.files import temporary_path; from pathlib import Path; p = temporary_path(Path(sys.argv[1])); p.write_bytes(b'half'); print(p, flush=True); sys.stdin.read()"  # noqa: E501


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    for folder in ("units", "faces", "log"):
        (tmp_path / folder).mkdir()
    return Layout(tmp_path)


def writer(path: Path) -> subprocess.Popen[str]:
    """A process that writes a temporary file beside `path`, says its name, and lives until its input ends."""
    return subprocess.Popen([sys.executable, "-c", WRITE, str(path)], text=True, stdin=-1, stdout=-1)


def test_only_the_dead_of_this_machine_are_known(layout: Layout) -> None:
    with writer(layout.shard("a.tar")) as process:
        assert process.stdout is not None
        living = Path(process.stdout.readline().strip())
        clean(layout)
        assert leftovers(layout) == [living]
        assert not writer_is_gone(living)
        process.kill()
        process.wait()
        assert writer_is_gone(living)
        clean(layout)
    assert leftovers(layout) == []


def test_another_machines_files_go_by_age_alone(layout: Layout) -> None:
    ours = temporary_path(layout.unit_rows("train-000000")).name
    with writer(layout.shard("a.tar")) as process:  # a pid that is nobody's here says nothing about there
        assert process.stdout is not None
        name = Path(process.stdout.readline().strip()).name
        process.kill()
    (layout.root / name).unlink()
    elsewhere = name.replace(process_space(), "0123456789ab")
    for folder in (layout.root, layout.units, layout.faces, layout.log):
        (folder / elsewhere).write_bytes(b"half")
    (layout.faces / ours).write_bytes(b"ours")  # this process's own
    clean(layout)
    assert len(leftovers(layout)) == 5
    old = time.time() - MAX_AGE - 60
    for path in leftovers(layout):
        if path.name == elsewhere:
            os.utime(path, (old, old))
    clean(layout)
    assert leftovers(layout) == [layout.faces / ours]


def test_files_of_other_names_are_left_alone(layout: Layout) -> None:
    for name in (".hidden", "notes.tmp", ".train-000000.json.tmp"):
        (layout.units / name).write_bytes(b"x")
    clean(layout)
    assert {path.name for path in layout.units.iterdir()} == {".hidden", "notes.tmp", ".train-000000.json.tmp"}


@pytest.mark.faults
def test_a_builder_in_another_container_loses_nothing(built: Built, tmp_path: Path) -> None:
    """Its pids mean nothing here, and here is nobody who holds a lock for it."""
    alone = [
        "unshare",
        "--pid",
        "--fork",
        "--mount-proc",
        "sh",
        "-c",
        'echo 4000000 > /proc/sys/kernel/ns_last_pid; "$@"',
        "sh",
    ]  # pids that nobody has here
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no new pid namespace can be had here")
    folder = tmp_path / "shards"
    plan_shards(built.catalog, config(*PNG), folder)
    command = [*alone, *BUILD, str(folder), "--workers", "2"]
    with subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as other:
        cleaned = 0
        while other.poll() is None:
            clean(Layout(folder))
            cleaned += 1
        assert other.stderr is not None
        assert other.returncode == 0, other.stderr.read()
    assert cleaned > 10
    assert tree(folder) == tree(built.folder)
    assert build_shards(folder, workers=1).built == 0
