"""Loader pairs/s beside webdataset + PIL and DALI's reader, in one run: `python benchmarks/loader.py [--pairs N]`.

All read the same shards from page cache: 256 px faces (JPEG 95, 4:4:4) with their MRIs as JPEG, then as PNG; half are
reals with a black MRI. Ours reads in the fully random order of the epoch plan; webdataset, `data.loader=webdataset` and
DALI's reader read in their own order through a shuffle buffer. "always" checks every sample's CRC-32 at every read,
"first" (the default) at the first read of a process; webdataset + PIL and DALI's reader check nothing. They take turns,
and each figure is the best of the rounds. If others use the machine too, trust the CPU-µs a pair (all threads and
processes together). Starting workers counts; opening the set (once a run, 2 s for 2.3 M samples) does not.
"""

from __future__ import annotations

import argparse
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
from torch.utils.data import DataLoader
from torchvision.transforms.functional import pil_to_tensor

from mrigan.data import EpochPlan, LoaderOptions, Samples, ShardSet, make_loader
from mrigan.data.backends.threads import Filled
from mrigan.data.batch import Request
from mrigan.files import sha256_file
from mrigan.imaging.encoding import encode
from mrigan.mri import mri_image
from mrigan.shardset.codecs import black
from mrigan.shardset.rows import Row, write_rows
from mrigan.shardset.tar import write_shard

