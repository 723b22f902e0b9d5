"""The whole of DFDC without a pixel: time and peak memory of what handles its 119,154 clips and the rows of its faces.

    python benchmarks/plan.py [--clips N] [--faces-per-clip N] [--json OUT]

Makes DFDC's 50 folders with empty videos and their metadata.json, scans, audits and plans them as the commands do,
invents what the storage nodes would leave (a table and a marker a unit), and merges it. Each step runs in a process
of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PARTS = 50
REALS = 19_154 / 119_154  # of the clips
COSTS = ("seconds", "cpu", "mib")
SCAN, PLAN = "catalog.parquet", "shards"


def make_clips(folder: Path, clips: int) -> None:
    """DFDC's layout: the fakes of an original lie in its part, one byte each."""
    draw = random.Random(0)
    for part in range(PARTS):
        root = folder / "dfdc" / f"dfdc_train_part_{part}"
        root.mkdir(parents=True)
        count = clips // PARTS + (part < clips % PARTS)
        names = [f"{''.join(draw.choices('abcdefghijklmnopqrstuvwxyz', k=10))}.mp4" for _ in range(count)]
        reals = names[: max(round(count * REALS), 1)]
        about: dict[str, Any] = {name: {"label": "REAL", "split": "train"} for name in reals}
        about |= {name: {"label": "FAKE", "split": "train", "original": draw.choice(reals)}
                  for name in names[len(reals) :]}  # fmt: skip
        (root / "metadata.json").write_text(json.dumps(about))
        for name in names:
            (root / name).write_bytes(b"x")


def scan(folder: Path, _: int) -> dict[str, Any]:
    from mrigan.catalog import scan_catalog, write_catalog

    catalog, _ = scan_catalog("dfdc", folder / "dfdc")
    write_catalog(catalog, folder / SCAN)
    return {"clips": len(catalog)}


def check(folder: Path, _: int) -> dict[str, Any]:
    from mrigan.catalog import audit, read_catalog

    return {"leaks": len(audit(read_catalog(folder / SCAN)))}


def plan(folder: Path, _: int) -> dict[str, Any]:
    from mrigan.config import ShardsConfig, load_config
    from mrigan.packing import plan_shards

    made = plan_shards(folder / SCAN, load_config(ShardsConfig, "shards/pairs.yaml"), folder / PLAN)
    return {"clips": sum(unit.clips for unit in made.units), "units": len(made.units)}


def one_task(folder: Path, _: int) -> dict[str, Any]:
    """What each task of a job array reads before it starts: one unit of the plan, and the facts of its clips."""
    from mrigan.packing.record import refuse_changed_inputs
    from mrigan.shardset.plan_file import load_plan, unit_names

    made = load_plan(folder / PLAN, only=[unit_names(folder / PLAN)[-1]])
    refuse_changed_inputs(made, made.units)
    return {"units": len(made.units)}


