"""A training step of the detector on a quiet and on a loaded machine, with and without `mrigan.threads`.

    python benchmarks/loaded.py [STEPS] [BATCH]

Each measurement is a process of its own: EfficientNet-Lite0 at 224 px, random pictures, as many threads as there are
cores. `plain` is a bare `python` that imports torch; `settled` calls `mrigan.threads.settle` before, as the `mrigan`
command and the pages in `launch/` do. The load is made here: a busy process a core, at the same priority. Seconds are
of the clock, because waiting is what is measured; on a machine that others use, `quiet` is not.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from mrigan.threads import COUNT, WAITING, cores, settle

BUSY = "while True: pass"
A_CORE = 1  # busy processes
ENOUGH = 60.0  # seconds, after which a measurement takes no further step


def measure(settled: bool, steps: int, batch: int) -> dict[str, float]:
    """Seconds of the clock and of the processor a step, in this process."""
    if settled:
        settle()
    import torch

    from mrigan.models.detector import Detector

    torch.manual_seed(0)
    detector = Detector("tf_efficientnet_lite0").train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(detector.parameters(), lr=1e-4)
    pictures, labels = torch.rand(batch, 3, 224, 224), torch.arange(batch) % 2

    def step() -> None:
        optimizer.zero_grad()
        logits = detector(pictures)
        torch.nn.functional.binary_cross_entropy_with_logits(logits, labels.float()).backward()
        optimizer.step()

    step()
    clock, cpu, done = time.monotonic(), time.process_time(), 0
    while done < steps and time.monotonic() - clock < ENOUGH:
        step()
        done += 1
    return {"clock": (time.monotonic() - clock) / done, "cpu": (time.process_time() - cpu) / done}


def apart(settled: bool, steps: int, batch: int) -> dict[str, float]:
    """`measure` in a process of its own."""
    kept = {name: value for name, value in os.environ.items() if name not in (*WAITING, COUNT)}
    words = [sys.executable, __file__, str(steps), str(batch), "--measure", "settled" if settled else "plain"]
    done = subprocess.run(words, env={**kept, COUNT: str(cores())}, check=True, stdout=subprocess.PIPE)
    return dict(json.loads(done.stdout.splitlines()[-1]))


@contextmanager
def load(processes: int) -> Iterator[None]:
    """So many busy processes."""
    busy = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("steps", nargs="?", type=int, default=5)
    parser.add_argument("batch", nargs="?", type=int, default=8)
    parser.add_argument("--measure", choices=("plain", "settled"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure == "settled", options.steps, options.batch)))
        return
    print(f"{cores()} cores, steps of {options.batch} pictures; seconds a step")
    for name, processes in (("quiet", 0), ("loaded", A_CORE * cores())):
        with load(processes):
            calm, plain = (apart(settled, options.steps, options.batch) for settled in (True, False))
        print(f"{name:6}  plain {plain['clock']:6.2f} ({plain['cpu']:.2f} CPU-s)   settled {calm['clock']:6.2f} "
              f"({calm['cpu']:.2f} CPU-s)   plain / settled {plain['clock'] / calm['clock']:.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
