"""The plan of a shard set: which families go into which unit. It decides every byte before the first frame is decoded.

A **unit** is what one worker builds at once: a group of families of one split, which becomes one shard of reals and one
of fakes. The order of the families is a seeded shuffle, so that each shard mixes sources. The size of a unit is only
estimated (`CLIP_FRAMES` frames a clip, one face in each), because it would take long to open 120,000 clips. A unit that
is larger than a shard may be is stored in several shards (`mrigan.packing.unit`).
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mrigan.catalog import SPLITS, Clip, Family, read_catalog
from mrigan.config import ShardsConfig, differences
from mrigan.errors import CatalogError, ConfigError, ShardError
from mrigan.files import hash_json, sha256_file
from mrigan.imaging.recipe import check_recipe
from mrigan.mri import LEARNED, METRICS
from mrigan.packing.libraries import libraries, refuse_other_libraries
from mrigan.packing.record import differ_from_record, is_recorded, record_inputs, refuse_changed_inputs
from mrigan.packing.still_families import refuse_mixed
from mrigan.regular import read_regular
from mrigan.shardset.decides import what_decides
from mrigan.shardset.layout import clip_key, unit_name
from mrigan.shardset.leftovers import refuse_special_files
from mrigan.shardset.marker import made_of, read_marker
from mrigan.shardset.matching import check_match
from mrigan.shardset.plan_file import Plan, Unit, load_plan, read_plan_json, units_of, write_plan
from mrigan.video.stills import PICTURE_SUFFIXES

CLIP_FRAMES = 300  # assumed length of a clip: DFDC's 10 s; Celeb-DF and FaceForensics are about as long
# Mean bytes a stored 256 x 256 picture, measured on Celeb-DF and FaceForensics faces
FACE_BYTES = 18_000
MRI_BYTES = {"jpg": 30_000, "png": 70_000}
BLACK_BYTES = {"jpg": 2_400, "png": 700}
TAR_BYTES = 2_800  # headers, padding and json of a sample
FILL = 0.85  # part of a shard's bytes that is planned, so that a slightly larger unit is still one shard


def plan_shards(catalog_path: str | Path, config: ShardsConfig, out: str | Path) -> Plan:
    """Plan a shard set in the folder `out`. The same plan again changes nothing.

    Raises:
        ShardError: `out` holds other files, or a set of another plan, of other clips or of other libraries (the
            differences are listed).
        CatalogError: no clip is in `pack.splits`; a family is in several splits (the test split alone may be planned
            even so); two clips share a key; or pairs are requested of a still and a video.
        ConfigError: a setting names something that does not exist.
    """
    check_config(config)
    catalog = read_catalog(catalog_path)
    families = catalog.families()
    _check_families(families, config.pack.splits, Path(catalog_path))
    if config.pack.kind == "pairs":
        refuse_mixed(catalog, families, config.pack.splits)
    check_recipe(config.recipe, {clip.dataset for clip in catalog.clips})
    units = tuple(_units(families, config))
    if not units:
        raise CatalogError(
            f"no clip is in the splits {', '.join(config.pack.splits)}",
            where=catalog_path,
            fix="scan the data set again so that it is split, or name other splits: pack.splits=[train]",
        )
    decides = what_decides(config, catalog.hash)
    used = libraries(config)
    plan = Plan(Path(out), config, hash_json(decides), catalog.roots, units, used)
    return store(plan, decides, str(Path(catalog_path).resolve()))


def store(plan: Plan, decides: dict[str, Any], catalog: str) -> Plan:
    """Write a plan into its folder, unless it is there already.

    Raises:
        ShardError: see `plan_shards`.
    """
    if not _stands(plan, decides):
        refuse_special_files(plan.layout)
        record_inputs(plan, made_of=made_of(plan))
        write_plan(plan, decides, catalog)
    return plan


def check_config(config: ShardsConfig) -> None:
    """Raise ConfigError if a setting names something that does not exist."""
    pack = config.pack
    wrong = [split for split in pack.splits if split not in SPLITS]
    if wrong or not pack.splits:
        raise ConfigError(
            f"no such split: {', '.join(wrong) or '(none)'}", where="pack.splits", fix=f"some of {', '.join(SPLITS)}"
        )
    check_match(pack.match)
    _check_cut(config)
    if not 1 <= pack.jpeg_quality <= 100:
        raise ConfigError(f"JPEG quality is {pack.jpeg_quality}", where="pack.jpeg_quality", fix="1 to 100")
    if pack.kind == "pairs":
        if config.mri.metric not in METRICS:
            raise ConfigError(
                f"no perceptual function {config.mri.metric!r}", where="mri.metric", fix=f"one of: {', '.join(METRICS)}"
            )
        if config.mri.weights and not Path(config.mri.weights).is_file():
            raise ConfigError(f"no weight file {config.mri.weights}", where="mri.weights")
        learned = config.mri.metric in LEARNED
        if learned != bool(config.mri.weights):
            raise ConfigError(
                f"{config.mri.metric} {'needs a' if learned else 'takes no'} weight file",
                where="mri.weights",
                fix="give it: mri.weights=FILE" if learned else "leave it out",
            )


def _check_cut(config: ShardsConfig) -> None:
    """Raise ConfigError for ways of cutting faces that do not go with other settings."""
    faces = config.faces
    if faces.align != "none" and config.recipe.share:
        raise ConfigError(
            "treated faces cannot be aligned: the five points of a pair are not known after a rotation",
            where="faces.align",
            fix="recipe.share=0, or faces.align=none",
        )
    if faces.landmarks != "none" and (faces.align != "none" or faces.resize == "letterbox"):
        raise ConfigError(
            "landmarks are for self-blends, which take a face from its box; this one is cut otherwise",
            where="faces.landmarks",
            fix="faces.align=none faces.resize=area, or faces.landmarks=none",
        )


def _check_families(families: list[Family], splits: Sequence[str], path: Path) -> None:
    """Raise CatalogError if a family is in several of these splits, or two clips share a key.

    Data for training and for choosing thresholds must not share a family with another split. A test set by itself may:
    published test lists do (Celeb-DF-v2's), and results on them are needed. `mrigan catalog audit` reports it.
    """
    sides: dict[str, set[str]] = defaultdict(set)  # by `Clip.family`, which two families may share
    for family in families:
        for clip in family.clips:
            sides[clip.family].add(clip.split)
    torn = [key for key, sides_ in sides.items() if len(sides_) > 1 and sides_ & set(splits)]
    if torn and set(splits) != {"test"}:
        more = f", and {len(torn) - 1} more families are in several splits" if len(torn) > 1 else ""
        raise CatalogError(
            f"family {torn[0]} is in the splits {', '.join(sorted(filter(None, sides[torn[0]])))}{more}",
            where=path,
            fix="see all leaks: mrigan catalog audit CATALOG; for a split without, scan again without --splits; or "
            "plan the test set by itself: pack.splits=[test]",
        )
    keys: dict[str, str] = {}
    for family in families:
        if not sides[family.clips[0].family] & set(splits):
            continue
        for clip in family.clips:
            key = clip_key(clip.id)
            other = keys.setdefault(key, clip.id)
            if other != clip.id:
                raise CatalogError(
                    f"{clip.id} and {other} have the same key {key}",
                    where=path,
                    fix="give one of them another data set name",
                )


def _stands(plan: Plan, decides: dict[str, Any]) -> bool:
    """Whether the folder holds this plan; raise ShardError if it holds another plan, or anything else."""
    layout = plan.layout
    if not layout.root.exists():
        return False
    if not layout.root.is_dir():
        raise ShardError("this is a file", where=layout.root, fix="choose another folder with -o")
    if not layout.plan.exists():
        allowed = (layout.clips, layout.inputs, layout.faces)
        others = [path.name for path in layout.root.iterdir() if path not in allowed and not path.name.endswith(".tmp")]
        if others:
            raise ShardError(
                f"the folder is not empty and holds no plan: {', '.join(sorted(others)[:3])}",
                where=layout.root,
                fix="choose a new folder with -o",
            )
        return False
    try:
        old = read_plan_json(layout)
    except ShardError:
        if _is_of(plan):
            return False
        raise
    if old.get("plan_hash") != plan.hash:
        changed = differences(old.get("decides", {}), decides)
        raise ShardError(
            "the folder holds shards of another plan:\n    " + "\n    ".join(changed),
            where=layout.root,
            fix="choose a new folder with -o, or the settings of this one",
        )
    whole = layout.clips.is_file() and sha256_file(layout.clips) == old.get("clips_sha256")
    same = whole and old.get("units") == units_of(plan.units)
    same = same and replace(load_plan(layout.root, only=()), units=plan.units) == plan
    if any(layout.units.glob("*.json")):  # something is built: the rest must have the same clips and libraries
        refuse_other_libraries(replace(plan, libraries=old.get("libraries", {})))
        if not is_recorded(plan):
            return False
        refuse_changed_inputs(plan, plan.units)
        return same
    return same and not differ_from_record(plan)


def _is_of(plan: Plan) -> bool:
    """Whether all markers in a folder with a damaged plan.json are of `plan`.

    Raises:
        ShardError: its clips changed since.
    """
    markers = sorted(plan.layout.units.glob("*.json"))
    for path in markers:
        try:
            read_marker(read_regular(path), plan, path.stem)
        except (OSError, ValueError):
            return False
    if markers and is_recorded(plan):
        refuse_changed_inputs(plan, plan.units)
    return True


def _units(families: list[Family], config: ShardsConfig) -> Iterator[Unit]:
    pack = config.pack
    order = {family.id: hashlib.sha256(f"{pack.seed} {family.id}".encode()).digest() for family in families}
    for split in SPLITS:
        if split not in pack.splits:
            continue
        parts = (_part(family, split) for family in families)
        chosen = sorted((family for family in parts if family.own), key=lambda family: order[family.id])
        for number, group in enumerate(_groups(chosen, config)):
            yield Unit(unit_name(split, number), split, number, tuple(group))


def _part(family: Family, split: str) -> Family:
    """The clips of a family in one split, and always its original, which fakes are compared with."""
    return Family(family.id, family.original, [clip for clip in family.fakes if clip.split == split], split)


def _groups(families: list[Family], config: ShardsConfig) -> Iterator[list[Family]]:
    """Families in their order, cut before the larger shard would exceed its samples or come near its size."""
    pack, room = config.pack, FILL * config.pack.shard_mib * 2**20
    scale = (config.faces.size / 256) ** 2
    real, fake = FACE_BYTES * scale + TAR_BYTES, FACE_BYTES * scale + TAR_BYTES
    if pack.kind == "pairs":
        real, fake = real + BLACK_BYTES[pack.mri_format] * scale, fake + MRI_BYTES[pack.mri_format] * scale
    group: list[Family] = []
    reals = fakes = 0
    for family in families:
        more_reals = _samples(family.original, config) if family.original and not family.reference else 0
        more_fakes = sum(_samples(clip, config) for clip in family.fakes)
        reals, fakes = reals + more_reals, fakes + more_fakes
        if group and (max(reals, fakes) > pack.shard_samples or max(reals * real, fakes * fake) > room):
            yield group
            group, reals, fakes = [], more_reals, more_fakes
        group.append(family)
    if group:
        yield group


def _samples(clip: Clip, config: ShardsConfig) -> int:
    """The estimated number of samples of a clip."""
    if clip.path.lower().endswith(PICTURE_SUFFIXES):
        return 1
    return config.faces.frames or max(1, CLIP_FRAMES // config.faces.every)
