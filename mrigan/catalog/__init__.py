"""What videos exist: a reader per data set and own manifests; families, people, splits, and their audit."""

from __future__ import annotations

from mrigan.catalog.audit import Leak, audit
from mrigan.catalog.clips import LABELS, SPLITS, Catalog, Clip, Family, clip_id
from mrigan.catalog.readers import READERS, Problem, Reader, ScanResult
from mrigan.catalog.scan import scan_catalog, summary_table
from mrigan.catalog.splits import assign_splits, components, official_splits
from mrigan.catalog.store import read_catalog, write_catalog

__all__ = [
    "LABELS",
    "READERS",
    "SPLITS",
    "Catalog",
    "Clip",
    "Family",
    "Leak",
    "Problem",
    "Reader",
    "ScanResult",
    "assign_splits",
    "audit",
    "clip_id",
    "components",
    "official_splits",
    "read_catalog",
    "scan_catalog",
    "summary_table",
    "write_catalog",
]
