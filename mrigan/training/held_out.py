"""MRI-GAN on held-out faces during training (section 4.7): the picture grid, and the mean SSIM that chooses G."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mrigan.data import Batch, eval_batches
from mrigan.files import atomic_write, hash_json
from mrigan.models import Generator, predict_mri
from mrigan.mri import ssim_index
from mrigan.scoring.chosen_faces import choose_faces, class_mean
from mrigan.training.job import Job
from mrigan.training.pictures import picture_grid
from mrigan.training.task import Evaluation

log = logging.getLogger(__name__)
AT_ONCE = 32  # faces in one forward pass


class HeldOutFaces:
    """The same `eval.faces` faces every time, fakes and reals in halves where there are enough; rank 0 does them all.

    The best G is the one with the highest mean of two means: the SSIM of the fakes' MRIs, and that of the reals'. So a
    G that draws black everywhere, which is right for every real face, gains nothing from a set with many reals.

    Attributes:
        black: the score that black MRIs would have; known on rank 0.
        scored_on: which faces the score is of, in a word that is another one for others; known on rank 0.
    """

    def __init__(self, job: Job) -> None:
        self.job, self.black, self.scored_on = job, 0.0, ""
        self._batches = self._read() if job.run.world.main else []

    def evaluate(self) -> Evaluation:
        """Predict the MRIs, save the grid as `pictures/step-NNNNNN.png`, and score.

        Returns:
            The mean SSIM index between true and predicted MRIs: of the fakes, of the reals, and the mean of both (the
            score); and what the score would be if all MRIs were drawn black.
        """
        state = self.job.state
        G = (state.averages.get("generator") or state.engines["generator"]).unsharded()
        if not self._batches:
            return Evaluation()
        assert isinstance(G, Generator)
        index, predicted = [], []
        for batch in self._batches:
            assert batch.mri is not None
            predicted.append((predict_mri(G, batch.face) * 255).round().to(torch.uint8))
            index.append(ssim_index(batch.mri, predicted[-1]).cpu())
            self.job.run.health.beat()
        ssim = torch.cat(index)
        self._draw(torch.cat(predicted), ssim)
        fake = self._fake
        score = class_mean(ssim, fake)
        metrics = {"ssim": score, "ssim_fake": _mean(ssim[fake]), "ssim_real": _mean(ssim[~fake])}
        return Evaluation({**metrics, "ssim_black": self.black}, score)

    def _read(self) -> list[Batch]:
        config, shards = self.job.config, self.job.data.val
        ids = choose_faces(shards, config.eval.faces)
        fakes = int(shards.labels[ids].sum())
        fewer = " (all that there are)" if len(ids) < config.eval.faces else ""
        log.info(
            "the best G is chosen by %d held-out faces%s: %d fake, %d real", len(ids), fewer, fakes, len(ids) - fakes
        )
        self.scored_on = f"{len(ids)} faces, {hash_json([shards.key(int(i)) for i in ids])[:12]}"
        self._ids, self._shown = ids, _shown(shards.labels[ids], config.eval.samples)
        with eval_batches(shards, ids, AT_ONCE, size=config.model.size, mri=True) as batches:
            read = [batch.to(self.job.run.world.device) for batch in batches]
        self._fake = torch.cat([batch.label for batch in read]).cpu() > 0
        black = [ssim_index(batch.mri, torch.zeros_like(batch.mri)).cpu() for batch in read if batch.mri is not None]
        self.black = class_mean(torch.cat(black), self._fake)
        return read

    def _draw(self, predicted: torch.Tensor, ssim: torch.Tensor) -> None:
        """The grid of `eval.samples` of the faces."""
        path = self.job.run.folder.pictures / f"step-{self.job.state.step:06d}.png"
        shown = self._shown
        faces, mris = (
            torch.stack([getattr(self._batches[i // AT_ONCE], name)[i % AT_ONCE] for i in shown])
            for name in ("face", "mri")
        )
        rows = self.job.data.val.rows.take(self._ids[shown]).to_pylist()
        captions = [(_caption(row), f"SSIM {ssim[i]:.2f}") for row, i in zip(rows, shown, strict=True)]
        grid = picture_grid(faces, mris, predicted[shown], captions)
        with atomic_write(path) as file:
            grid.save(file, format="png")
        self.job.run.tracking.log_artifact(path, "pictures")


def _shown(labels: Any, count: int) -> list[int]:
    """Places of the faces in the picture grid: as many of each class where there are enough, fakes first."""
    fakes, reals = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    from_reals = min(len(reals), max(count // 2, count - len(fakes)))
    return [int(i) for i in np.concatenate([_evenly(fakes, count - from_reals), _evenly(reals, from_reals)])]


def _caption(row: dict[str, Any]) -> str:
    parts = (row["label"], row["method"], Path(row["name"]).name, f"#{row['frame']}")
    return " ".join(part for part in parts if part)


def _evenly(ids: Any, count: int) -> Any:
    return ids[np.linspace(0, len(ids) - 1, min(count, len(ids))).astype(np.int64)] if len(ids) else ids


def _mean(values: torch.Tensor) -> float | None:
    return float(values.mean()) if len(values) else None
