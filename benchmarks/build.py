"""Faces a second and CPU-seconds a stored face of a build, by stage.

    python benchmarks/build.py [CATALOG] [--workers N]

Without a catalog: the embedded sample. Builds twice into temporary folders: with detection, and with the detections
already known, which is what another metric or another margin costs.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("catalog", nargs="?", type=Path, help="of clips that lie there; else the embedded sample")
    parser.add_argument("--workers", type=int, default=0, help="processes, 0 = one a CPU core")
    options = parser.parse_args()
    if options.catalog and not options.catalog.is_file():
        parser.error(f"there is no catalog {options.catalog}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        path = options.catalog or sample_catalog(folder)
        for title, name in (("with detection", "first"), ("detections known", "second")):
            config = load_config(ShardsConfig, "shards/pairs.yaml", [f"pack.faces_dir={folder / 'faces'}"])
            plan_shards(path, config, folder / name)
            summary = build_shards(folder / name, options.workers)
            report(title, summary)
        print("\n".join(summary.lines()))


if __name__ == "__main__":
    main()
