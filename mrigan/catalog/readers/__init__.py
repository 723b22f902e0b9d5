"""Readers: one file a data set. A reader looks at a folder and lists its clips; it decides nothing about splits.

A new data set is one module with a function of `Reader`'s form and one line in `READERS`. What it must keep to:

- a clip's `name` is unique within (data set, method, compression) and the same wherever the folder lies;
- paths are checked with `mrigan.catalog.readers.common.inside`, so that no label file can point out of its folder;
- `family` names the original also where its file is missing, so that its fakes stay together;
- one bad clip among many is skipped and counted as a problem; what makes the whole list doubtful is a CatalogError.
"""

from __future__ import annotations

from mrigan.catalog.readers.common import Problem, Reader, ScanResult
from mrigan.catalog.readers.dfdc import read_dfdc
from mrigan.catalog.readers.manifest import read_manifest

READERS: dict[str, Reader] = {"dfdc": read_dfdc, "manifest": read_manifest}

__all__ = ["READERS", "Problem", "Reader", "ScanResult", "read_dfdc", "read_manifest"]
