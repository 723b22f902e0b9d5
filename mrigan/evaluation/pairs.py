"""Which fake belongs to which original, by the families of a table of videos."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mrigan.catalog.clips import clip_id
from mrigan.evaluation.schema import VIDEO

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Pairs:
    """Fakes and their originals, as rows of a table of videos.

    Attributes:
        fake, original: (P,) rows. share: (P,) 1 / the number of originals of this fake, so that each fake counts once.
    """

    fake: Rows
    original: Rows
    share: NDArray[np.float64]

    def select(self, chosen: NDArray[np.bool_]) -> Pairs:
        """Some of the pairs, (P,) true = kept."""
        return Pairs(self.fake[chosen], self.original[chosen], self.share[chosen])


def find_pairs(videos: pa.Table) -> Pairs:
    """Pair every fake with its original: the real video of its family, if possible in the fake's compression.

    The original is in the fake's data set, or its id is the name of the family. A fake with several originals (two
    files of one clip) is paired with each of them.
    """
    columns = {name: videos[name].to_pylist() for name in (*VIDEO, "family", "label")}
    family, source = columns["family"], list(zip(columns["dataset"], columns["compression"], strict=True))
    ids = [clip_id(*video) for video in zip(*(columns[name] for name in VIDEO), strict=True)]
    fakes: list[int] = []
    reals: dict[str, list[int]] = defaultdict(list)
    for row, (name, label) in enumerate(zip(family, columns["label"], strict=True)):
        if name:
            (fakes if label else reals[name]).append(row)
    pairs: list[tuple[int, int, float]] = []
    for fake in fakes:
        name, (dataset, _) = family[fake], source[fake]
        known = [row for row in reals.get(name, ()) if source[row][0] == dataset or ids[row] == name]
        originals = [row for row in known if source[row] == source[fake]] or known
        pairs += [(fake, original, 1 / len(originals)) for original in originals]
    rows = np.array(pairs, np.float64).reshape(-1, 3)
    return Pairs(rows[:, 0].astype(np.int64), rows[:, 1].astype(np.int64), rows[:, 2])
