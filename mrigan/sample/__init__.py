"""The embedded sample: two portraits that packages ship become a data set of invented people and their fakes.

The rooms of this package, in the order that data flows: `portraits` → `people` → `motion` → `fakes` → `encode`; `build`
makes the folder.
"""

from __future__ import annotations

from mrigan.sample.build import make_sample, unseen_clips

__all__ = ["make_sample", "unseen_clips"]
