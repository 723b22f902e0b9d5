"""Stop signals: a flag, an agreement, and the handlers that were there before."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch

from mrigan.engine import signals
from mrigan.engine.distributed import World
from mrigan.engine.signals import STOP_FILE, StopRequest, listening

ALONE = World(0, 1, 0, torch.device("cpu"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_is_noted_and_kills_nothing(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with StopRequest(ALONE) as stop:
        assert stop.agreed(1) == ""
        os.kill(os.getpid(), number)
        assert stop.agreed(2) == number.name
    assert signal.getsignal(number) == before


def test_a_second_ctrl_c_ends_at_once() -> None:
    with StopRequest(ALONE) as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.received == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_forked_child_takes_no_part() -> None:
    with StopRequest(ALONE) as stop:
        child = os.fork()
        if child == 0:
            os.kill(os.getpid(), signal.SIGTERM)
            os._exit(0 if stop.received == 0 else 1)
        assert os.waitpid(child, 0)[1] == 0


def test_ranks_ask_at_the_same_steps() -> None:
    many = StopRequest(World(0, 8, 0, torch.device("cuda", 0)))
    many.received = signal.SIGTERM
    assert many.agreed(9) == ""  # not asked: no communication in this step


def test_a_queues_signal_that_came_too_early_is_taken_over() -> None:
    before = signal.getsignal(signal.SIGUSR1)
    with listening():
        os.kill(os.getpid(), signal.SIGUSR1)
        with StopRequest(ALONE) as stop:
            assert stop.agreed(1) == "SIGUSR1"
        with StopRequest(ALONE) as stop:  # once
            assert stop.agreed(1) == ""
    assert signal.getsignal(signal.SIGUSR1) == before


@pytest.mark.parametrize(
    ("number", "name"), [(signal.SIGTERM, "SIGTERM"), (signal.SIGINT, "SIGINT"), (signal.SIGUSR1, "")]
)
def test_before_the_first_step_a_queues_signal_waits_for_it(number: signal.Signals, name: str) -> None:
    with StopRequest(ALONE) as stop:
        os.kill(os.getpid(), number)
        assert stop.early() == name
        assert stop.agreed(1) == number.name


def test_a_stop_file_stands_for_a_signal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STOP_FILE, str(tmp_path / "stop"))
    monkeypatch.setattr(signals, "POLL_S", 0.0)
    with StopRequest(ALONE) as stop:
        assert stop.agreed(1) == ""
        (tmp_path / "stop").touch()
        assert stop.agreed(2) == "a stop file"
    other = StopRequest(World(1, 1, 0, torch.device("cpu")))
    assert other.agreed(1) == ""  # rank 0 looks for all


def test_the_stop_file_is_not_looked_for_in_every_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps take milliseconds, and the file lies on a shared file system."""
    monkeypatch.setenv(STOP_FILE, str(tmp_path / "stop"))
    looked = []
    monkeypatch.setattr(os.path, "exists", lambda path: looked.append(path) or False)
    clock = iter([10.0, 10.0, 10.4, 10.9, 11.1, 11.1])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    stop = StopRequest(ALONE)
    for step in range(4):
        stop.agreed(step)
    assert len(looked) == 2
