"""Checkpoints on a real disk: whole or absent, verified, never lost, never a pickle."""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from mrigan.engine.checkpoint import CheckpointStore, TensorFile
from mrigan.errors import CheckpointError
from mrigan.files import sha256_file

ROOT = Path(__file__).parents[2]
UMASK = os.umask(0)
os.umask(UMASK)


def files(step: int) -> dict[str, TensorFile]:
    """Two files whose content tells their step."""
    return {name: TensorFile({"w": torch.full((50, 7), float(step)), "n": torch.tensor(step)}, {"step": str(step)})
            for name in ("net", "net_optimizer")}  # fmt: skip


def filled(folder: Path, steps: list[int], keep: int = 3, scores: dict[int, float] | None = None) -> CheckpointStore:
    store = CheckpointStore(folder, keep)
    for step in steps:
        store.save(step, files(step), {"note": "é"}, (scores or {}).get(step))
    return store


def test_round_trip(tmp_path: Path) -> None:
    filled(tmp_path, [7])
    checkpoint = CheckpointStore(tmp_path).recover()
    assert checkpoint is not None
    assert (checkpoint.step, checkpoint.state["note"]) == (7, "é")
    assert torch.equal(checkpoint.tensors("net")["w"], torch.full((50, 7), 7.0))
    names = {p.name for p in (tmp_path / "step-000007").iterdir()}
    assert names == {"net.safetensors", "net_optimizer.safetensors", "state.json"}  # nothing that needs a pickle
    sums = json.loads((tmp_path / "step-000007" / "state.json").read_text())["files"]
    modes = {p.stat().st_mode & 0o777 for p in (tmp_path / "step-000007").iterdir()}
    assert modes == {0o666 & ~UMASK}  # colleagues may read it
    assert sums == {name: sha256_file(tmp_path / "step-000007" / name) for name in names - {"state.json"}}


def test_an_empty_folder_has_no_checkpoint(tmp_path: Path) -> None:
    assert CheckpointStore(tmp_path / "none").recover() is None


def test_steps_are_numbers_not_text(tmp_path: Path) -> None:
    store = filled(tmp_path, [9, 10, 999_999, 1_000_000], keep=4)
    assert store.steps() == [9, 10, 999_999, 1_000_000]
    recovered = CheckpointStore(tmp_path).recover()
    assert recovered is not None
    assert recovered.step == 1_000_000


@pytest.mark.parametrize(("keep", "left"), [(3, [1, 3, 4, 5]), (0, [1, 4, 5])])
def test_purge_keeps_the_newest_two_at_least_and_the_best(tmp_path: Path, keep: int, left: list[int]) -> None:
    store = filled(tmp_path, [1, 2, 3, 4, 5], keep, {1: 0.9, 2: 0.1, 3: float("nan"), 5: 0.9})
    assert store.steps() == left
    assert json.loads((tmp_path / "best.json").read_text()) == {"step": 1, "score": 0.9}
    assert store.load_best().step == 1


def test_a_resumed_run_remembers_its_best(tmp_path: Path) -> None:
    filled(tmp_path, [1, 2, 3, 4], 2, {1: 0.5})
    store = CheckpointStore(tmp_path, 2)
    store.recover()
    store.save(5, files(5), {}, 0.4)
    assert store.best == {"step": 1, "score": 0.5}
    assert store.steps() == [1, 4, 5]


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


