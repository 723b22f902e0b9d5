"""The embedded sample: a data set of invented people and their fakes, made from two portraits in installed packages.

The modules in the order of the data: `portraits` → `people` → `motion` → `fakes` → `encode`; `build` makes the folder.
"""

from __future__ import annotations

from mrigan.sample.build import make_sample

__all__ = ["make_sample"]
