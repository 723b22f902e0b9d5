"""The original of a stored fake face, found in the set that the builder wrote."""

from __future__ import annotations

import numpy as np
import torch

from mrigan.data import ShardSet
from mrigan.data.decode import decode
from mrigan.mri import mri_image
from mrigan.scoring.originals import find_originals
from tests.packing.conftest import Built


def test_the_original_and_the_fake_make_the_stored_mri(built: Built) -> None:
    """The MRI of the pair that was found is the one that was stored, but for JPEG; that of another pair is not."""
    shards = ShardSet.open([built.folder], built.clips.clips[0].split, "pairs")
    fakes = [int(i) for i in np.flatnonzero(shards.labels)]
    originals = find_originals(shards, fakes)
    assert None not in originals
    assert not shards.labels[originals].any()
    checked = fakes[:: max(1, len(fakes) // 12)]
    for fake, original in zip(checked, find_originals(shards, checked), strict=True):
        assert original is not None
        pictures = [decode(part) for part in (*shards.read(fake)[:2], shards.read(original)[0]) if part]
        face, mri, real = (torch.from_numpy(picture.transpose(2, 0, 1)[None].copy()) for picture in pictures)
        assert (mri_image(real, face) - mri).abs().mean() < 5  # JPEG's; a neighbouring frame makes 7, others over 70