def invent(folder: Path, faces: int) -> dict[str, Any]:
    """What the storage nodes leave: `faces` stored a clip, some dropped, some clips failed. Not part of the figures."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from mrigan.files import sha256_file
    from mrigan.shardset.layout import clip_key, shard_name
    from mrigan.shardset.marker import Marker
    from mrigan.shardset.plan_file import load_plan
    from mrigan.shardset.rows import SCHEMA

    made, total, draw = load_plan(folder / PLAN), 0, np.random.default_rng(0)
    made.layout.units.mkdir(exist_ok=True)
    for unit in made.units:
        clips = [clip for family in unit.families for clip in family.clips]
        which = np.repeat(np.arange(len(clips)), faces)
        rows = len(which)
        fake = np.array([clip.label == "fake" for clip in clips])[which]
        status = np.where(draw.random(rows) < 0.02, "dropped", "ok")
        status[::faces] = np.where(draw.random(len(clips)) < 0.001, "failed", status[::faces])
        ok = status == "ok"
        frames = np.tile(np.arange(faces) * 10, len(clips))
        keys = [clip_key(clip.id) for clip in clips]
        text = {name: np.array([getattr(clip, name) for clip in clips])[which] for name in
                ("dataset", "method", "compression", "name", "label", "split", "family", "group")}  # fmt: skip
        offsets = {name: np.where(ok, draw.integers(0, 2**28, rows), -1) for name in ("face", "mri", "json")}
        names = [shard_name(unit.split, label, unit.number) for label in ("real", "fake")]
        columns: dict[str, Any] = {
            **text, "key": [f"{keys[c]}-{f:06d}-00" for c, f in zip(which, frames, strict=True)],
            "clip": np.array([clip.id for clip in clips])[which], "person": np.zeros(rows), "frame": frames,
            "time": frames / 30, "width": np.where(ok, 1920, -1), "height": np.where(ok, 1080, -1),
            "face_px": np.where(ok, draw.normal(250, 60, rows), np.nan), "status": status,
            "reason": np.where(ok, "", np.where(status == "failed", "unreadable: invented", "unchanged")),
            "shard": np.where(ok, np.array(names)[fake.astype(int)], ""), "crc32": draw.integers(0, 2**32, rows),
            "mri_mean": np.where(ok, np.where(fake, draw.gamma(4, 6, rows).clip(0, 255), 0), np.nan),
            **{f"{name}_offset": values for name, values in offsets.items()},
            **{f"{name}_size": np.where(ok, draw.integers(300, 30_000, rows), -1) for name in offsets},
        }  # fmt: skip
        arrays = [pa.array(columns[field.name]).cast(field.type) for field in SCHEMA]
        path = made.layout.unit_rows(unit.name)
        pq.write_table(pa.table(arrays, schema=SCHEMA), path, compression="zstd")
        counts = {label: int((ok & (fake == is_fake)).sum()) for label, is_fake in (("real", False), ("fake", True))}
        counts |= {name: int((status == name).sum()) for name in ("dropped", "failed")}
        shards = [{"shard": name, "plan_hash": made.hash, "unit": unit.name, "split": unit.split, "label": label,
                   "kind": made.config.pack.kind, "samples": counts[label], "bytes": 2**28, "sha256": "0" * 64}
                  for name, label in zip(names, ("real", "fake"), strict=True) if counts[label]]  # fmt: skip
        inputs: dict[str, str | None] = {clip.id: f"4000000-{'0' * 64}" for clip in clips}
        Marker(
            unit.name, made.hash, rows, counts, path.stat().st_size, sha256_file(path), shards, inputs, made.libraries
        ).write(made)
        total += rows
    return {"rows": total}


def merge(folder: Path, _: int) -> dict[str, Any]:
    from mrigan.shardset.manifest import write_manifest
    from mrigan.shardset.plan_file import load_plan

    made = load_plan(folder / PLAN)
    write_manifest(made)
    manifest = json.loads(made.layout.manifest.read_text())
    return {"rows": manifest["rows"], "shards": len(manifest["shards"])}


def count(folder: Path, _: int) -> dict[str, Any]:
    from mrigan.packing import shard_stats

    stats = shard_stats(folder / PLAN)
    lost = [group.dropped.total() + group.failed.total() for group in stats.groups]
    return {"rows": sum(group.faces for group in stats.groups) + sum(lost)}


def _stored(folder: Path, columns: list[str]) -> Any:
    import pyarrow.parquet as pq

    return pq.read_table(folder / PLAN / "samples.parquet", columns=columns, filters=[("status", "=", "ok")])


def epochs(folder: Path, _: int) -> dict[str, Any]:
    """The order of one epoch, with the classes in balance and with every face."""
    import pyarrow.compute as pc

    from mrigan.data import EpochPlan

    fake = pc.equal(_stored(folder, ["label"])["label"], "fake").to_numpy()
    found = {}
    for name, balance in (("in balance", True), ("every face", False)):
        begin = time.process_time()
        ids = EpochPlan(fake, 0, balance=balance).epoch(0)
        found |= {f"faces {name}": len(ids), f"CPU-ms {name}": round(1000 * (time.process_time() - begin))}
    return found


def match(folder: Path, _: int) -> dict[str, Any]:
    """What `pack.match=[compression,face_px]` leaves."""
    from mrigan.shardset.matching import columns_of, matched

    facts = ["compression", "face_px"]
    taken = matched(_stored(folder, columns_of(facts)), facts, 0)
    return {"faces": int(taken.sum()), "unmatched": int((~taken).sum())}


STEPS: dict[str, tuple[Callable[[Path, int], dict[str, Any]], str]] = {
    "scan": (scan, "catalog scan: list, split, write"), "audit": (check, "catalog audit"),
    "plan": (plan, "shards plan"), "task": (one_task, "what one array task reads"), "invent": (invent, ""),
    "merge": (merge, "merge of all units, manifest"), "stats": (count, "shards stats"),
    "epochs": (epochs, "epoch plan"), "match": (match, "pack.match=[compression,face_px]"),
}  # fmt: skip


def run_step(name: str, folder: Path, faces: int) -> dict[str, Any]:
    """Run a step in a process of its own: what it found, seconds, CPU-seconds, and its peak memory in MiB."""
    command = [sys.executable, __file__, "--step", name, "--folder", str(folder), "--faces-per-clip", str(faces)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def line(title: str, seconds: float, cpu: float, mib: float) -> str:
    """One line of the report."""
    return f"{title:34} {seconds:6.1f} s {cpu:6.1f} CPU-s {mib:6.0f} MiB "


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=119_154)
    parser.add_argument("--faces-per-clip", type=int, default=20)
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--step", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        started = time.monotonic()
        found = STEPS[options.step][0](options.folder, options.faces_per_clip)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            json.dumps(found | dict(zip(COSTS, (time.monotonic() - started, time.process_time(), peak), strict=True)))
        )
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_clips(folder, options.clips)
        results = {name: run_step(name, folder, options.faces_per_clip) for name in STEPS}
    shown = {name: result for name, result in results.items() if STEPS[name][1]}
    for name, result in shown.items():
        facts = ", ".join(f"{n:,} {what}" for what, n in result.items() if what not in COSTS)
        print(line(STEPS[name][1], *(result[cost] for cost in COSTS)), facts)
    sums = [sum(result[cost] for result in shown.values()) for cost in COSTS[:2]]
    print(line("in all", *sums, max(result["mib"] for result in shown.values())), "at most")
    if options.json:
        options.json.write_text(json.dumps(results))


if __name__ == "__main__":
    main()
