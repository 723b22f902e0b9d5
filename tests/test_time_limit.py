"""Calls with a limit of time: quick ones share a thread, one that hangs keeps its own."""

from __future__ import annotations

import os
import threading

import pytest

from mrigan import time_limit
from mrigan.time_limit import within


def test_calls_that_come_back_share_a_thread() -> None:
    assert len({within(60, threading.get_ident) for _ in range(100)}) == 1
    assert within(60, threading.get_ident) != threading.get_ident()


def test_an_error_is_raised_here_and_ends_nothing() -> None:
    thread = within(60, threading.get_ident)
    with pytest.raises(FileNotFoundError):
        within(60, os.stat, "/nowhere")
    assert within(60, threading.get_ident) == thread


def test_a_call_that_hangs_is_left_behind_with_its_thread() -> None:
    release = threading.Event()
    with pytest.raises(TimeoutError, match="no answer"):
        within(0.01, release.wait)
    [left] = [thread for thread in time_limit._left_behind if thread.is_alive()]
    assert within(60, threading.get_ident) != left.ident
    release.set()
    left.join(60)
    assert not left.is_alive()


@pytest.mark.timeout(60)
def test_a_forked_child_does_not_wait_for_a_thread_of_its_parent() -> None:
    within(60, os.getpid)
    child = os.fork()
    if not child:
        os._exit(0 if within(30, os.getpid) == os.getpid() else 1)
    assert os.waitpid(child, 0)[1] == 0
