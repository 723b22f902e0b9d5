"""How far a build is, seen from outside."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from mrigan.errors import ShardError
from mrigan.packing import plan_shards
from mrigan.packing.journal import FAILED, UnitReport, write_report
from mrigan.packing.watch import Watch, duration
from mrigan.packing.watch_view import _picture
from mrigan.shardset.layout import Layout
from mrigan.storage import Storage
from tests.packing.conftest import PNG, Built, config
from tests.packing.processes import start

WATCH = [sys.executable, "-m", "mrigan.cli", "shards", "watch"]


def retell(folder: Path, name: str, **changes: object) -> None:
    """Change what the log says about a unit, by replacing its file as a builder does."""
    path = folder / "log" / f"{name}.json"
    other = path.with_suffix(".new")
    other.write_text(json.dumps(json.loads(path.read_text()) | changes))
    os.replace(other, path)


def test_a_finished_set(built: Built) -> None:
    view = Watch(built.folder).look()
    assert (view.units, view.done, view.clips, view.done_clips) == (6, 6, 16, 16)
    assert view.faces == built.summary.stored
    assert view.finished
    assert not view.failed
    assert [node.units for node in view.nodes] == [6]


def test_rates_nodes_and_failures(copy: Callable[[], Path]) -> None:
    folder, now = copy(), 1_000_000.0
    (folder / "manifest.json").unlink()
    counts = {"real": 10, "fake": 20}
    for number, (node, ended) in enumerate([("n1", 999_950), ("n1", 999_980), ("n2", 999_990), ("n3", 900_000)]):
        retell(folder, f"train-{number:06d}", node=node, ended=ended, wall=50.0, counts=counts)
    retell(folder, "val-000000", node="n3", ended=900_100, wall=50.0, counts=counts)
    watch = Watch(folder)
    (folder / "units" / "train-000004.json").unlink()
    write_report(Layout(folder), UnitReport("train-000004", FAILED, reason="a worker was killed"))
    view = watch.look(now)
    # Three units of 30 faces in the 100 s since the first of them was begun; those of a day ago do not count.
    assert view.rate == pytest.approx(0.9)
    assert {node.name: (node.units, node.faces, node.rate) for node in view.nodes} == {
        "n1": (2, 60, pytest.approx(0.6)),
        "n2": (1, 30, pytest.approx(0.3)),
        "n3": (2, 60, 0.0),
    }
    assert (view.done, view.units, view.finished) == (5, 6, False)
    assert view.failed == {"train-000004": "a worker was killed"}
    clips = {unit["name"]: unit["clips"] for unit in json.loads((folder / "plan.json").read_text())["units"]}
    pace = sum(clips[f"train-{number:06d}"] for number in range(3)) / 100
    assert view.left == pytest.approx(clips["train-000004"] / pace)
    assert "2 nodes at work, 1 failed" in view.line()
    shown = Console(width=120, record=True, file=io.StringIO())
    shown.print(_picture(view))
    text = shown.export_text()
    assert "5/6 units" in text
    assert re.search(r"n1 +2 +60 +0\.6 +20 s ago", text)
    assert "failed train-000004: a worker was killed" in text


@pytest.mark.parametrize("key", ["unit", "status", "counts", "seconds", "wall", "reason", "node", "ended"])
@pytest.mark.parametrize("value", ["[/x]", None, [], {"real": "x"}, float("nan"), 10**400])
def test_nonsense_in_a_log_is_left_out(copy: Callable[[], Path], key: str, value: object) -> None:
    folder = copy()
    retell(folder, "train-000000", **{key: value})
    view = Watch(folder).look()
    assert view.done == view.units
    assert all(isinstance(node.last, float) for node in view.nodes)
    Console(file=io.StringIO(), markup=False).print(_picture(view), *view.lines())


def test_a_later_look_reads_what_is_new(copy: Callable[[], Path]) -> None:
    folder = copy()
    watch = Watch(folder)
    before = watch.look()
    retell(folder, "val-000000", node="elsewhere", counts={"fake": 1000})
    after = watch.look()
    assert after.faces == before.faces - 14 + 1000
    assert "elsewhere" in {node.name for node in after.nodes}
    (folder / "log" / "val-000000.json").write_text("{half")  # damaged: what was known stays
    assert watch.look().faces == after.faces


def test_nothing_is_done_yet(built: Built, tmp_path: Path) -> None:
    plan_shards(built.catalog, config(*PNG), tmp_path / "shards")
    view = Watch(tmp_path / "shards").look()
    assert (view.done, view.faces, view.rate, view.left, view.nodes) == (0, 0, 0.0, None, [])
    assert view.line() == "0/6 units, 0/16 clips, 0 faces, 0.0 faces/s, 0 nodes at work, 0 failed"
    with pytest.raises(ShardError, match="no shard plan"):
        Watch(tmp_path)


def test_a_set_at_a_url(built: Built) -> None:
    store = Storage("memory://watched/set")
    for path in sorted(built.folder.rglob("*.json")):
        store.put(path, path.relative_to(built.folder).as_posix())
    here, there = Watch(built.folder).look(0.0), Watch("memory://watched/set").look(0.0)
    assert there == here


def test_it_follows_a_build_of_other_processes_to_its_end(built: Built, tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    plan_shards(built.catalog, config(*PNG, "pack.splits=[val]"), folder)
    watch = subprocess.Popen([*WATCH, str(folder), "--every", "0.2"], text=True, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE)  # fmt: skip
    build = start(folder)
    said, errors = watch.communicate()
    _, build_errors = build.communicate()
    assert build.returncode == 0, build_errors
    assert watch.returncode == 0, errors
    assert said.splitlines()[0] == "1/1 units, 2/2 clips, 14 faces, 0 failed, finished"
    done = [int(line.split("/")[0]) for line in errors.splitlines()]
    assert done[0] == 0
    assert done == sorted(done)
    once = subprocess.run([*WATCH, str(folder), "--once"], text=True, capture_output=True, check=True)
    assert once.stdout.splitlines()[0] == said.splitlines()[0]


@pytest.mark.parametrize(("seconds", "text"), [(9.4, "9 s"), (187, "3 min 07 s"), (7500, "2 h 05 min"), (0, "0 s")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
