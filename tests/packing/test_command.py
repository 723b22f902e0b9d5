"""The command and the pages in shards/: what a storage node runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT
from tests.packing.conftest import Built


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *(str(word) for word in words)], cwd=ROOT, capture_output=True, text=True,
                          check=False)  # fmt: skip


def test_the_pages_plan_build_and_verify(built: Built, tmp_path: Path) -> None:
    out = tmp_path / "shards"
    planned = run("shards/plan.py", built.catalog, "-o", out, "--config", "shards/demo.yaml", "pack.splits=[val]")
    assert planned.returncode == 0, planned.stderr
    assert "val: 2 clips of 1 families in 1 units" in planned.stdout
    unfinished = run("shards/verify.py", out)
    assert (unfinished.returncode, "not finished" in unfinished.stdout) == (1, True)
    done = run("shards/build.py", out, "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert "6 faces stored: 3 real in val, 3 fake in val" in done.stdout
    assert "unit val-000000: 3 reals, 3 fakes" in done.stderr
    assert run("-m", "mrigan.cli", "shards", "verify", out, "--sample").returncode == 0
    (out / "val-fake-000000.tar").write_bytes(b"")
    damaged = run("shards/verify.py", out)
    assert damaged.returncode == 1
    assert "val-fake-000000.tar at byte 0: has 0 of" in damaged.stdout
    refused = run("shards/plan.py", built.catalog, "-o", out)
    assert refused.returncode == 1
    assert "config.pack.shard_mib: 4 → 256" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_building_needs_no_training_stack() -> None:
    code = (
        "import sys, mrigan.packing.unit, mrigan.mri; "
        "print([m for m in ('mlflow', 'timm', 'deepspeed', 'mrigan.models', 'mrigan.engine') if m in sys.modules])"
    )
    assert run("-c", code).stdout.strip() == "[]"


def test_planning_needs_no_torch(built: Built, tmp_path: Path) -> None:
    code = (
        "import sys; from mrigan.config import ShardsConfig, load_config; from mrigan.packing.plan import plan_shards; "
        "plan_shards(sys.argv[1], load_config(ShardsConfig, 'shards/pairs.yaml', []), sys.argv[2]); "
        "print([m for m in ('torch', 'facenet_pytorch', 'mlflow') if m in sys.modules])"
    )
    assert run("-c", code, str(built.catalog), str(tmp_path / "shards")).stdout.strip() == "[]"