@pytest.mark.parametrize("harm", [
    lambda p: flip_a_byte(p / "net.safetensors"),
    lambda p: cut(p / "net_optimizer.safetensors"),
    lambda p: (p / "net.safetensors").unlink(),
    lambda p: cut(p / "state.json"),
    lambda p: (p / "state.json").write_text("[]"),
    lambda p: (p / "state.json").write_text('{"format": 99, "files": {}, "step": 3}'),
], ids=["flipped byte", "cut", "missing file", "cut state", "wrong state", "unknown format"])  # fmt: skip
def test_a_damaged_newest_falls_back(tmp_path: Path, harm, caplog: pytest.LogCaptureFixture) -> None:
    filled(tmp_path, [1, 2, 3])
    harm(tmp_path / "step-000003")
    with caplog.at_level(logging.WARNING):
        recovered = CheckpointStore(tmp_path).recover()
    assert recovered is not None
    assert recovered.step == 2
    assert "step-000003" in caplog.text
    kept = list(tmp_path.glob("damaged-000003-*"))
    assert len(kept) == 1  # kept as evidence, and not offered again
    assert CheckpointStore(tmp_path).steps() == [1, 2]


def test_without_its_marker_a_checkpoint_does_not_exist(tmp_path: Path) -> None:
    store = filled(tmp_path, [1, 2, 3])
    (tmp_path / "step-000003" / "state.json").unlink()
    (tmp_path / "step-000001" / "state.json").unlink()
    recovered = CheckpointStore(tmp_path).recover()
    assert recovered is not None
    assert recovered.step == 2
    assert not (tmp_path / "step-000001").exists()  # left by a kill during a purge
    store.save(3, files(3), {})
    assert torch.equal(store.load(3).tensors("net")["n"], torch.tensor(3))


def test_all_damaged_is_an_error_and_not_a_fresh_start(tmp_path: Path) -> None:
    filled(tmp_path, [1, 2])
    for step in (1, 2):
        flip_a_byte(tmp_path / f"step-00000{step}" / "net.safetensors")
    with pytest.raises(CheckpointError, match="--new"):
        CheckpointStore(tmp_path).recover()


def test_a_damaged_best_is_replaced_by_the_newest(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = filled(tmp_path, [1, 2, 3], scores={1: 1.0})
    flip_a_byte(tmp_path / "step-000001" / "net.safetensors")
    assert store.load_best().step == 3
    assert "step-000001" in caplog.text


def test_a_disk_that_takes_nothing(tmp_path: Path) -> None:
    store = filled(tmp_path, [1])
    blocked = CheckpointStore(tmp_path / "file" / "checkpoints")
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot save"):
        blocked.save(2, files(2), {})
    assert store.load(1).step == 1


SAVER = """
import sys, torch
from pathlib import Path
from mrigan.engine.checkpoint import CheckpointStore
from tests.engine.test_checkpoint import files
store = CheckpointStore(Path(sys.argv[1]), 2)
found = store.recover()
step = found.step if found else 0
print(step, flush=True)
while True:
    step += 1
    store.save(step, files(step), {}, 1.0 if step == 1 else 0.0)
    print(step, flush=True)
"""


def kill_while_saving(folder: Path, kills: int) -> None:
    """Kill a process that does nothing but save, at random moments; nothing that it said was saved may be lost."""
    moments = random.Random(5)
    said = 0
    for _ in range(kills):
        command = [sys.executable, "-c", SAVER, str(folder)]
        saver = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert saver.stdout is not None
        assert int(saver.stdout.readline()) >= said  # what it recovered
        for _ in range(moments.randrange(1, 6)):
            said = int(saver.stdout.readline())
        time.sleep(moments.random() * 0.01)  # into the middle of some later one
        os.kill(saver.pid, signal.SIGKILL)
        said = max([said, *(int(line) for line in saver.stdout.read().split())])
        saver.wait()
        recovered = CheckpointStore(folder).recover()
        assert recovered is not None
        assert said <= recovered.step <= said + 1
        assert torch.equal(recovered.tensors("net")["n"], torch.tensor(recovered.step))
        assert recovered.state["best"] == {"step": 1, "score": 1.0}
        assert not list(folder.glob("damaged-*"))
        assert len(list(folder.glob("step-*"))) <= 4


def test_kill_while_saving(tmp_path: Path) -> None:
    kill_while_saving(tmp_path, 2)


@pytest.mark.faults
def test_kill_while_saving_twenty_times(tmp_path: Path) -> None:
    kill_while_saving(tmp_path, 20)
