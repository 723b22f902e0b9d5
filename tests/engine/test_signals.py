"""Stop signals: a flag, an agreement, and the handlers that were there before."""

from __future__ import annotations

import os
import signal

import pytest
import torch

from mrigan.engine.distributed import World
from mrigan.engine.signals import StopRequest

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
