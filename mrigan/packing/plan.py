"""The plan of a shard set: which families go into which unit. It decides every byte before the first frame is decoded.

A **unit** is what one worker makes at once: a group of families of one split, which becomes one shard of reals and one
of fakes. Families come in a seeded order, so that each shard mixes sources. The size of a unit is an estimate, because
opening 120,000 clips takes longer than is gained: `CLIP_FRAMES` frames a clip, one face in each.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mrigan.catalog import SPLITS, Catalog, Clip, Family, read_catalog
from mrigan.catalog.store import SCHEMA as CLIP_SCHEMA
from mrigan.config import ShardsConfig, differences, from_dict, to_dict
from mrigan.errors import CatalogError, ConfigError, ShardError
from mrigan.files import atomic_write, hash_json, sha256_file, write_json
from mrigan.packing.layout import FORMAT, Layout, clip_key, unit_name

CLIP_FRAMES = 300  # assumed length of a clip: DFDC's 10 s; Celeb-DF and FaceForensics are about as long
# Mean bytes a stored 256 x 256 picture, measured on Celeb-DF and FaceForensics faces
FACE_BYTES = 18_000
MRI_BYTES = {"jpg": 30_000, "png": 70_000}
BLACK_BYTES = {"jpg": 2_400, "png": 700}
TAR_BYTES = 2_800  # headers, padding and json of a sample


@dataclass(frozen=True)
class Unit:
    """Families of one split that become one shard of each label.

    Attributes:
        number: counted from 0 in each split, without gaps.
    """

    name: str
    split: str
    number: int
    families: tuple[Family, ...]

    @property
    def clips(self) -> int:
        return sum(len(family.clips) for family in self.families)


@dataclass(frozen=True)
class Plan:
    """What `mrigan shards plan` decided.

    Attributes:
        folder: the shard folder.
        hash: SHA-256 of all that decides the bytes: config, catalog rows, weights of the metric, format version.
        root: the folder that the clips' paths are relative to.
    """

    folder: Path
    config: ShardsConfig
    hash: str
    root: Path
    units: tuple[Unit, ...]

    @property
    def layout(self) -> Layout:
        return Layout(self.folder)

    @property
    def faces(self) -> Path:
        """The folder of the detections; several sets may share one (`pack.faces_dir`)."""
        return Path(self.config.pack.faces_dir) if self.config.pack.faces_dir else self.layout.faces

    def lines(self) -> list[str]:
        """For a person."""
        lines = []
        for split in dict.fromkeys(unit.split for unit in self.units):
            units = [unit for unit in self.units if unit.split == split]
            families, clips = sum(len(unit.families) for unit in units), sum(unit.clips for unit in units)
            lines.append(f"{split}: {clips} clips of {families} families in {len(units)} units")
        return [*lines, f"plan {self.hash[:12]}, kind {self.config.pack.kind}, videos in {self.root}"]


def plan_shards(catalog_path: str | Path, config: ShardsConfig, out: str | Path) -> Plan:
    """Plan a shard set in the folder `out`. The same plan again changes nothing.

    Raises:
        ShardError: `out` holds a set of another plan (the differences are listed), or something else.
        CatalogError: no clip is in the wanted splits, a family is on two sides, or two clips share a key.
        ConfigError: a setting names something that does not exist.
    """
    _check_config(config)
    catalog, layout = read_catalog(catalog_path), Layout(Path(out))
    _check_catalog(catalog, Path(catalog_path))
    decides = _decides(config, catalog)
    plan_hash = hash_json(decides)
    if _holds(layout, decides, plan_hash, catalog.root):
        return load_plan(out)
    units = tuple(_units(catalog, config))
    if not units:
        raise CatalogError(
            f"no clip is in the splits {', '.join(config.pack.splits)}",
            where=catalog_path,
            fix="scan the data set again so that it is split, or name other splits: pack.splits=[train]",
        )
    plan = Plan(layout.root, config, plan_hash, catalog.root, units)
    _write(plan, decides, Path(catalog_path))
    return plan


def load_plan(folder: str | Path) -> Plan:
    """Read the plan that lies in a shard folder.

    Raises:
        ShardError: there is none, or it is damaged.
    """
    layout = Layout(Path(folder))
    data = _read_json(layout)
    try:
        if sha256_file(layout.clips) != data["clips_sha256"]:
            raise ShardError(
                "plan.parquet is not the file that plan.json was written with",
                where=layout.clips,
                fix="plan into a new folder",
            )
        table = pq.read_table(layout.clips)
        config = from_dict(ShardsConfig, data["config"])
        units = tuple(_read_units(table))
        return Plan(layout.root, config, data["plan_hash"], Path(data["root"]), units)
    except (KeyError, TypeError, OSError, pa.ArrowException, ConfigError) as error:
        raise ShardError(f"the plan cannot be read: {error}", where=layout.plan, fix="plan into a new folder") from None


def _decides(config: ShardsConfig, catalog: Catalog) -> dict[str, Any]:
    """All that determines the bytes of the set, beside the clips themselves."""
    settings = to_dict(config)
    del settings["pack"]["faces_dir"]  # where detections lie changes nothing
    weights = settings["mri"].pop("weights")
    return {"format": FORMAT, "config": settings, "catalog": catalog.hash,
            "mri_weights": sha256_file(weights) if weights else ""}  # fmt: skip


def _check_config(config: ShardsConfig) -> None:
    from mrigan.video.crops import RESIZE

    pack = config.pack
    if config.faces.resize not in RESIZE:
        raise ConfigError(
            f"no such step: {config.faces.resize}", where="faces.resize", fix=f"one of {', '.join(RESIZE)}"
        )
    wrong = [split for split in pack.splits if split not in SPLITS]
    if wrong or not pack.splits:
        raise ConfigError(
            f"no such split: {', '.join(wrong) or '(none)'}", where="pack.splits", fix=f"some of {', '.join(SPLITS)}"
        )
    if not 1 <= pack.jpeg_quality <= 100:
        raise ConfigError(f"JPEG quality is {pack.jpeg_quality}", where="pack.jpeg_quality", fix="1 to 100")
    if pack.kind == "pairs":
        from mrigan.mri import METRICS

        if config.mri.metric not in METRICS:
            raise ConfigError(
                f"no perceptual function {config.mri.metric!r}", where="mri.metric", fix=f"one of: {', '.join(METRICS)}"
            )
        if config.mri.weights and not Path(config.mri.weights).is_file():
            raise ConfigError(f"no weight file {config.mri.weights}", where="mri.weights")


def _check_catalog(catalog: Catalog, path: Path) -> None:
    keys: dict[str, str] = {}
    for family in catalog.families():
        torn = {clip.split for clip in family.clips}
        if len(torn) > 1:
            raise CatalogError(
                f"family {family.id} is in the splits {', '.join(sorted(torn))}",
                where=path,
                fix="see all such leaks: mrigan catalog audit CATALOG",
            )
        for clip in family.clips:
            other = keys.setdefault(clip_key(clip.id), clip.id)
            if other != clip.id:
                raise CatalogError(
                    f"{clip.id} and {other} have the same key {clip_key(clip.id)}",
                    where=path,
                    fix="give one of them another data set name",
                )


def _holds(layout: Layout, decides: dict[str, Any], plan_hash: str, root: Path) -> bool:
    """Whether this very plan is there; a folder with another plan, or with anything else, is refused."""
    if not layout.root.exists():
        return False
    if not layout.root.is_dir():
        raise ShardError("this is a file", where=layout.root, fix="choose another folder with -o")
    if not layout.plan.exists():
        others = [path.name for path in layout.root.iterdir()
                  if path != layout.clips and not path.name.endswith(".tmp") and path != layout.faces]  # fmt: skip
        if others:
            raise ShardError(
                f"the folder is not empty and holds no plan: {', '.join(sorted(others)[:3])}",
                where=layout.root,
                fix="choose a new folder with -o",
            )
        return False
    old = _read_json(layout)
    if old.get("plan_hash") != plan_hash:
        changed = differences(old.get("decides", {}), decides)
        raise ShardError(
            "the folder holds shards of another plan:\n    " + "\n    ".join(changed),
            where=layout.root,
            fix="choose a new folder with -o, or the settings of this one",
        )
    whole = layout.clips.is_file() and sha256_file(layout.clips) == old.get("clips_sha256")
    return whole and old.get("root") == str(root)  # else it is written again: the videos have moved


def _units(catalog: Catalog, config: ShardsConfig) -> Iterator[Unit]:
    pack = config.pack
    order = {family.id: hashlib.sha256(f"{pack.seed} {family.id}".encode()).digest() for family in catalog.families()}
    for split in SPLITS:
        if split not in pack.splits:
            continue
        families = sorted((f for f in catalog.families() if f.split == split), key=lambda f: order[f.id])
        for number, group in enumerate(_groups(families, config)):
            yield Unit(unit_name(split, number), split, number, tuple(group))


def _groups(families: list[Family], config: ShardsConfig) -> Iterator[list[Family]]:
    """Families in their order, cut where the larger shard would exceed its size or its number of samples."""
    pack, room = config.pack, config.pack.shard_mib * 2**20
    clip_samples = max(1, CLIP_FRAMES // config.faces.every)
    scale = (config.faces.size / 256) ** 2
    real, fake = FACE_BYTES * scale + TAR_BYTES, FACE_BYTES * scale + TAR_BYTES
    if pack.kind == "pairs":
        real, fake = real + BLACK_BYTES[pack.mri_format] * scale, fake + MRI_BYTES[pack.mri_format] * scale
    group: list[Family] = []
    reals = fakes = 0
    for family in families:
        more_reals = clip_samples * (family.original is not None)
        more_fakes = clip_samples * len(family.fakes)
        reals, fakes = reals + more_reals, fakes + more_fakes
        if group and (max(reals, fakes) > pack.shard_samples or max(reals * real, fakes * fake) > room):
            yield group
            group, reals, fakes = [], more_reals, more_fakes
        group.append(family)
    if group:
        yield group


def _write(plan: Plan, decides: dict[str, Any], catalog_path: Path) -> None:
    layout = plan.layout
    rows = [{"unit": unit.name, "clip": clip.id, **{f.name: getattr(clip, f.name) for f in fields(Clip)}}
            for unit in plan.units for family in unit.families for clip in family.clips]  # fmt: skip
    schema = pa.schema([("unit", pa.string()), *CLIP_SCHEMA])
    with atomic_write(layout.clips) as file:
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), file, compression="zstd")
    write_json(layout.plan, {
        "plan_hash": plan.hash, "format": FORMAT, "kind": plan.config.pack.kind,
        "mri": {"format": plan.config.pack.mri_format, "metric": plan.config.mri.metric}
        if plan.config.pack.kind == "pairs" else None,
        "root": str(plan.root), "catalog": {"path": str(catalog_path.resolve()), "hash": decides["catalog"]},
        "config": to_dict(plan.config), "decides": decides, "clips_sha256": sha256_file(layout.clips),
        "units": [{"name": unit.name, "split": unit.split, "families": len(unit.families), "clips": unit.clips}
                  for unit in plan.units],
    })  # fmt: skip


def _read_json(layout: Layout) -> dict[str, Any]:
    if not layout.plan.is_file():
        raise ShardError("no shard plan there", where=layout.root, fix="make one: mrigan shards plan CATALOG -o DIR")
    try:
        data = json.loads(layout.plan.read_text())
    except ValueError as error:
        raise ShardError(f"the plan is no JSON: {error}", where=layout.plan, fix="plan into a new folder") from None
    if not isinstance(data, dict):
        raise ShardError("the plan is no JSON object", where=layout.plan, fix="plan into a new folder")
    return data


def _read_units(table: pa.Table) -> Iterator[Unit]:
    rows = table.to_pylist()
    for name, members in groupby(rows, key=lambda row: row["unit"]):
        split, number = name.rsplit("-", 1)
        families = [_family(key, [_clip(row) for row in group])
                    for key, group in groupby(members, key=lambda row: row["family"])]  # fmt: skip
        yield Unit(name, split, int(number), tuple(families))


def _clip(row: dict[str, Any]) -> Clip:
    values = {f.name: row[f.name] for f in fields(Clip)}
    return Clip(**values | {"targets": tuple(row["targets"]), "donors": tuple(row["donors"])})


def _family(key: str, clips: list[Clip]) -> Family:
    original = clips[0] if clips[0].id == key and clips[0].label == "real" else None
    return Family(key, original, clips[1:] if original else clips, clips[0].split)
