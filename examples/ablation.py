"""Train the five steps of an ablation, each with one thing more, and compare them in one report:

    python examples/ablation.py OUT --blends DIR --faces DIR [--only STEP ...] [--set KEY=VALUE ...]

--blends: shards by configs/shards/self-blend.yaml with pack.kind=pairs. --faces: shards of the same catalog by
configs/shards/self-blend-test.yaml; the first two steps learn from its training split, and all are measured on its test
split. The same call continues what was interrupted.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mrigan.evaluation import data_set_tables, headline
from mrigan.scoring.evaluate import evaluate_models
from mrigan.terminal import Console
from mrigan.training.launch import launch

STEPS = {"1-nothing": "detector", "2-encoder": "detector", "3-self-blends": "detector", "4-map": "map",
         "5-real-pairs": "map"}  # fmt: skip
ON_FACES = ("1-nothing", "2-encoder")  # the fakes of the shards, cut as they are measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--blends", required=True, metavar="DIR")
    parser.add_argument("--faces", required=True, metavar="DIR")
    parser.add_argument("--only", nargs="*", default=list(STEPS), choices=list(STEPS), metavar="STEP")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="keys of docs/config.md")
    options = parser.parse_args()
    for step in options.only:
        shards = options.faces if step in ON_FACES else options.blends
        words = [f"data.shards={shards}", f"run.dir={options.out / step}", *options.set]
        if code := launch(STEPS[step], f"{STEPS[step]}/ablation-{step}.yaml", words, new=False):
            sys.exit(code)
    models = [options.out / step / "model" for step in options.only]
    metrics = evaluate_models(models, [options.faces], options.out / "report")
    Console().print(headline(metrics), *data_set_tables(metrics))
    print(f"report: {options.out / 'report' / 'index.html'}")


if __name__ == "__main__":
    main()
