"""Families of clips become WebDataset tar shards: plan, build, verify."""

from mrigan.packing.build import build_shards
from mrigan.packing.layout import FORMAT, Layout, sample_key
from mrigan.packing.manifest import Summary, read_manifest
from mrigan.packing.plan import Plan, Unit, load_plan, plan_shards
from mrigan.packing.rows import SCHEMA, read_rows
from mrigan.packing.verify import Damage, verify_shards

__all__ = [
    "FORMAT", "SCHEMA", "Damage", "Layout", "Plan", "Summary", "Unit", "build_shards", "load_plan", "plan_shards",
    "read_manifest", "read_rows", "sample_key", "verify_shards",
]  # fmt: skip