SIZE, BATCH, SHARD, DISTINCT = 256, 64, 250, 100
RAW_EPOCHS = 5  # passes over the set where nothing is decoded
Contestant = Callable[[ShardSet, int], Iterator[int]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    print(f"{args.pairs} pairs of {SIZE} px, batches of {BATCH}, best of {args.rounds}")
    for mri_format in ("jpg", "png"):
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "shards"
            sizes = write_set(out, args.pairs, mri_format)
            print(f"\nJPEG + {mri_format.upper().replace('JPG', 'JPEG')}: {sizes}")
            print(f"{'':42}{'pairs/s':>10}{'times':>7}{'CPU-µs a pair':>16}{'times':>7}")
            for work, workers in (("raw", 0), ("raw", 2), ("decoded", 0), ("decoded", 2)):
                compare(f"{work}, {workers or 'no'} workers", CONTESTANTS[work], out, workers, args.rounds)
            if mri_format == "jpg":
                resume(out)


def compare(title: str, contestants: dict[str, Contestant], out: Path, workers: int, rounds: int) -> None:
    """Print the most pairs/s and the least CPU-µs a pair of each contestant; each yields the sizes of its batches."""
    some = {name: run for name, run in contestants.items() if workers or "processes" not in name}
    best = dict.fromkeys(some, (0.0, float("inf")))
    for _ in range(rounds):
        for name, contestant in some.items():
            shards = ShardSet.open([out], "train", kind="pairs")
            start, cpu = time.perf_counter(), _cpu_seconds()
            pairs = sum(contestant(shards, workers))
            seconds, used = time.perf_counter() - start, _cpu_seconds() - cpu
            best[name] = max(best[name][0], pairs / seconds), min(best[name][1], 1e6 * used / pairs)
    (rate, cpu), *_ = best.values()
    for name, (ours, used) in best.items():
        label = f"{title}: {name}"
        print(f"{label:42}{ours:10,.0f}{ours / rate:7.1f}{used:16,.0f}{cpu / used:7.1f}", flush=True)


def resume(out: Path) -> None:
    """Print how long the first batch takes from several places of the plan: a new set, plan and loader each time."""
    for step in (0, 20, 10**6, 0, 20, 10**6):
        start = time.perf_counter()
        shards = ShardSet.open([out], "train", kind="pairs")
        opened = time.perf_counter()
        with _ours(shards, 2, range(step, step + 9)) as batches:
            next(batches)
            came = time.perf_counter()
        print(f"first batch at step {step:>9,}: {1000 * (came - opened):.0f} ms after {1000 * (opened - start):.0f}")


def _cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


# ---------------------------------------------------------------------------------------------------------- webdataset


def webdataset_raw(shards: ShardSet, workers: int) -> Iterator[int]:
    samples = _webdataset(shards).repeat(RAW_EPOCHS).to_tuple("face.jpg", "mri.jpg;mri.png", "json")
    return _sizes(DataLoader(samples.batched(BATCH, collation_fn=_as_is), batch_size=None, num_workers=workers))


def webdataset_decoded(shards: ShardSet, workers: int) -> Iterator[int]:
    samples = _webdataset(shards).decode("pil").to_tuple("face.jpg", "mri.jpg;mri.png", "json")
    samples = samples.map_tuple(pil_to_tensor, pil_to_tensor, lambda text: float(text["label"] == "fake"))
    return _sizes(DataLoader(samples.batched(BATCH), batch_size=None, num_workers=workers))


def _webdataset(shards: ShardSet) -> Any:
    tars = sorted(str(tar) for tar in shards.folders[0].glob("*.tar"))
    return webdataset.WebDataset(tars, shardshuffle=len(tars)).shuffle(1000)


# ------------------------------------------------------------------------------------------------- DALI's own reader


def dali_raw(shards: ShardSet, workers: int) -> Iterator[int]:
    return _dali(shards, workers, RAW_EPOCHS, decoded=False)


def dali_decoded(shards: ShardSet, workers: int) -> Iterator[int]:
    return _dali(shards, workers, 1, decoded=True)


def _dali(shards: ShardSet, workers: int, epochs: int, decoded: bool) -> Iterator[int]:
    from nvidia.dali import fn
    from nvidia.dali.pipeline import Pipeline
    from nvidia.dali.types import DALIImageType

    tars = sorted(shards.folders[0].glob("*.tar"))
    indices = [str(tar.with_suffix(".idx")) for tar in tars]
    extension = "mri.jpg" if shards.rows["mri_size"][0].as_py() and _is_jpeg(shards) else "mri.png"
    pipeline = Pipeline(batch_size=BATCH, num_threads=max(1, workers), device_id=None)
    with pipeline:
        face, mri, text = fn.readers.webdataset(
            paths=[str(tar) for tar in tars], index_paths=indices, ext=["face.jpg", extension, "json"],
            random_shuffle=True, initial_fill=1000, name="reader", dont_use_mmap=True,
        )  # fmt: skip
        if decoded:
            face, mri = (fn.decoders.image(part, output_type=DALIImageType.RGB) for part in (face, mri))
            face, mri = (fn.transpose(part, perm=[2, 0, 1]) for part in (face, mri))
        pipeline.set_outputs(face, mri, text)
    for _ in range(epochs * len(shards) // BATCH):
        parts = pipeline.run()
        if decoded:
            batch = [torch.from_dlpack(part.as_tensor()).clone() for part in parts[:2]]
            yield len(batch[0])
        else:
            yield len(parts[0])


def _is_jpeg(shards: ShardSet) -> bool:
    return shards.read(0)[1][:2] == b"\xff\xd8"  # type: ignore[index]


# -------------------------------------------------------------------------------------------------------------- mrigan


class RawBatch:
    """Encoded samples, as a GPU decoder wants them."""

    def __init__(self, shards: ShardSet, request: Request) -> None:
        self.shards, self.request, self.slots = shards, request, [None] * len(request)

    def fill(self, start: int, stop: int) -> None:
        for k, i in enumerate(self.request.ids[start:stop].tolist(), start):
            self.slots[k] = self.shards.view(i)  # type: ignore[call-overload]


def our_raw(shards: ShardSet, workers: int, verify: str = "first") -> Iterator[int]:
    shards.verify = verify
    plan = EpochPlan(shards.labels, seed=0)
    steps = range(RAW_EPOCHS * len(shards) // BATCH)
    requests = (Request(step, *plan.batch_with_epochs(step, BATCH)) for step in steps)
    batches: Any = Filled(requests, lambda request: RawBatch(shards, request), workers)  # type: ignore[type-var]
    for batch in batches:
        yield len(batch.slots)
    batches.close()


def our_raw_always(shards: ShardSet, workers: int) -> Iterator[int]:
    return our_raw(shards, workers, "always")


def our_decoded(shards: ShardSet, workers: int) -> Iterator[int]:
    with _ours(shards, workers) as batches:
        yield from map(len, batches)


def our_processes(shards: ShardSet, workers: int) -> Iterator[int]:
    with _ours(shards, workers, workers_are="processes") as batches:
        yield from map(len, batches)


def our_stream(shards: ShardSet, workers: int) -> Iterator[int]:
    with _ours(shards, workers, library="webdataset") as batches:
        yield from map(len, batches)


def our_dali(shards: ShardSet, workers: int) -> Iterator[int]:
    with _ours(shards, workers, library="dali") as batches:
        yield from map(len, batches)


def _ours(shards: ShardSet, workers: int, steps: range | None = None, **options: Any) -> Any:
    plan, samples = EpochPlan(shards.labels, seed=0), Samples(shards, size=SIZE)
    steps = range(len(shards) // BATCH) if steps is None else steps
    return make_loader(samples, plan, steps, BATCH, options=LoaderOptions(workers=workers, **options))


def _as_is(batch: Any) -> Any:
    return batch


def _sizes(batches: Iterable[Any]) -> Iterator[int]:
    for batch in batches:
        yield len(batch[0]) if isinstance(batch[0], torch.Tensor) else len(batch)


CONTESTANTS: dict[str, dict[str, Contestant]] = {
    "raw": {
        "webdataset": webdataset_raw,
        "mrigan": our_raw,
        "mrigan, CRC always": our_raw_always,
        "DALI's reader": dali_raw,
    },
    "decoded": {
        "webdataset + PIL": webdataset_decoded,
        "mrigan": our_decoded,
        "mrigan, processes": our_processes,
        "mrigan, DALI": our_dali,
        "mrigan, data.loader=webdataset": our_stream,
        "DALI's reader": dali_decoded,
    },
}

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
    shards = [json.loads(path.read_text()) for path in sorted(out.glob("train-*.json"))]
    manifest = {"kind": "pairs", "samples_sha256": sha256_file(out / "samples.parquet"), "shards": shards, **facts}
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
