"""Threads that wait sleep, and are as many as the process has cores; what the user has set stays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mrigan import threads
from mrigan.threads import COUNT, WAITING, cores, settle

COMMAND = """
import json, os, sys
before = dict(os.environ)
import mrigan, mrigan.cli
imported = dict(os.environ) == before
sys.argv = ["mrigan", "--version"]
try:
    mrigan.cli.main()
except SystemExit:
    pass
late = "torch" not in sys.modules
import torch
print(json.dumps([imported, late, torch.get_num_threads(), {k: v for k, v in os.environ.items() if k not in before}]))
"""


def test_the_command_settles_before_torch_is_loaded_and_an_import_changes_nothing() -> None:
    one = min(os.sched_getaffinity(0))
    plain = {name: value for name, value in os.environ.items() if name not in (*WAITING, COUNT)}
    done = subprocess.run(
        [sys.executable, "-c", f"import os; os.sched_setaffinity(0, {{{one}}})\n{COMMAND}"],
        env=plain, check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    imported, late, count, added = json.loads(done.stdout.splitlines()[-1])
    assert imported
    assert late
    assert count == 1
    assert {name: added[name] for name in (*WAITING, COUNT)} == {**WAITING, COUNT: "1"}


@pytest.mark.parametrize("own", [{"OMP_WAIT_POLICY": "ACTIVE"}, {"GOMP_SPINCOUNT": "100"}])
def test_what_the_user_has_set_stays(own: dict[str, str]) -> None:
    environment = {**own, COUNT: "7"}
    settle(environment)
    assert environment == {**own, COUNT: "7"}


def test_the_ranks_of_a_node_share_its_cores() -> None:
    environment = {"LOCAL_WORLD_SIZE": "1000"}
    settle(environment)
    assert environment == {**WAITING, COUNT: "1", "LOCAL_WORLD_SIZE": "1000"}


def group(root: Path, own: Path, lines: str, files: dict[str, str]) -> None:
    own.write_text(lines)
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@pytest.mark.parametrize(
    ("lines", "files", "expected"),
    [
        ("0::/a/b\n", {"cpu.max": "max 100000", "a/b/cpu.max": "150000 100000\n"}, 2),
        ("0::/a/b\n", {"a/cpu.max": "50000 100000", "a/b/cpu.max": "max 100000"}, 1),
        ("0::/\n", {"cpu.max": "400000 100000"}, 4),
        ("4:cpu,cpuacct:/c\n", {"cpu/c/cpu.cfs_quota_us": "300000", "cpu/c/cpu.cfs_period_us": "100000"}, 3),
        ("4:cpu,cpuacct:/c\n", {"cpu/c/cpu.cfs_quota_us": "-1", "cpu/c/cpu.cfs_period_us": "100000"}, 8),
        ("", {}, 8),
    ],
)
def test_a_quota_counts(
    lines: str, files: dict[str, str], expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    monkeypatch.setattr(threads, "CPUS", tmp_path / "none")
    monkeypatch.setattr(threads, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(threads, "OWN", tmp_path / "own")
    group(tmp_path / "cgroup", tmp_path / "own", lines, files)
    assert cores() == expected


def test_two_hardware_threads_of_a_core_count_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for cpu, siblings in enumerate(("0,2", "1,3", "0,2", "1,3")):
        folder = tmp_path / f"cpu{cpu}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(siblings + "\n")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2})
    monkeypatch.setattr(threads, "CPUS", tmp_path)
    monkeypatch.setattr(threads, "OWN", tmp_path / "none")
    assert cores() == 2
