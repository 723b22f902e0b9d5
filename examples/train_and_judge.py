"""Train a detector from Python, then judge videos with it:

    python examples/train_and_judge.py SHARDS RUN VIDEO... [--config detector/demo.yaml] [--set KEY=VALUE ...]

SHARDS is what `mrigan shards build` or examples/own_data.py made. The same call continues a run that was interrupted.
"""

from __future__ import annotations

import argparse

import mrigan
from mrigan.config import DetectorConfig, load_config
from mrigan.training.train import train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards")
    parser.add_argument("run")
    parser.add_argument("videos", nargs="+")
    parser.add_argument("--config", default="detector/demo.yaml", help="a shipped recipe, or a file")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="keys of docs/config.md")
    options = parser.parse_args()
    overrides = [f"data.shards={options.shards}", f"run.dir={options.run}", *options.set]
    run = train("detector", load_config(DetectorConfig, options.config, overrides))
    for verdict in mrigan.detect(options.videos, mrigan.load_model(run / "model")):
        score = "no face" if verdict.probability is None else f"score {verdict.probability:.2f}"
        print(f"{verdict.path}: {verdict.verdict} ({verdict.reason or score}), {len(verdict.faces)} faces")


if __name__ == "__main__":
    main()
