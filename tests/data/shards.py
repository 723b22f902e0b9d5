"""Shard folders in the documented layout, by plain tarfile and pyarrow: an oracle apart from the real builder."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from tests.builders import SIZE


@dataclass
class Sample:
    """One sample, as the writer was told to write it."""

    key: str
    label: str
    split: str = "train"
    face: bytes = b""
    mri: bytes | None = None
    row: dict = field(default_factory=dict)
    about: dict = field(default_factory=dict)  # more of its json


def picture(seed: int, size: int = SIZE) -> np.ndarray:
    """A smooth, asymmetric random picture, (size, size, 3) uint8."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC))


def encode(image: np.ndarray, format: str = "jpg") -> bytes:
    """JPEG (quality 95, 4:4:4) or PNG bytes."""
    buffer = io.BytesIO()
    options = {"quality": 95, "subsampling": 0} if format == "jpg" else {}
    Image.fromarray(image).save(buffer, {"jpg": "JPEG", "png": "PNG"}[format], **options)
    return buffer.getvalue()


def make_samples(
    reals: int,
    fakes: int,
    *,
    split: str = "train",
    pairs: bool = True,
    seed: int = 0,
    size: int = SIZE,
    mri_format: str = "jpg",
) -> list[Sample]:
    """Samples with pictures of their own; a real's MRI is black. Keys come in no order."""
    samples = []
    for n in range(reals + fakes):
        fake = n >= reals
        clip = f"toy/{'swap' if fake else 'original'}/-/clip{seed}-{split}-{n // 4}"
        number = seed * 100_000 + n
        key = f"{hashlib.sha1(f'{clip}{number}'.encode()).hexdigest()[:12]}-{n:06d}-00"
        mri = None
        if pairs:
            mri = encode(picture(number + 50_000, size) if fake else np.zeros((size, size, 3), np.uint8), mri_format)
        row = {
            "clip": clip,
            "dataset": "toy",
            "method": "swap" if fake else "original",
            "compression": "",
            "name": clip.split("/", 3)[3],
            "family": f"f{seed}-{split}-{n // 4}",
            "group": "",
            "person": 0,
            "frame": n,
            "time": n / 25,
            "mri_mean": 0.0,
        }
        samples.append(Sample(key, "fake" if fake else "real", split, encode(picture(number, size)), mri, row))
    return samples


def write_shards(
    folder: Path,
    samples: list[Sample],
    *,
    kind: str = "pairs",
    mri_format: str = "jpg",
    per_shard: int = 10,
    plan: str = "p" * 64,
    dropped: int = 2,
) -> Path:
    """Write a finished shard folder. `dropped` rows without a sample are added, as a real set has them."""
    folder.mkdir(parents=True)
    rows = []
    for split in sorted({s.split for s in samples}):
        for label in ("real", "fake"):
            group = [s for s in samples if (s.split, s.label) == (split, label)]
            for number, start in enumerate(range(0, len(group), per_shard)):
                tar = folder / f"{split}-{label}-{number:06d}.tar"
                rows += _write_tar(tar, group[start : start + per_shard], mri_format, plan)
    for n in range(dropped):
        rows.append(_row(Sample(f"{n:012x}-000000-00", "fake", "train"), "", {}, "dropped", "unchanged"))
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), folder / "samples.parquet")
    digest = hashlib.sha256((folder / "samples.parquet").read_bytes()).hexdigest()
    markers = [json.loads(tar.with_suffix(".json").read_text()) | {"shard": tar.name} for tar in folder.glob("*.tar")]
    shards = [{key: marker[key] for key in ("shard", "samples", "bytes", "sha256")} for marker in markers]
    manifest = {"kind": kind, "plan_hash": plan, "samples_sha256": digest, "samples": len(samples), "shards": shards}
    (folder / "plan.json").write_text(json.dumps({"config": {"kind": kind}}))
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


TEXT = ("key", "clip", "dataset", "method", "compression", "name", "label", "split", "family", "group")
OFFSETS = tuple(f"{m}_{w}" for m in ("face", "mri", "json") for w in ("offset", "size"))
SCHEMA = pa.schema(
    [
        *((n, pa.string()) for n in TEXT),
        ("person", pa.int32()),
        ("frame", pa.int32()),
        ("time", pa.float32()),
        *((n, pa.string()) for n in ("status", "reason", "shard")),
        *((n, pa.int64()) for n in OFFSETS),
        ("mri_mean", pa.float32()),
        ("crc32", pa.int64()),
    ]
)


def _write_tar(path: Path, samples: list[Sample], mri_format: str, plan: str) -> list[dict]:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for sample in samples:
            members = [
                ("face.jpg", sample.face),
                (f"mri.{mri_format}", sample.mri),
                ("json", json.dumps({"label": sample.label, "clip": sample.row["clip"], **sample.about}).encode()),
            ]
            for name, data in members:
                if data is not None:
                    info = tarfile.TarInfo(f"{sample.key}.{name}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
    with tarfile.open(path) as tar:
        places = {m.name: (m.offset_data, m.size) for m in tar.getmembers()}
    path.with_suffix(".json").write_text(
        json.dumps(
            {
                "samples": len(samples),
                "bytes": path.stat().st_size,
                "plan_hash": plan,
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            }
        )
    )
    data = path.read_bytes()
    path.with_suffix(".idx").write_text(f"v1.2 {len(samples)}\n")
    rows = []
    for sample in samples:
        mine = {n.split(".")[1]: p for n, p in places.items() if n.split(".")[0] == sample.key}
        crc = zlib.crc32(b"".join(data[offset : offset + size] for offset, size in mine.values()))
        rows.append(_row(sample, path.name, mine, "ok", "") | {"crc32": crc})
    return rows


def _row(sample: Sample, shard: str, places: dict[str, tuple[int, int]], status: str, reason: str) -> dict:
    row: dict = dict.fromkeys(TEXT, "") | {"person": 0, "frame": -1, "time": 0.0, "mri_mean": 0.0} | sample.row
    row |= {
        "key": sample.key,
        "label": sample.label,
        "split": sample.split,
        "status": status,
        "reason": reason,
        "shard": shard,
        "crc32": -1,
    }
    for member in ("face", "mri", "json"):
        row[f"{member}_offset"], row[f"{member}_size"] = places.get(member, (-1, -1))
    return row
