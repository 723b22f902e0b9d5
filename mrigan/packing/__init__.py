"""Families of clips become WebDataset tar shards: plan, build, verify, repair, count."""

from mrigan.packing.build import Slice, build_shards, build_slice
from mrigan.packing.derive import plan_from
from mrigan.packing.dispatch import WorkerPool
from mrigan.packing.plan import Plan, Unit, load_plan, plan_shards
from mrigan.packing.repair import Repair, repair_shards
from mrigan.packing.shard_check import Damage
from mrigan.packing.stats import Stats, shard_stats
from mrigan.packing.summary import Summary
from mrigan.packing.verify import Check, check_shards, verify_shards
from mrigan.shardset.layout import FORMAT, Layout, sample_key
from mrigan.shardset.manifest import read_manifest
from mrigan.shardset.rows import SCHEMA, read_rows

__all__ = [
    "FORMAT",
    "SCHEMA",
    "Check",
    "Damage",
    "Layout",
    "Plan",
    "Repair",
    "Slice",
    "Stats",
    "Summary",
    "Unit",
    "WorkerPool",
    "build_shards",
    "build_slice",
    "check_shards",
    "load_plan",
    "plan_from",
    "plan_shards",
    "read_manifest",
    "read_rows",
    "repair_shards",
    "sample_key",
    "shard_stats",
    "verify_shards",
]  # fmt: skip
