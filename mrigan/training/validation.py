"""The detector on held-out faces during training: every rank scores its part, all of them count."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from mrigan.config import FacesConfig, from_dict
from mrigan.config.model_card import ModelCard
from mrigan.engine.distributed import interleave
from mrigan.evaluation import frame_metrics
from mrigan.losses import detector_loss
from mrigan.models import Bundle, Detector, MapDetector
from mrigan.scoring.shards import score_faces
from mrigan.training.job import Job
from mrigan.training.task import Evaluation

METRICS = ("auc", "eer", "log_loss", "balanced_accuracy")


class Validation:
    """The same held-out faces at every evaluation: all of them, or `eval.faces` spread evenly over the set."""

    def __init__(self, job: Job, faces: dict[str, Any]) -> None:
        self.job = job
        G: Any = job.state.frozen.get("generator")
        self.bundle = Bundle(
            self._detector(), G, ModelCard(input=job.config.data.input, faces=from_dict(FacesConfig, faces))
        )
        wanted = job.config.eval.faces or len(job.data.val)
        self.ids = np.unique(np.linspace(0, len(job.data.val) - 1, min(wanted, len(job.data.val))).astype(np.int64))

    def evaluate(self) -> Evaluation:
        """Frame-level figures; the score is the negative class-balanced log-loss. Every rank must call it.

        Of a detector that draws MRIs also: the AUC of their mean brightness, and that brightness of reals and fakes.
        """
        self.bundle.detector = self._detector()
        logits, mris = self.scores(self.ids)
        labels = torch.from_numpy(self.job.data.val.labels[self.ids])
        loss = float(detector_loss(logits, labels, smoothing=(0.0, 1.0)))
        figures = frame_metrics(labels.numpy(), logits.double().sigmoid().numpy())
        metrics = {"loss": loss, **{name: figures[name] for name in METRICS}}
        if isinstance(self.bundle.detector, MapDetector) and mris is not None:
            metrics["mri_auc"] = frame_metrics(labels.numpy(), mris.double().numpy())["auc"]
            for name, mine in (("mri_real", labels == 0), ("mri_fake", labels == 1)):
                metrics[name] = float(mris[mine].mean()) if mine.any() else None
        return Evaluation(metrics, -loss)

    def scores(self, ids: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Logits (N,) of held-out faces and the means of their MRIs (see `score_faces`), each face scored by one rank;
        on every rank in the order of `ids`."""
        world, config = self.job.run.world, self.job.config
        mine = ids[world.rank :: world.size]
        batch = max(1, config.train.batch_size // world.size)
        was_training = self.bundle.detector.training
        logits, mris = score_faces(
            self.bundle,
            self.job.data.val,
            mine,
            batch_size=batch,
            workers=config.data.workers,
            alive=self.job.run.health.beat,
        )
        self.bundle.detector.train(was_training)
        gathered = [None if part is None else interleave(world.gather(part), len(ids)) for part in (logits, mris)]
        assert gathered[0] is not None
        return gathered[0], gathered[1]

    def _detector(self) -> Detector:
        state = self.job.state
        detector = (state.averages.get("detector") or state.engines["detector"]).unsharded()
        assert isinstance(detector, Detector)
        return detector
