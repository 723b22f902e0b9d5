"""CPU-ms a stored sample by the working tree and by an earlier commit, stage by stage, both by turns in one run.

    python benchmarks/turns.py --before COMMIT [--sizes 720p 1080p] [--families N] [--frames N] [--rounds N]

The families are those of `families.py`. Each side has a process of its own, one thread, that builds all families once a
round; the side that begins changes from round to round. So what else runs on the machine meets both sides, as it does
not where two figures are measured one after the other: under load 1 and under load 7 the same code took 18.6 and 20.8
ms. `first` is the first round of a fresh process, with what a process does once (imports, OpenCV's tables, kernels that
oneDNN compiles); `settled` the least of the later rounds, stage by stage: what a worker takes that builds thousands of
families. The ratio of the totals is also given by rounds: the median is safe from a quiet moment of one side.

COMMIT must have `benchmarks/families.py` with `planned` and `Ours`: ee6c236 and later.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from parts.family_clips import SIZES, make_families

ROOT = Path(__file__).resolve().parents[1]
WORKER = """
import json, sys, tempfile
from pathlib import Path
from families import Ours, cv2, planned, torch
import mrigan
assert Path(mrigan.__file__).is_relative_to(sys.argv[1]), mrigan.__file__
torch.set_num_threads(1)
cv2.setNumThreads(1)
for number, _ in enumerate(sys.stdin):
    plan = planned(Path(sys.argv[2]), Path(sys.argv[3]) / str(number))
    ours = Ours(plan)
    for unit in plan.units:
        ours.unit(unit)
    print(json.dumps({stage: 1e3 * value / ours.stored for stage, value in ours.seconds.items()}), flush=True)
"""

Round = dict[str, float]  # CPU-ms a stored sample, by stage


class Side:
    """A process that builds the families by one tree's code, a round each time it is asked.

    Args:
        tree: of the code. clips: of the families, which are linked into `folder`: a side's catalog is its own.
    """

    def __init__(self, tree: Path, clips: Path, folder: Path) -> None:
        linked = folder / "clips"
        for path in clips.rglob("*.*"):
            (linked / path.relative_to(clips)).parent.mkdir(parents=True, exist_ok=True)
            os.link(path, linked / path.relative_to(clips))
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{tree}{os.pathsep}{tree / 'benchmarks'}"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(tree), str(linked), str(folder / "shards")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tree, env=environment, text=True,
        )  # fmt: skip

    def round(self) -> Round:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        return dict(json.loads(line)) if line else sys.exit(f"a side ended with {self.process.wait()}")

    def close(self) -> None:
        self.process.communicate()


def compare(size: str, options: argparse.Namespace, folder: Path) -> None:
    """Measure both sides, print the table."""
    what, _ = make_families(folder, size, options.frames, options.families)
    archive = subprocess.run(["git", "archive", options.before], cwd=ROOT, capture_output=True, check=True).stdout
    before = folder / f"code-{size}"
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(before, filter="data")
    sides = {name: Side(tree, folder / size, folder / f"{name}-{size}")
             for name, tree in (("before", before), ("now", ROOT))}  # fmt: skip
    rounds: dict[str, list[Round]] = {name: [] for name in sides}
    for number in range(options.rounds):
        for name in list(sides)[:: 1 if number % 2 == 0 else -1]:
            rounds[name].append(sides[name].round())
    for side in sides.values():
        side.close()
    print(f"\n{size}, {what}: CPU-ms a stored sample, {options.before} and now, {options.rounds} rounds by turns, "
          f"load {os.getloadavg()[0]:.1f}")  # fmt: skip
    for title, part in (("first", slice(0, 1)), ("settled", slice(1, None))):
        old, new = rounds["before"][part], rounds["now"][part]
        for stage in sorted(old[0] | new[0], key=lambda stage: -old[0].get(stage, 0.0)):
            ours, theirs = (min(each.get(stage, 0.0) for each in side) for side in (new, old))
            print(f"  {title:8} {stage:10} {theirs:6.2f} {ours:6.2f}")
        least = [min(sum(each.values()) for each in side) for side in (old, new)]
        ratios = [sum(b.values()) / sum(a.values()) for a, b in zip(old, new, strict=True)]
        print(f"  {title:8} {'in all':10} {least[0]:6.2f} {least[1]:6.2f}   {least[1] / least[0]:.3f}, by rounds "
              f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", required=True, metavar="COMMIT", help="the commit to compare with")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--families", type=int, choices=(1, 2, 3), default=2, help="different ones, at most 3 (2)")
    parser.add_argument("--frames", type=int, default=150, help="of a clip (150)")
    parser.add_argument("--rounds", type=int, choices=range(2, 100), default=6, metavar="N", help="at least 2 (6)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        for size in options.sizes:
            compare(size, options, Path(temporary))


if __name__ == "__main__":
    main()
