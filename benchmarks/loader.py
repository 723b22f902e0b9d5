"""Loader pairs/s beside plain webdataset + PIL, in one run: `python benchmarks/loader.py [--pairs N] [--rounds N]`.

Both read the same shards from page cache: 256 px faces (JPEG 95, 4:4:4) with their MRIs as JPEG, then as PNG; half are
reals with a black MRI. Ours reads in the fully random order of the epoch plan and checks every sample's CRC-32,
webdataset reads in its own order through a shuffle buffer. The two take turns, and each figure is the best of the
rounds. CPU-µs a pair, all processes together, are the figure to trust where others use the machine too. Starting
workers counts; opening the set (once a run, 2 s for 2.3 M samples) does not.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import webdataset
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.functional import pil_to_tensor

from mrigan.data import EpochPlan, ShardSet, make_loader
from mrigan.files import sha256_file
from mrigan.mri import mri_image
from mrigan.packing.pictures import black, encode
from mrigan.packing.rows import Row, write_rows
from mrigan.packing.shard import write_shard

SIZE, BATCH, SHARD, DISTINCT = 256, 64, 250, 100
RAW_EPOCHS = 5  # passes over the set where nothing is decoded


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    print(f"{args.pairs} pairs of {SIZE} px, batches of {BATCH}, best of {args.rounds}")
    print(
        f"{'':34}{'pairs/s: webdataset':>20}{'mrigan':>10}{'ratio':>7}"
        f"{'CPU-µs a pair: webdataset':>28}{'mrigan':>10}{'ratio':>7}"
    )
    for mri_format in ("jpg", "png"):
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "shards"
            sizes = write_set(out, args.pairs, mri_format)
            for work, workers in itertools.product(("raw", "decoded"), (0, 2)):
                (rate, cpu), (our_rate, our_cpu) = race(CONTESTANTS[work], out, workers, args.rounds)
                name = f"JPEG + {mri_format.upper().replace('JPG', 'JPEG')}, {work}, {workers or 'no'} workers"
                print(
                    f"{name:34}{rate:20,.0f}{our_rate:10,.0f}{our_rate / rate:7.1f}"
                    f"{cpu:28,.0f}{our_cpu:10,.0f}{cpu / our_cpu:7.1f}",
                    flush=True,
                )
            print(f"    mean sizes: {sizes}")


Contestant = Callable[[ShardSet, int], Iterator[int]]


def race(contestants: tuple[Contestant, ...], out: Path, workers: int, rounds: int) -> list[tuple[float, float]]:
    """The most pairs/s and the least CPU-µs a pair of each contestant; each yields the sizes of its batches."""
    best = [(0.0, float("inf"))] * len(contestants)
    for _ in range(rounds):
        for k, contestant in enumerate(contestants):
            shards = ShardSet.open([out], "train", kind="pairs")
            start, cpu = time.perf_counter(), _cpu_seconds()
            pairs = sum(contestant(shards, workers))
            seconds, used = time.perf_counter() - start, _cpu_seconds() - cpu
            best[k] = max(best[k][0], pairs / seconds), min(best[k][1], 1e6 * used / pairs)
    return best


def _cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


# ---------------------------------------------------------------------------------------------------------- webdataset


def their_raw(shards: ShardSet, workers: int) -> Iterator[int]:
    samples = _webdataset(shards).repeat(RAW_EPOCHS).to_tuple("face.jpg", "mri.jpg;mri.png", "json")
    return _sizes(DataLoader(samples.batched(BATCH, collation_fn=_as_is), batch_size=None, num_workers=workers))


def their_decoded(shards: ShardSet, workers: int) -> Iterator[int]:
    samples = _webdataset(shards).decode("pil").to_tuple("face.jpg", "mri.jpg;mri.png", "json")
    samples = samples.map_tuple(pil_to_tensor, pil_to_tensor, lambda text: float(text["label"] == "fake"))
    return _sizes(DataLoader(samples.batched(BATCH), batch_size=None, num_workers=workers))


def _webdataset(shards: ShardSet) -> Any:
    tars = sorted(str(tar) for tar in shards.folders[0].glob("*.tar"))
    return webdataset.WebDataset(tars, shardshuffle=len(tars)).shuffle(1000)


# -------------------------------------------------------------------------------------------------------------- mrigan


def our_raw(shards: ShardSet, workers: int) -> Iterator[int]:
    plan = EpochPlan(shards.labels, seed=0)
    steps = (plan.batch(step, BATCH) for step in range(RAW_EPOCHS * len(shards) // BATCH))
    batches: Any = DataLoader(
        RawBatches(shards),
        batch_size=None,
        sampler=steps,
        num_workers=workers,  # type: ignore
        collate_fn=_as_is,
    )
    return _sizes(batches)


def our_decoded(shards: ShardSet, workers: int) -> Iterator[int]:
    plan = EpochPlan(shards.labels, seed=0)
    with make_loader(
        shards,
        plan,
        global_batch=BATCH,
        start_step=0,
        stop_step=len(shards) // BATCH,
        workers=workers,
        flip=0.0,
        size=SIZE,
    ) as batches:
        for batch in batches:
            yield len(batch)


class RawBatches(Dataset[Any]):
    """Encoded samples, as a GPU decoder wants them."""

    def __init__(self, shards: ShardSet) -> None:
        self.shards = shards

    def __getitem__(self, ids: np.ndarray) -> list[tuple[bytes, bytes | None, bytes]]:
        return [self.shards.read(i) for i in ids.tolist()]


def _as_is(batch: Any) -> Any:
    return batch


def _sizes(batches: Iterable[Any]) -> Iterator[int]:
    for batch in batches:
        yield len(batch[0]) if isinstance(batch[0], torch.Tensor) else len(batch)


CONTESTANTS = {"raw": (their_raw, our_raw), "decoded": (their_decoded, our_decoded)}

# ------------------------------------------------------------------------------------------------------- what they read


def write_set(out: Path, pairs: int, mri_format: str) -> str:
    """A shard folder as `mrigan shards build` makes it, of crops of photographs; returns the sizes."""
    out.mkdir()
    pictures = [encoded_pair(np.random.default_rng(n), mri_format) for n in range(DISTINCT)]
    nothing = black(SIZE, mri_format)
    rows = []
    facts: dict[str, Any] = {"plan_hash": "benchmark"}
    for label in ("real", "fake"):
        keys = [f"{n * 2654435761 % 2**48:012x}-{n:06d}-{label == 'fake':02d}" for n in range(pairs // 2)]
        for number, start in enumerate(range(0, len(keys), SHARD)):
            name = f"train-{label}-{number:06d}.tar"
            samples = []
            for n, key in enumerate(keys[start : start + SHARD], start):
                face, mri = pictures[n % DISTINCT]
                text = json.dumps({"clip": f"photo/-/-/{n}", "label": label, "frame": n, "person": 0}).encode()
                samples.append(
                    (
                        key,
                        [
                            ("face.jpg", face),
                            (f"mri.{mri_format}", mri if label == "fake" else nothing),
                            ("json", text),
                        ],
                    )
                )
            for placed in write_shard(out / name, samples, facts):
                row = Row(placed.key, "photo", "photo", "", "", "", label, "train", "", "", 0, 0, 0.0, "ok", "", name)
                row.crc32 = placed.crc32
                for extension, offset, size in placed.members:
                    part = extension.split(".")[0]
                    setattr(row, f"{part}_offset", offset)
                    setattr(row, f"{part}_size", size)
                rows.append(row)
    write_rows(out / "samples.parquet", rows)
    manifest = {"kind": "pairs", "samples_sha256": sha256_file(out / "samples.parquet"), **facts}
    (out / "manifest.json").write_text(json.dumps(manifest))
    face, mri = (np.mean([len(pair[k]) for pair in pictures]) / 1000 for k in (0, 1))
    return f"face {face:.1f} kB, MRI of a fake {mri:.1f} kB, black MRI {len(nothing) / 1000:.1f} kB"


def encoded_pair(rng: np.random.Generator, mri_format: str) -> tuple[bytes, bytes]:
    """A crop of a photograph with camera noise, changed in a soft ellipse, and the MRI of the change."""
    from skimage import data

    photo = (data.astronaut, data.coffee, data.chelsea)[int(rng.integers(3))]()
    y, x = (int(rng.integers(0, side - SIZE + 1)) for side in photo.shape[:2])
    noise = cv2.GaussianBlur(rng.normal(0, 5, (SIZE, SIZE, 3)), (0, 0), 0.7)
    original = np.clip(photo[y : y + SIZE, x : x + SIZE] + noise, 0, 255).astype(np.uint8)
    mask = np.zeros((SIZE, SIZE, 1), np.float32)
    cv2.ellipse(mask, (SIZE // 2, SIZE // 2), (70, 90), 0, 0, 360, 1.0, -1)
    mask = cv2.GaussianBlur(mask, (0, 0), 8)[:, :, None]
    changed = cv2.GaussianBlur(original, (0, 0), 2).astype(np.float32) + rng.normal(0, 6, 3)
    face = np.clip(original * (1 - mask) + changed * mask, 0, 255).astype(np.uint8)
    pair = torch.from_numpy(np.stack([original, face])).permute(0, 3, 1, 2)
    mri = mri_image(pair[:1], pair[1:])[0].permute(1, 2, 0).numpy()
    return encode(face, "jpg"), encode(np.rint(mri).astype(np.uint8), mri_format)


if __name__ == "__main__":
    main()
