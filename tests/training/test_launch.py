"""The way from a command line to a training: handlers first, and one exit code for each end."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mrigan.engine.signals import STOP_FILE
from tests.conftest import ROOT
from tests.training.runs import finish, start, start_gan, state, status, wait_until


def test_the_way_to_the_handlers_is_short() -> None:
    """Ten seconds of `import torch` on a busy file system are ten seconds in which a signal kills, or is lost."""
    code = "import sys, mrigan.training.launch; print([m for m in ('torch', 'numpy', 'mlflow') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def catches(process: subprocess.Popen[str], number: signal.Signals) -> bool:
    """Whether the process has a handler for a signal."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    mask = next(line.split()[1] for line in lines if line.startswith("SigCgt"))
    return bool(int(mask, 16) >> (number - 1) & 1)


def loaded(process: subprocess.Popen[str], library: str) -> bool:
    return library in Path(f"/proc/{process.pid}/maps").read_text()


def test_a_queues_signal_during_the_import_of_torch_stops_the_run_after_a_step(shards: Path, tmp_path: Path) -> None:
    process = start_gan(shards, tmp_path / "run")
    wait_until(lambda: catches(process, signal.SIGUSR1), process)
    assert not loaded(process, "libtorch_cpu")
    process.send_signal(signal.SIGUSR1)
    code, said = finish(process)
    assert code == 75, said
    assert (status(tmp_path / "run")["state"], status(tmp_path / "run")["step"]) == ("stopped", 1)
    assert state(tmp_path / "run", 1)["step"] == 1
    assert "stopped by SIGUSR1 at step 1" in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_during_the_import_of_torch_ends_it_there(shards: Path, tmp_path: Path, number: signal.Signals) -> None:
    process = start_gan(shards, tmp_path / "run")
    wait_until(lambda: catches(process, signal.SIGUSR1), process)
    assert not loaded(process, "libtorch_cpu")
    process.send_signal(number)
    code, said = finish(process)
    assert code == 75, said
    assert f"stopped by {number.name} before the first step" in said
    assert "Traceback" not in said
    assert not (tmp_path / "run").exists()


def test_a_stop_before_the_first_step_does_none(shards: Path, tmp_path: Path) -> None:
    process = start_gan(shards, tmp_path / "run")
    wait_until((tmp_path / "run" / ".lock").exists, process)
    process.send_signal(signal.SIGINT)
    code, said = finish(process)
    assert code == 75, said
    assert "stopped by SIGINT before the first step" in said
    assert status(tmp_path / "run")["state"] == "stopped"
    assert not list((tmp_path / "run").glob("checkpoints/*"))
    code, said = finish(start_gan(shards, tmp_path / "run", "train.steps=1"))
    assert code == 0, said


def test_a_stop_file_stops_two_ranks(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stop").touch()
    monkeypatch.setenv(STOP_FILE, str(tmp_path / "stop"))
    code, said = finish(start_gan(shards, tmp_path / "run", ranks=2))
    assert code == 1, said  # torchrun's word for every code but 0
    assert status(tmp_path / "run")["state"] == "stopped"
    assert status(tmp_path / "run")["error"] == "stopped by a stop file at step 1 of 16, and saved"
    assert said.count("run the same command to continue") == 1  # rank 0 speaks for all


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["gan/cpu-smoke.yaml", "train.stepz=3"], 2, "did you mean train.steps?"),
        (["gan/nothing.yaml"], 2, "no config file"),
        (["gan/cpu-smoke.yaml", "run.dir=DIR/run", "data.shards=DIR/none"], 1, "no such shard folder"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, words: list[str], code: int, says: str) -> None:
    done, said = finish(start(*[word.replace("DIR", str(tmp_path)) for word in words]))
    assert done == code, said
    assert says in said
    assert "Traceback" not in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("page", ["train.py", "train_gan.py", "train_detector.py", "evaluate.py"])
def test_pages_explain_themselves(page: str) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "launch" / page, "--help"], capture_output=True, text=True, check=True
    )
    assert "usage" in done.stdout.lower()


def test_the_threads_of_the_last_messages_end_with_the_training(shards: Path, tmp_path: Path) -> None:
    """One that is left when Python is taken down can abort a rank that has finished.

    Each gloo group has two. Those of the default group stay: DDP keeps it, and uses it long before the end.
    """
    page = tmp_path / "page.py"
    page.write_text(f"""
import os
from pathlib import Path
from mrigan.training.launch import launch

words = ["data.shards={shards}", "run.dir={tmp_path}/run", "tracking.enabled=false", "train.steps=2", "eval.every=2"]
code = launch("gan", "gan/cpu-smoke.yaml", words, False)
threads = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
Path("{tmp_path}/" + os.environ["RANK"]).write_text(f"{{code}} {{threads.count('pt_gloo_runloop')}}")
""")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(page)]
    done = subprocess.run(torchrun, cwd=ROOT, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    assert [(tmp_path / rank).read_text() for rank in "01"] == ["0 2"] * 2
