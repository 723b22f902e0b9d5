"""What a page calls its files: their names, without the folders of the machine that judged them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence

from mrigan.files import shown


def titles(paths: Sequence[str]) -> list[str]:
    """The name of each file; where several have the same one, with as many of their folders as tell them apart."""
    parts = [os.path.normpath(path).split(os.sep) for path in paths]
    kept = [1] * len(paths)
    while True:
        names = ["/".join(part[-n:]) for part, n in zip(parts, kept, strict=True)]
        counts = Counter(names)
        longer = [i for i, name in enumerate(names) if counts[name] > 1 and kept[i] < len(parts[i])]
        if not longer:
            return [shown(name) for name in names]
        for i in longer:
            kept[i] += 1
