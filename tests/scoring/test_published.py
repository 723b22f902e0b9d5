"""`mrigan evaluate` takes a published ensemble as any other model, and says where the faces were cut otherwise."""

from __future__ import annotations

import io
import json
import logging
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mrigan.config import ShardsConfig, to_dict
from mrigan.evaluation import read_scores
from mrigan.models.importers import read_published
from mrigan.scoring.evaluate import evaluate_models
from mrigan.scoring.options import ScoringOptions
from tests.data.shards import make_samples, write_shards
from tests.models.published_networks import save_winner, winner


def faces_of(folder: Path) -> torch.Tensor:
    """Those of all shards (N, 3, H, W) in 0...1."""
    pictures = []
    for shard in sorted(folder.glob("*.tar")):
        with tarfile.open(shard) as tar:
            content = [tar.extractfile(m) for m in tar if m.name.endswith("face.jpg")]
            pictures += [np.asarray(Image.open(io.BytesIO(file.read()))) for file in content if file]
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2) / 255


def test_an_ensemble_is_evaluated(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    networks = [winner(seed) for seed in range(2)]
    files = [save_winner(tmp_path / f"network{i}", network) for i, network in enumerate(networks)]
    found = read_published("dfdc-winner", files)
    model = found.save(tmp_path / "winner")
    shards = write_shards(tmp_path / "shards", make_samples(2, 2, split="test", size=380), kind="faces")
    faces = replace(found.faces, crop="widen")
    (shards / "plan.json").write_text(json.dumps({"config": to_dict(ShardsConfig(faces=faces))}))
    with caplog.at_level(logging.WARNING):
        evaluate_models([model], [shards], tmp_path / "out", ScoringOptions(split="test", workers=0, device="cpu"))
    scores = sorted(read_scores(tmp_path / "out" / "scores.parquet")["prob"].to_pylist())
    with torch.no_grad():
        each = torch.stack([network(faces_of(shards)).sigmoid() for network in networks])
    assert scores == pytest.approx(sorted(each.mean(0).tolist()), abs=1e-5)
    warned = [record.getMessage() for record in caplog.records if "was trained on faces" in record.getMessage()]
    assert warned == [f"winner was trained on faces with crop truncate; those in {shards} have widen"]
