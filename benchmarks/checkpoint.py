"""How long a training stands still for a checkpoint of full size, written by the library or by a thread beside it.

    python benchmarks/checkpoint.py

G and D with Adam's moments, 686 MB. "Stands still" is the time until the next step may begin, and the longest stop of
the training's thread while another writes (a step launches kernels some thousand times a second).
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import save

from mrigan.engine.checkpoint import CheckpointStore
from mrigan.engine.tensor_file import Snapshot, TensorFile
from mrigan.engine.writer import BackgroundWriter
from mrigan.models import Discriminator, Generator


def full_size() -> dict[str, TensorFile]:
    """Weights, and two moments for each."""
    files = {}
    for name, network in (("generator", Generator()), ("discriminator", Discriminator())):
        weights = network.state_dict()
        files[name] = TensorFile(weights)
        files[f"{name}_optimizer"] = TensorFile(
            {f"{k}.{m}": torch.rand_like(t) for k, t in weights.items() for m in "mv"}
        )
    return files


def by_the_library(files: dict[str, TensorFile], folder: Path) -> None:
    for name, file in files.items():
        with open(folder / f"{name}.safetensors", "xb") as written:
            written.write(save(dict(file.tensors)))
            written.flush()
            os.fsync(written.fileno())


def longest_stop(writer: BackgroundWriter) -> float:
    """Seconds, while a write is under way."""
    longest = 0.0
    while (write := writer._last) is not None and not write.done():
        begin = time.perf_counter()
        time.sleep(0.001)
        longest = max(longest, time.perf_counter() - begin - 0.001)
    writer.wait()
    return longest


def main() -> None:
    files = full_size()
    size = sum(t.numel() * t.element_size() for f in files.values() for t in f.tensors.values())
    writer, snapshot = BackgroundWriter(lambda: None), Snapshot()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        store = CheckpointStore(folder / "checkpoints")
        begin = time.perf_counter()
        by_the_library(files, folder)
        print(f"{size / 1e6:.0f} MB, by the library, training waits: {time.perf_counter() - begin:.2f} s")
        for step in (1, 2, 3):
            begin = time.perf_counter()
            copies = snapshot.take(files)
            writer.submit(lambda step=step, copies=copies: store.save(step, copies, {}))  # type: ignore[misc]
            stands = time.perf_counter() - begin
            stop = longest_stop(writer)
            whole = time.perf_counter() - begin
            print(f"checkpoint {step}: copied in {stands:.2f} s, then written in {whole - stands:.2f} s beside the "
                  f"training, whose longest stop was {1e3 * stop:.0f} ms")  # fmt: skip


if __name__ == "__main__":
    main()
