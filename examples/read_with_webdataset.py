"""Read a shard set without Mrigan, by plain webdataset:

    python examples/read_with_webdataset.py '/data/shards/train-{real,fake}-000000.tar'

Braces expand to several tars. URLs and `pipe:COMMAND` work, too. A sample is `face.jpg`, `mri.jpg` or `mri.png` (not in
sets of kind `faces`), and `json`. For training use `data.loader=webdataset`, which also checks each sample's CRC-32.
"""

from __future__ import annotations

import argparse
from collections import defaultdict

import webdataset


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tars", help="webdataset's notation of one or more tars")
    options = parser.parse_args()
    samples = webdataset.WebDataset(options.tars, shardshuffle=100).shuffle(1000).decode("rgb8")
    levels = defaultdict(list)  # label → mean of each MRI
    for sample in samples:
        about = sample["json"]
        mri = sample.get("mri.jpg", sample.get("mri.png"))  # (H, W, 3) uint8, as is sample["face.jpg"]
        levels[about["label"]].append(float("nan") if mri is None else mri.mean())
    for label, means in sorted(levels.items()):
        print(f"{label}: {len(means)} faces, mean of the MRIs {sum(means) / len(means):.1f} of 255")


if __name__ == "__main__":
    main()
