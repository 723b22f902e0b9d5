"""When a batch job trains again: told by status.json, never by an exit code, and not for ever."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from mrigan.errors import ShardError
from mrigan.health.failure import note_failure
from mrigan.health.requeue import RequeueDecision, begin, end, main


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "run"


def train(run: Path, **status: Any) -> None:
    """What a start leaves in the run folder."""
    run.mkdir(exist_ok=True)
    path = run / "status.json"
    before = path.stat().st_mtime_ns if path.exists() else 0
    path.write_text(json.dumps(status))
    os.utime(path, ns=(before + 1, before + 1))


@pytest.mark.parametrize("asked", [False, True])
def test_a_finished_run_is_never_requeued(run: Path, asked: bool) -> None:
    """It was asked to stop while it wrote its model."""
    assert begin(run, "7") == ""
    train(run, state="finished", step=20)
    assert end(run, "7", asked)[0] is RequeueDecision.FINISHED
    assert not list(run.parent.glob(".*"))


def test_a_stop_by_the_queue_goes_back_into_the_queue(run: Path) -> None:
    begin(run, "7")
    train(run, state="stopped", step=5)
    assert end(run, "7", True)[0] is RequeueDecision.REQUEUE


def test_a_stop_by_hand_is_not_undone(run: Path) -> None:
    begin(run, "7")
    train(run, state="stopped", step=5)
    assert end(run, "7", False)[0] is RequeueDecision.STOPPED


def test_ranks_that_were_killed_start_again(run: Path) -> None:
    begin(run, "7")
    train(run, state="running", step=5)
    assert end(run, "7", False)[0] is RequeueDecision.AGAIN
    train(run, state="failed", step=5, error="RuntimeError('Connection closed by peer')", retry=True)
    assert end(run, "7", False)[0] is RequeueDecision.AGAIN


def test_what_would_fail_again_is_not_tried_again(run: Path) -> None:
    begin(run, "7")
    train(run, state="failed", step=5, error="the loss is nan", retry=False)
    verdict, why = end(run, "7", False)
    assert verdict is RequeueDecision.FAILED
    assert "the loss is nan" in why
    assert end(run, "7", True)[0] is RequeueDecision.FAILED


def test_a_hang_starts_again_and_gives_the_nodes_back_where_nothing_was_saved(run: Path) -> None:
    begin(run, "7")
    train(run, state="hung", step=5, error="rank 1 lags", retry=True)
    assert end(run, "7", False)[0] is RequeueDecision.AGAIN
    begin(run, "7")
    train(run, state="hung", step=5, error="rank 1 lags", retry=True)
    verdict, why = end(run, "7", False)
    assert verdict is RequeueDecision.REQUEUE
    assert "rank 1 lags" in why
    begin(run, "7", limit=2)
    train(run, state="hung", step=5, error="rank 1 lags", retry=True)
    assert end(run, "7", False, limit=2)[0] is RequeueDecision.FAILED  # not for ever


@pytest.mark.parametrize(("error", "verdict"), [(ShardError("damaged"), "failed"), (OSError("a link"), "again")])
def test_another_ranks_word_counts_where_rank_0_was_killed_before_its_own(
    run: Path, error: Exception, verdict: str
) -> None:
    begin(run, "7")
    train(run, state="running", step=5)
    note_failure(run / "health", 3, error, 6, "data")
    found, why = end(run, "7", False)
    assert found == verdict
    assert "rank 3 on " in why
    assert str(error) in why


@pytest.mark.parametrize("state", ["stopped", "running", "failed", None])
def test_an_earlier_starts_word_is_not_taken_for_this_ones(run: Path, state: str | None) -> None:
    """A wrong config ends a start before it opens the run folder, where the last word may be `stopped`."""
    if state:
        train(run, state=state, step=5)
    begin(run, "7")
    verdict, why = end(run, "7", False)
    assert verdict is RequeueDecision.FAILED
    assert "before it opened" in why


def test_killed_before_it_could_open_its_folder_when_time_was_up(run: Path) -> None:
    train(run, state="stopped", step=5)
    begin(run, "7")
    assert end(run, "7", True)[0] is RequeueDecision.REQUEUE


def test_starts_without_progress_are_few(run: Path) -> None:
    train(run, state="running", step=5)
    for _ in range(2):
        assert begin(run, "7", limit=3) == ""
        train(run, state="running", step=5)
        assert end(run, "7", False, limit=3)[0] is RequeueDecision.AGAIN
    assert begin(run, "7", limit=3) == ""
    train(run, state="running", step=5)
    verdict, why = end(run, "7", False, limit=3)
    assert verdict is RequeueDecision.FAILED
    assert "3 starts in a row saved no step after 5" in why


def test_also_those_that_slurm_requeues_by_itself(run: Path) -> None:
    """A node failure, or an administrator: the script's end is not reached."""
    train(run, state="running", step=5)
    assert [bool(begin(run, "7", limit=3)) for _ in range(4)] == [False, False, False, True]


def test_progress_and_another_job_start_the_count_anew(run: Path) -> None:
    train(run, state="running", step=5)
    for step in range(6, 30):
        assert begin(run, "7", limit=2) == ""
        if step % 2:
            train(run, state="running", step=step)
    for _ in range(4):
        begin(run, "7", limit=2)
    assert begin(run, "7", limit=2) != ""
    assert begin(run, "8", limit=2) == ""


def test_the_command_line(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [str(run), "--job", "12_3", "--limit", "1"]
    assert main(["begin", *words]) == 0
    train(run, state="stopped", step=3)
    assert main(["end", "--asked", *words]) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == ("requeue\n", "asked to stop, at step 3\n")
    assert main(["begin", *words]) == 0
    assert main(["begin", *words]) == 1
    assert "saved no step after 3" in capsys.readouterr().err
