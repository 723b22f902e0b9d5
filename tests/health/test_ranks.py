"""A training whose rank hangs, or fails: real processes under torchrun, or one alone."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from mrigan.health.heartbeat import Heartbeat, read_heartbeats
from mrigan.health.requeue import RequeueDecision, begin, end
from mrigan.health.view import Word, look
from mrigan.training import gan
from tests.conftest import ROOT
from tests.training.runs import finish, run_gan, start_gan, status, wait_until, write_tiny_shards

LONG = ["train.steps=1000000", "checkpoint.every=1000000", "eval.every=1000000", "tracking.log_every=50"]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_shards(tmp_path_factory.mktemp("tiny") / "shards")


def beats(run: Path) -> dict[int, Heartbeat]:
    return {beat.rank: beat for beat in read_heartbeats(run / "health")}


def test_a_rank_that_hangs_ends_the_job_and_is_named(shards: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    begin(run, "7")
    torchrun = start_gan(shards, run, *LONG, "health.stall_s=5", ranks=2)
    wait_until(lambda: len(beats(run)) == 2 and min(beat.step for beat in beats(run).values()) >= 2, torchrun)
    before = beats(run)
    assert {(b.rank, b.ranks, b.steps, b.every_s) for b in before.values()} == {
        (0, 2, 1_000_000, 1.25),
        (1, 2, 1_000_000, 1.25),
    }
    assert all(5 <= b.limit_s < 60 for b in before.values())  # no longer that of the start
    assert len({beat.pid for beat in before.values()}) == 2
    os.kill(before[1].pid, signal.SIGSTOP)
    stall = run / "health" / "stall.json"
    try:
        wait_until(lambda: stall.is_file() and b"what" in stall.read_bytes(), torchrun)
        health = look(run)
        assert (health.word, [beat.rank for beat in health.late]) in ((Word.STUCK, [1]), (Word.HUNG, []))
    finally:
        os.kill(before[1].pid, signal.SIGKILL)  # torchrun would ask it to leave, and wait for 60 s
    code, said = finish(torchrun)
    assert code == 1, said
    assert "exitcode  : 76" in said
    ended = status(run)
    assert (ended["state"], ended["retry"]) == ("hung", True)
    assert f"(pid {before[1].pid}) lags at step" in ended["error"]
    assert "rank 0 waits at step" in ended["error"]
    assert said.count(f"ERROR {ended['error']}") == 1  # one line, of one rank
    assert f"PeerFailed: {ended['error']}" in said  # torchrun's own table of the root cause
    stacks = (run / "health" / "rank-00000.stacks.txt").read_text()
    assert "in gan_step" in stacks or "in agreed" in stacks  # it waited in a reduction, or for the word on a stop
    flight = json.loads((run / "health" / "rank-00000.flight.json").read_bytes())
    last = flight["gloo"]["entries"][-1]
    assert last["profiling_name"].startswith("gloo:")
    assert (5 + 60) * 1000 <= last["timeout_ms"] < 120_000  # short after the start, and longer than the watch
    assert look(run).word is Word.HUNG
    # Nothing was saved: the nodes are given back, in the hope of others.
    assert end(run, "7", False)[0] is RequeueDecision.REQUEUE


def test_the_first_rank_to_fail_is_told_by_the_others(shards: Path, tmp_path: Path) -> None:
    page, run = tmp_path / "page.py", tmp_path / "run"
    page.write_text("""
import os, sys
from mrigan.errors import ShardError
from mrigan.training import gan
from mrigan.training.launch import launch

step = gan.gan_step

def failing(G, D, batch, **more):
    if os.environ["RANK"] == "1" and batch.step == 2:
        raise ShardError("a sample is damaged", fix="repair it")
    return step(G, D, batch, **more)

gan.gan_step = failing
sys.exit(launch("gan", "gan/cpu-smoke.yaml", sys.argv[1:], False))
""")
    words = [f"data.shards={shards}", f"run.dir={run}", "tracking.enabled=false", *LONG]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(page), *words]
    begin(run, "7")
    done = subprocess.run(torchrun, cwd=ROOT, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 1
    ended = status(run)
    assert ended["error"].startswith("rank 1 on ")
    assert ended["error"].endswith("failed first, at step 2 (compute): a sample is damaged")
    # A rank's own error, not "Connection closed by peer", decides whether the same may be tried again.
    assert (ended["state"], ended["retry"]) == ("failed", False)
    assert end(run, "7", False)[0] is RequeueDecision.FAILED
    echo = json.loads((run / "health" / "rank-00000.error.json").read_bytes())
    assert echo["echo"] is True
    assert "Connection" in echo["error"]
    table = done.stderr[done.stderr.index("Root Cause") :]
    assert "rank      : 1 " in table
    assert "ShardError: a sample is damaged" in table
    health = look(run)
    assert (health.word, health.cause.rank if health.cause else None) == (Word.FAILED, 1)


PAGE = """
import os, signal, sys, threading
from mrigan.health import watch
from mrigan.training import gan
from mrigan.training.held_out import HeldOutFaces
from mrigan.training.launch import launch
from mrigan.training.state import TrainState

