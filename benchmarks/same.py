"""Whether a change of the code changes what it computes: python benchmarks/same.py --before COMMIT [--keep DIR]

The same small job is done twice on this machine, by the code of COMMIT and by the working tree: a sample of invented
people, shards, 20 steps of MRI-GAN and 20 of a detector, each on one rank and on two (fp32, dropout on), scores, a
report, and verdicts of two videos. Compared are the SHA-256 of every shard and of every network and optimizer, and each
value of the checkpoints' state, the logs, the scores, the report, the model and the verdicts, but for those that differ
between two runs of the same code (times, rates, versions, ids). What differs is printed; the exit code is 1 then.

Nothing is compared with figures of another day: floating point differs between processors. A side takes about two
minutes of one core.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from safetensors.numpy import load_file

ROOT = Path(__file__).resolve().parents[1]
SHOWN = 40  # differences that are printed
GAN = ["gan/cpu-smoke.yaml", "data.shards=shards", "train.steps=20", "checkpoint.every=10", "tracking.system_every=0"]
DETECTOR = ["detector/cpu-smoke.yaml", "data.shards=shards", "train.steps=20", "checkpoint.every=10", "data.input=mri",
            "model.generator=gan-1/model/generator.safetensors", "tracking.system_every=0"]  # fmt: skip
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
CLI = ["-m", "mrigan.cli"]
COMMANDS = [
    [*CLI, "sample", "sample", "--people", "6", "--seconds", "1.2"],
    [*CLI, "catalog", "scan", "dfdc", "sample", "-o", "catalog.parquet", "--val", "0.34", "--test", "0.33"],
    [*CLI, "shards", "plan", "catalog.parquet", "-o", "shards", "--config", "shards/demo.yaml"],
    [*CLI, "shards", "build", "shards"],
    [*CLI, "train", "gan", *GAN, "run.dir=gan-1", "model.ema_half_life=100"],
    [*TORCHRUN, "{tree}/launch/train_gan.py", *GAN, "run.dir=gan-2"],
    [*CLI, "train", "detector", *DETECTOR, "run.dir=detector-1"],
    [*TORCHRUN, "{tree}/launch/train_detector.py", *DETECTOR, "run.dir=detector-2"],
    [*CLI, "evaluate", "--model", "detector-1/model", "--model", "detector-2/model", "--shards", "shards",
     "-o", "report"],
    [*CLI, "detect", "sample/unseen", "--model", "detector-1/model", "--json", "verdicts.json"],
]  # fmt: skip
DOCUMENTS = ["*/checkpoints/step-000020/state.json", "*/checkpoints/best.json", "*/status.json", "*/metrics.jsonl",
             "*/model/model.json", "report/metrics.json", "verdicts.json"]  # fmt: skip
VARIES = re.compile(  # the generator's file names its run in MLflow
    r"\.(images_per_second|step_time_ms|data_wait|eta_seconds|peak_memory_gb|code_version|checksum|mlflow_run_id|"
    r"(depends|provenance)\.generator|modified_ns)$|metrics\.jsonl\.\d+\.time$|state\.json\.files$"
)


def main(before: str, keep: Path | None) -> int:
    """Do the job on both sides, compare, print."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = keep or Path(scratch)
        archive = subprocess.run(["git", "archive", before], cwd=ROOT, capture_output=True, check=True).stdout
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(folder / "code", filter="data")
        old, new = (measure(tree, folder / name) for tree, name in ((folder / "code", "before"), (ROOT, "now")))
    different = [name for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)]
    for name in different[:SHOWN]:
        print(f"{name}: {old.get(name, '(absent)')} → {new.get(name, '(absent)')}")
    if len(different) > SHOWN:
        print(f"… and {len(different) - SHOWN} more")
    print(f"{len(different)} of {len(old.keys() | new.keys())} facts differ from {before}")
    return 1 if different else 0


def measure(tree: Path, folder: Path) -> dict[str, Any]:
    """Do the job in `folder` by the code in `tree`, as far as it has not been done there; name → what to compare."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(tree), "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
                   "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}  # fmt: skip
    for number, words in enumerate(COMMANDS):
        log = folder / f"{number}.log"
        if (folder / f"{number}.done").exists():
            continue
        command = [sys.executable, *(word.format(tree=tree) for word in words)]
        with open(log, "wb") as file:
            done = subprocess.run(command, cwd=folder, env=environment, stdout=file, stderr=file, check=False)
        if done.returncode:
            sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{log.read_text()[-3000:]}")
        (folder / f"{number}.done").touch()
    return dict(facts(folder))


def facts(folder: Path) -> Iterator[tuple[str, Any]]:
    """What the job has left, piece by piece."""
    for path in sorted(folder.glob("shards/*.tar")):
        yield path.name, hashlib.sha256(path.read_bytes()).hexdigest()
    for pattern in ("*/checkpoints/step-000020/*.safetensors", "*/model/*.safetensors"):
        for path in sorted(folder.glob(pattern)):
            yield str(path.relative_to(folder)), tensors(path)
    for path in [*folder.glob("*/scores-val.parquet"), folder / "report" / "scores.parquet"]:
        for i, row in enumerate(pq.read_table(path).to_pylist()):
            yield from leaves(row, f"{path.relative_to(folder)}:{i}")
    for path in sorted(path for pattern in DOCUMENTS for path in folder.glob(pattern)):
        text = path.read_text()
        data = [json.loads(line) for line in text.splitlines()] if path.suffix == ".jsonl" else json.loads(text)
        yield from leaves(data, str(path.relative_to(folder)))


def tensors(path: Path) -> str:
    """SHA-256 over the names, types, shapes and values of a file's tensors; its header does not count."""
    digest = hashlib.sha256()
    for name, array in sorted(load_file(path).items()):
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def leaves(data: Any, name: str) -> Iterator[tuple[str, Any]]:
    """The values of nested lists and mappings, each under its path, but for those that vary."""
    if isinstance(data, dict | list):
        for key, value in data.items() if isinstance(data, dict) else enumerate(data):
            if not VARIES.search(f"{name}.{key}"):
                yield from leaves(value, f"{name}.{key}")
        if not data:
            yield name, data
    else:
        yield name, data


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", required=True, metavar="COMMIT", help="the commit to compare with")
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="work in DIR, keep it, and reuse what is finished there"
    )
    given = parser.parse_args()
    sys.exit(main(given.before, given.keep))
