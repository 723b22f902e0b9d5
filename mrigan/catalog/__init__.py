"""What videos exist: a reader per data set and own manifests; families, people, splits, and their audit."""

from __future__ import annotations

from mrigan.catalog.audit import Leak, audit, missing_originals
from mrigan.catalog.clips import LABELS, SPLITS, Catalog, Clip, Family, Making, clip_id
from mrigan.catalog.combine import merge_catalogs, move_roots, take
from mrigan.catalog.contents import file_sizes
from mrigan.catalog.official import official_splits
from mrigan.catalog.readers import PICTURE_SUFFIXES, READERS, VIDEO_SUFFIXES, Problem, Reader, ScanResult
from mrigan.catalog.scan import making_lines, scan_catalog, summary_table
from mrigan.catalog.splits import assign_splits, components
from mrigan.catalog.store import read_catalog, write_catalog

__all__ = [
    "LABELS",
    "PICTURE_SUFFIXES",
    "READERS",
    "SPLITS",
    "VIDEO_SUFFIXES",
    "Catalog",
    "Clip",
    "Family",
    "Leak",
    "Making",
    "Problem",
    "Reader",
    "ScanResult",
    "assign_splits",
    "audit",
    "clip_id",
    "components",
    "file_sizes",
    "making_lines",
    "merge_catalogs",
    "missing_originals",
    "move_roots",
    "official_splits",
    "read_catalog",
    "scan_catalog",
    "summary_table",
    "take",
    "write_catalog",
]