rank, step, evaluate = int(os.environ["RANK"]), gan.gan_step, HeldOutFaces.evaluate
watch.LEAVE_S = 6.0

def one_fails_and_one_hangs(G, D, batch, **more):
    if batch.step == 4 and rank == 1:
        raise ValueError("the GPU fell off the bus")
    if batch.step == 4:
        threading.Event().wait()  # as NCCL does: a message that never comes, and no error
    return step(G, D, batch, **more)

def hangs(self):
    if self.job.state.step == 4 and rank == 0:
        threading.Event().wait()
    return evaluate(self)

def stands_still(G, D, batch, **more):
    if batch.step == 4 and rank == 1:
        threading.Event().wait()
    return step(G, D, batch, **more)

def stops(self, task):
    if self.step == 4 and rank == 1:
        os.kill(os.getpid(), signal.SIGSTOP)
    return tensors(self, task)

tensors = TrainState.tensors
if sys.argv[1] == "saves":
    TrainState.tensors = stops
elif sys.argv[1] == "evaluates":
    HeldOutFaces.evaluate = hangs
else:
    gan.gan_step = {"fails": one_fails_and_one_hangs, "computes": stands_still}[sys.argv[1]]
sys.exit(launch("gan", "gan/cpu-smoke.yaml", sys.argv[2:], False))
"""


def run_page(case: str, shards: Path, run: Path, *words: str) -> str:
    page = run.with_suffix(".py")
    page.write_text(PAGE)
    words = (f"data.shards={shards}", f"run.dir={run}", "tracking.enabled=false", *LONG, *words)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(page), case]
    done = subprocess.run([*torchrun, *words], cwd=ROOT, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 1
    return done.stderr


@pytest.mark.faults
def test_a_rank_that_cannot_notice_is_ended_with_the_error_of_the_first(shards: Path, tmp_path: Path) -> None:
    run_page("fails", shards, tmp_path / "run")
    ended = status(tmp_path / "run")
    assert (ended["state"], ended["retry"]) == ("failed", True)
    assert ended["error"].endswith("failed first, at step 4 (compute): ValueError: the GPU fell off the bus")


@pytest.mark.faults
def test_rank_0_hangs_in_an_evaluation_that_the_others_wait_for(shards: Path, tmp_path: Path) -> None:
    said = run_page("evaluates", shards, tmp_path / "run", "eval.every=4", "health.stall_s=2", "health.slow_s=5")
    ended = status(tmp_path / "run")
    assert ended["state"] == "hung"
    assert "rank 0 on " in ended["error"]
    assert " lags at step 4 (validation)" in ended["error"]
    assert said.count(f"ERROR {ended['error']}") == 1
    for rank, where in ((0, "in hangs"), (1, "in barrier")):  # every rank left evidence before it ended
        assert where in (tmp_path / "run" / "health" / f"rank-{rank:05d}.stacks.txt").read_text()


@pytest.mark.faults
def test_a_rank_that_is_stopped_at_a_checkpoint_is_not_waited_for_as_long_as_a_slow_one(
    shards: Path, tmp_path: Path
) -> None:
    run_page("saves", shards, tmp_path / "run", "health.stall_s=2", "checkpoint.every=4")
    ended = status(tmp_path / "run")
    assert ended["state"] == "hung"
    # Its last heartbeat may be of a phase or step before: they are written no more than once in a while.
    said = r": rank 1 on .* lags at step [0-4] \(\w+\), no sign of life for \d"
    assert re.search(said, ended["error"]), ended["error"]


@pytest.mark.faults
def test_the_messages_tell_who_hangs_where_all_ranks_are_at_the_same_place(shards: Path, tmp_path: Path) -> None:
    run_page("computes", shards, tmp_path / "run", "health.stall_s=3")
    error = status(tmp_path / "run")["error"]
    found = re.search(r"rank 1 on .* lags at step 4 \(compute\): it has started (\d+) messages, others (\d+)", error)
    assert found, error
    assert int(found[1]) < int(found[2])


def test_a_hang_can_be_reported_only(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A step waits until the report is there; then training goes on to its end."""
    run, step = tmp_path / "run", gan.gan_step
    stall = run / "health" / "stall.json"

    def waiting(G: Any, D: Any, batch: Any, **more: Any) -> Any:
        while batch.step == 2 and not (stall.is_file() and b"what" in stall.read_bytes()):
            pass
        return step(G, D, batch, **more)

    monkeypatch.setattr(gan, "gan_step", waiting)
    run_gan(shards, run, "train.steps=4", "health.stall_s=2", "health.on_stall=report")
    assert status(run)["state"] == "finished"
    assert "the run is at step 2 (compute)" in caplog.text
    assert "in waiting" in (run / "health" / "rank-00000.stacks.txt").read_text()
    assert [(beat.phase, beat.step) for beat in beats(run).values()] == [("ended", 4)]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("health")]
