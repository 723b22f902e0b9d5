"""Videos of one's own, listed in a manifest, become a shard set to train on:

    python examples/own_data.py MANIFEST.csv OUT

The manifest lists a video or picture per line. Only `path` (relative to the manifest) and `label` are required;
`original` gives pairs and MRIs, `identity` keeps a person in one split:

    path,label,original,identity
    ann.mp4,real,,Ann
    ann_as_bob.mp4,fake,ann.mp4,Ann
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mrigan.catalog import audit, scan_catalog, write_catalog
from mrigan.config import ShardsConfig, load_config
from mrigan.packing import build_shards, plan_shards


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    options.out.mkdir(exist_ok=True)
    catalog, scan = scan_catalog("manifest", options.manifest, fractions={"train": 0.7, "val": 0.15, "test": 0.15})
    for line in (*scan.problems, *scan.notes):
        print(line)
    for leak in audit(catalog):
        print("leak:", leak)
    write_catalog(catalog, options.out / "catalog.parquet")
    plan_shards(options.out / "catalog.parquet", load_config(ShardsConfig, "shards/pairs.yaml"), options.out / "shards")
    built = build_shards(options.out / "shards")
    print(f"{built.stored} faces of {len(catalog)} clips are in {options.out / 'shards'}")
    print(f"not stored: {dict(built.dropped)}, unreadable: {len(built.failed)}")


if __name__ == "__main__":
    main()
