"""MRI-GAN on held-out faces during training (section 4.7): the picture grid, and the mean SSIM that chooses G."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from mrigan.config import GanConfig
from mrigan.data import Batch, ShardSet, eval_batches
from mrigan.engine.average import Average
from mrigan.engine.interface import Engine
from mrigan.files import atomic_write
from mrigan.models import Generator, predict_mri
from mrigan.mri import ssim_index
from mrigan.training.hooks import Evaluation
from mrigan.training.job import Job
from mrigan.training.pictures import picture_grid


class HeldOutFaces:
    """The same `eval.samples` faces every time, half of them fake where there are enough; rank 0 does them all.

    Args:
        job: the training job.
        G: an engine, or the average of the generator.
    """

    def __init__(self, job: Job[GanConfig], G: Engine | Average) -> None:
        self.job, self.G = job, G
        self._batch = self._read() if job.world.main else None

    def evaluate(self, step: int) -> Evaluation:
        """Predict the MRIs, save the grid as `pictures/step-NNNNNN.png`, and score.

        Returns:
            The mean SSIM index between true and predicted MRIs: of all (the score), of the fakes, of the reals.
        """
        G, batch = self.G.whole(), self._batch
        if batch is None:
            return Evaluation()
        assert batch.mri is not None
        assert isinstance(G, Generator)
        predicted = (predict_mri(G, batch.face) * 255).round().to(torch.uint8)
        ssim = ssim_index(batch.mri, predicted).cpu()
        fake = batch.label.cpu() > 0
        path = self.job.folder.pictures / f"step-{step:06d}.png"
        grid = picture_grid(batch.face, batch.mri, predicted, self._captions(batch, ssim))
        with atomic_write(path) as file:
            grid.save(file, format="png")
        self.job.journal.picture(path)
        score = float(ssim.mean())
        return Evaluation({"ssim": score, "ssim_fake": _mean(ssim[fake]), "ssim_real": _mean(ssim[~fake])}, score)

    def _read(self) -> Batch:
        config, shards = self.job.config, self.job.val
        ids = choose_faces(shards, config.eval.samples)
        with eval_batches(shards, ids, len(ids), size=config.model.size, mri=True) as batches:
            return next(batches).to(self.job.world.device)

    def _captions(self, batch: Batch, ssim: torch.Tensor) -> list[tuple[str, str]]:
        rows = self.job.val.rows.take(batch.ids.cpu().numpy()).to_pylist()
        return [(_caption(row), f"SSIM {value:.2f}") for row, value in zip(rows, ssim.tolist(), strict=True)]


def choose_faces(shards: ShardSet, count: int) -> Any:
    """Up to `count` ids spread evenly over the set, as many fakes as reals where both have enough; fakes first."""
    fakes, reals = np.flatnonzero(shards.labels == 1), np.flatnonzero(shards.labels == 0)
    from_reals = min(len(reals), max(count // 2, count - len(fakes)))
    return np.concatenate([_spread(fakes, count - from_reals), _spread(reals, from_reals)])


def _caption(row: dict[str, Any]) -> str:
    parts = (row["label"], row["method"], Path(row["name"]).name, f"#{row['frame']}")
    return " ".join(part for part in parts if part)


def _spread(ids: Any, count: int) -> Any:
    return ids[np.linspace(0, len(ids) - 1, min(count, len(ids))).astype(np.int64)] if len(ids) else ids


def _mean(values: torch.Tensor) -> float | None:
    return float(values.mean()) if len(values) else None
