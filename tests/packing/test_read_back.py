"""What was built is what training reads."""

from __future__ import annotations

import io

import numpy as np
import webdataset
from PIL import Image

from mrigan.data import EpochPlan, ShardSet
from tests.builders import train_loader
from tests.packing.conftest import Built


def test_a_built_set_trains(built: Built) -> None:
    shards = ShardSet.open([built.folder], "train", kind="pairs")
    tars = sorted(str(tar) for tar in built.folder.glob("train-*.tar"))
    theirs = {sample["__key__"]: sample for sample in webdataset.WebDataset(tars, shardshuffle=False)}
    assert sorted(theirs) == [shards.key(i) for i in range(len(shards))]
    for i in range(len(shards)):
        assert shards.read(i) == tuple(theirs[shards.key(i)][part] for part in ("face.jpg", "mri.png", "json"))
        assert shards.rows["label"][i].as_py() == ("fake" if shards.labels[i] else "real")

    plan = EpochPlan(shards.labels, seed=0)
    with train_loader(
        shards, plan, global_batch=4, start_step=0, stop_step=3, workers=1, flip=0.0, size=256
    ) as batches:
        for batch in batches:
            assert batch.mri is not None
            for k, i in enumerate(batch.ids.tolist()):
                for mine, part in ((batch.face[k], "face.jpg"), (batch.mri[k], "mri.png")):
                    expected = np.asarray(Image.open(io.BytesIO(theirs[shards.key(i)][part])))
                    assert (mine.permute(1, 2, 0).numpy() == expected).all()
