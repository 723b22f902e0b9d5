"""What is read from heartbeats: who is behind, how a run is, who failed first. Files as ranks of several nodes write
them; the ranks themselves are in test_ranks.py."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from mrigan.cli.app import app
from mrigan.config import HealthConfig
from mrigan.engine.distributed import World
from mrigan.errors import ShardError
from mrigan.files import process_space, write_json
from mrigan.health.evidence import MAX_EARLIER, clear
from mrigan.health.failure import PeerFailed, find_cause, first_failure, is_echo, note_failure, read_stall
from mrigan.health.heartbeat import Heartbeat, lagging_ranks, rank_file, read_heartbeats, write_heartbeat
from mrigan.health.neighbour import Neighbour
from mrigan.health.stall import describe_stall, report_stall
from mrigan.health.view import Word, look
from mrigan.health.watch import Watchdog

NOW = 1_800_000_000.0


def beat(rank: int, step: int = 100, phase: str = "compute", *, ago: float = 0.0, idle: float = 1.0, ranks: int = 4,
         space: str = "another one", pid: int = 4711, limit: float = 600.0, now: float = NOW) -> Heartbeat:  # fmt: skip
    return Heartbeat(rank, ranks, step, 1000, phase, idle, limit, 10.0, f"node-{rank}", space, pid, now - ago)


def run_of(folder: Path, beats: list[Heartbeat], **status: object) -> Path:
    (folder / "health").mkdir(parents=True)
    write_json(folder / "status.json", {"state": "running", "step": 0, **status})
    for one in beats:
        write_heartbeat(folder / "health", one)
    return folder


@pytest.mark.parametrize(
    ("beats", "late"),
    [
        ([beat(0), beat(1), beat(2)], []),  # all alike: nobody can be told
        ([beat(0), beat(1, step=99), beat(2)], [1]),
        ([beat(0), beat(1, phase="data"), beat(2), beat(3, phase="data")], [1, 3]),
        ([beat(0, phase="validation"), beat(1, phase="waiting")], [0]),
        ([beat(0, phase="log"), beat(1, step=101, phase="data")], [0]),
        ([beat(0, step=90), beat(1, step=100, ago=31)], [1]),  # it no longer writes, however far it was
        ([beat(0), beat(1, step=100, ago=29)], []),  # a late heartbeat is none that is missing
        ([beat(0), beat(1, step=99, phase="ended")], []),
    ],
)
def test_who_is_behind(beats: list[Heartbeat], late: list[int]) -> None:
    assert [one.rank for one in lagging_ranks(beats)] == late


def test_what_is_written_is_read(tmp_path: Path) -> None:
    beats = [beat(1), beat(0, step=7)]
    for one in beats:
        write_heartbeat(tmp_path, one)
    rank_file(tmp_path, 2).write_text('{"rank": 2')  # cut by a full disk
    rank_file(tmp_path, 0, ".error.json").write_text("{}")
    assert read_heartbeats(tmp_path) == beats[::-1]
    assert not list(tmp_path.glob(".*"))  # no temporary file is left


@pytest.mark.parametrize(
    ("beats", "status", "word", "why"),
    [
        ([], {"state": "running"}, Word.NOT_YET, "no rank has written"),
        ([beat(r) for r in range(4)], {}, Word.MOVES, "all ranks make progress"),
        ([beat(r) for r in range(3)], {}, Word.MOVES, "1 of 4 ranks have not started: rank 3"),
        ([beat(0), beat(1), beat(2, idle=601, phase="data"), beat(3)], {}, Word.STUCK, "1 of 4 ranks made no progress"),
        ([beat(0), beat(1, ago=45), beat(2), beat(3)], {}, Word.STUCK, "no heartbeat of rank 1 on node-1 (pid 4711)"),
        ([beat(r, idle=5000, limit=0.0) for r in range(4)], {}, Word.MOVES, "all ranks make progress"),  # not watched
        ([beat(r, ago=600) for r in range(4)], {}, Word.SILENT, "no heartbeat for 600 s"),
        ([beat(r, phase="ended") for r in range(4)], {"state": "stopped", "error": "by USR1"}, Word.STOPPED, "by USR1"),
        ([beat(r, ago=600) for r in range(4)], {"state": "hung", "error": "rank 1"}, Word.HUNG, "rank 1"),
        ([beat(r) for r in range(4)], {"state": "failed", "error": "of the last start"}, Word.MOVES, "all ranks"),
    ],
)  # fmt: skip
def test_how_a_run_is(tmp_path: Path, beats: list[Heartbeat], status: dict[str, str], word: Word, why: str) -> None:
    health = look(run_of(tmp_path / "run", beats, **status), NOW)
    assert (health.word, health.bad) == (word, word in ("stuck", "silent", "hung", "failed"))
    assert health.why.startswith(why)


def test_the_command(tmp_path: Path) -> None:
    now = time.time()
    beats = [beat(rank, idle=700, phase="data" if rank == 2 else "compute", now=now, ranks=40) for rank in range(40)]
    run = run_of(tmp_path / "run", beats)
    called = CliRunner().invoke(app, ["health", str(run)])
    assert called.exit_code == 1
    lines = called.stdout.splitlines()
    assert lines[0] == "stuck: 40 of 40 ranks made no progress within their limit"
    assert lines[4].split()[:6] == ["behind", "2", "node-2", "4711", "100", "data"]
    assert "24 more ranks" in called.stdout
    told = json.loads(CliRunner().invoke(app, ["health", str(run), "--json"]).stdout)
    assert (told["word"], told["ok"], told["behind"], len(told["ranks"])) == ("stuck", False, [2], 40)
    assert told["ranks"][2]["idle_s"] == 700
    write_json(run / "status.json", {"state": "finished", "step": 1000})
    for one in beats:
        write_heartbeat(run / "health", beat(one.rank, phase="ended", now=now))
    assert CliRunner().invoke(app, ["health", str(run)]).exit_code == 0


def test_the_command_needs_no_torch_and_says_what_is_wrong(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from mrigan.cli.health import health\nfrom mrigan.errors import MriganError\n"
        "try:\n    health(Path(sys.argv[1]), as_json=False)\n"
        "except MriganError as error:\n    print(error.what, [m for m in ('torch', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout == "the folder is not a run []\n"


def test_evidence_of_earlier_starts_is_kept_and_heartbeats_are_not(tmp_path: Path) -> None:
    for start in range(MAX_EARLIER + 2):
        write_heartbeat(tmp_path, beat(0))
        (tmp_path / "stall.json").write_text(str(start))
        clear(tmp_path)
    write_heartbeat(tmp_path, beat(0))
    clear(tmp_path)  # nothing to keep
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"earlier-{n}" for n in range(3, MAX_EARLIER + 3)]
    assert (tmp_path / f"earlier-{MAX_EARLIER + 2}" / "stall.json").read_text() == str(MAX_EARLIER + 1)
    assert (tmp_path / f"earlier-{MAX_EARLIER + 2}" / "rank-00000.json").is_file()


def raised(error: Exception) -> Exception:
    try:
        raise error
    except type(error) as caught:
        return caught


CLOSED = RuntimeError("[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:561] Connection closed by peer [::1]:2")


def test_the_first_error_is_told_apart_from_its_echoes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torchrun = tmp_path / "torchrun.json"
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(torchrun))
    assert is_echo(CLOSED)
    note_failure(tmp_path, 0, raised(CLOSED), 8, "compute")
    assert first_failure(tmp_path) is None
    assert not torchrun.exists()  # torchrun takes the oldest for the root cause
    note_failure(tmp_path, 3, raised(ShardError("a sample is damaged", fix="mrigan shards repair")), 7, "data")
    first = first_failure(tmp_path)
    assert first is not None
    assert (first.rank, first.step, first.phase, first.known, first.echo) == (3, 7, "data", True, False)
    assert "test_heartbeat.py" in first.traceback
    message = json.loads(torchrun.read_bytes())["message"]
    assert message["message"].startswith("ShardError: a sample is damaged")
    assert int(message["extraInfo"]["timestamp"]) <= time.time()
    cause = find_cause(tmp_path, 0)
    assert cause is not None
    assert cause.what == f"rank 3 on {first.host} failed first, at step 7 (data): a sample is damaged"
    assert (cause.fix, cause.again, cause.state) == ("mrigan shards repair", False, "failed")
    note_failure(tmp_path, 1, raised(ValueError("x")), 7, "data")  # later
    assert first_failure(tmp_path) == first


def test_a_peer_that_was_killed_is_named(tmp_path: Path) -> None:
    """SIGKILL leaves no word; that its process is gone can be seen on the same machine."""
    peer = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    write_heartbeat(tmp_path, beat(0, space=process_space(), pid=os.getpid()))
    write_heartbeat(tmp_path, beat(1, space=process_space(), pid=peer.pid))
    assert find_cause(tmp_path, 0, patience=0) is None  # it lives
    peer.send_signal(signal.SIGKILL)
    peer.wait()
    cause = find_cause(tmp_path, 0)
    assert isinstance(cause, PeerFailed)
    assert (cause.again, cause.state) == (True, "failed")
    assert cause.what == f"rank 1 on node-1 (pid {peer.pid}) died without an error message at step 100 (compute): " \
        "killed, or out of memory"  # fmt: skip


def test_a_hang_is_told_in_one_line() -> None:
    own = beat(0, step=101)
    assert describe_stall([own, beat(1), beat(2, step=101)], 600) == (
        "no progress for 600 s: rank 1 on node-1 (pid 4711) lags at step 100 (compute); "
        "rank 0 waits at step 101 (compute)"
    )
    assert describe_stall([own, beat(1, step=101, ago=300)], 600) == (
        "no progress for 600 s: rank 1 on node-1 (pid 4711) lags at step 101 (compute), no sign of life for 300 s; "
        "rank 0 waits at step 101 (compute)"
    )
    assert (
        describe_stall([own, beat(1, step=101)], 600) == "no progress for 600 s: all 2 ranks are at step 101 (compute)"
    )
    assert describe_stall([own, beat(1, step=101)], 600, {1: (84, 85)}) == (
        "no progress for 600 s: rank 1 on node-1 (pid 4711) lags at step 101 (compute): "
        "it has started 84 messages, others 85"
    )
    assert describe_stall([own], 600) == "no progress for 600 s: the run is at step 101 (compute)"


def test_one_rank_speaks_for_all_and_every_rank_leaves_evidence(tmp_path: Path) -> None:
    first = report_stall(tmp_path, beat(0, step=7, ranks=2), 600, stops=True)
    assert first == "no progress for 600 s: the run is at step 7 (compute)"
    assert report_stall(tmp_path, beat(1, step=7, ranks=2), 600, stops=True) == ""
    for rank in (0, 1):
        stacks = rank_file(tmp_path, rank, ".stacks.txt").read_text()
        assert "test_one_rank_speaks_for_all" in stacks
        assert set(json.loads(rank_file(tmp_path, rank, ".flight.json").read_bytes())) == {"gloo", "nccl"}
    assert json.loads((tmp_path / "stall.json").read_bytes())["what"] == first


def test_a_hang_that_passes_is_reported_again_when_another_comes(tmp_path: Path) -> None:
    assert report_stall(tmp_path, beat(0, now=NOW), 600, stops=False)
    written = json.loads((tmp_path / "stall.json").read_bytes())["time"]
    assert report_stall(tmp_path, beat(1, idle=600, now=written + 100), 600, stops=False) == ""  # the same
    assert report_stall(tmp_path, beat(1, idle=600, now=written + 1000), 600, stops=False)


def test_a_silent_rank_is_suspected_in_a_phase_that_may_take_an_hour(tmp_path: Path) -> None:
    """The others wait for it at a checkpoint; its process is stopped, or its node is gone."""
    config = HealthConfig(stall_s=0.4, slow_s=3600.0, on_stall="report")
    told: list[str] = []
    with Watchdog(tmp_path, World(0, 2, 0, torch.device("cpu")), config, step=3, steps=9) as watch:
        for step in (4, 5):
            watch.stepped(step)
        watch.beat("checkpoint")
        assert watch.limit == 3600
        write_heartbeat(tmp_path, watch_beat := replace(watch.heartbeat(), rank=1, pid=1))
        deadline = time.monotonic() + 60
        while not told and time.monotonic() < deadline:
            told += [what] if (what := read_stall(tmp_path).get("what")) else []
            threading.Event().wait(0.02)
    assert watch_beat.name in told[0]
    assert "no sign of life for" in told[0]


def test_a_rank_that_goes_on_writing_is_not_suspected(tmp_path: Path) -> None:
    neighbour = Neighbour(tmp_path, 1, 2)  # of rank 0: the first after the last
    for number in range(20):
        write_heartbeat(tmp_path, beat(0, now=NOW + number // 2))
        neighbour.look(10.0)
        assert not neighbour.suspected(10.0)
    for _ in range(3):
        neighbour.look(10.0)
    assert [neighbour.suspected(10.0) for _ in range(2)] == [True, False]  # said once
    write_heartbeat(tmp_path, beat(0, phase="ended"))
    for _ in range(9):
        neighbour.look(10.0)
    assert not neighbour.suspected(10.0)
