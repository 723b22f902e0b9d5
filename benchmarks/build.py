"""Faces a second and CPU-seconds a stored face of a build, by stage: `python benchmarks/build.py [CATALOG] [WORKERS]`.

Without a catalog: the embedded sample. Builds twice into temporary folders: with detection, and with the detections
already known, which is what another metric or another margin costs.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import sys
import tempfile
from pathlib import Path

from mrigan.catalog import scan_catalog, write_catalog
from mrigan.config import ShardsConfig, load_config
from mrigan.packing import Summary, build_shards, plan_shards
from mrigan.sample import make_sample


def sample_catalog(folder: Path) -> Path:
    """The embedded sample, scanned."""
    make_sample(folder / "sample")
    catalog, _ = scan_catalog("dfdc", folder / "sample")
    write_catalog(catalog, folder / "catalog.parquet")
    return folder / "catalog.parquet"


def report(title: str, summary: Summary) -> None:
    cpu = summary.seconds.total()
    print(f"{title}: {summary.built} faces in {summary.wall:.1f} s, {summary.built / summary.wall:.1f} faces/s, "
          f"{cpu / summary.built:.4f} CPU-seconds a stored face")  # fmt: skip
    for stage, seconds in summary.seconds.most_common():
        print(f"    {stage:8} {1000 * seconds / summary.built:7.2f} CPU-ms a face  {100 * seconds / cpu:5.1f} %")


def main(catalog: str = "", workers: str = "0") -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        path = Path(catalog) if catalog else sample_catalog(folder)
        for title, name in (("with detection", "first"), ("detections known", "second")):
            config = load_config(ShardsConfig, "shards/pairs.yaml", [f"pack.faces_dir={folder / 'faces'}"])
            plan_shards(path, config, folder / name)
            summary = build_shards(folder / name, int(workers))
            report(title, summary)
        print("\n".join(summary.lines()))


if __name__ == "__main__":
    main(*sys.argv[1:])
