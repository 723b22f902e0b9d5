"""A detector in memory: from faces to logits, MRIs and distances."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from mrigan.config import FacesConfig
from mrigan.config.model_card import ModelCard, given
from mrigan.models.detector import Detector
from mrigan.models.ensemble import Ensemble, mean_logit
from mrigan.models.familiarity import Familiarity
from mrigan.models.generator import Generator
from mrigan.models.known_faces import KnownFaces, activations, coarse, layers_of
from mrigan.models.map_detector import MapDetector
from mrigan.models.predict import predict_as_authors, predict_mri

MAX_CPU_BATCH = 8  # faces; the activations of more do not stay in a CPU's cache


@dataclass
class Bundle:
    """A detector ready to score faces. `to(device)` moves its networks.

    Attributes:
        generator: predicts the MRIs that are the detector's input, or are shown beside its verdict; None = neither.
        card: the content of model.json.
        familiarity: for distances from the held-out faces, or None. known: for distances from the training faces, if
        too
            few were held out, or None.
        precision: "fp32", or "bf16" for the networks' large sums (the last layer stays in float32).
    """

    detector: Detector | Ensemble
    generator: Generator | None
    card: ModelCard
    familiarity: Familiarity | None = None
    precision: str = "fp32"
    known: KnownFaces | None = None

    @property
    def input(self) -> str:
        """The detector's input: the "face", or the "mri" that `generator` predicts from it."""
        return self.card.input

    @property
    def faces(self) -> FacesConfig:
        """How the training faces were detected and cropped."""
        return self.card.faces

    @property
    def thresholds(self) -> dict[str, float]:
        """`frame` and `fraction`: a video is fake if at least `fraction` of its faces are above `frame`."""
        return dict(given(self.card.thresholds))

    @property
    def draws_mris(self) -> bool:
        """Whether it predicts MRIs: by the detector itself, or by a generator."""
        return self.generator is not None or isinstance(self.detector, MapDetector)

    def to(self, device: torch.device | str) -> Bundle:
        """Move the networks, in channels-last layout, the fastest for convolutions; returns itself."""
        for network in (self.detector, self.generator):
            if network is not None:
                network.to(device).to(memory_format=torch.channels_last)
        return self

    def predict(self, faces: Tensor, batch_size: int = 32) -> tuple[Tensor, Tensor | None]:
        """Probabilities of being fake, (N,) float32 in 0...1, and, if `draws_mris`, MRIs (N, 3, S, S) uint8.

        Args:
            faces: (N, 3, H, W) uint8, cropped and resized by the settings `faces`, on any device. Results are on the
            CPU.
        """
        logits, mris = self._run(faces, batch_size, self.draws_mris)
        return torch.sigmoid(logits), mris

    def score(self, faces: Tensor, batch_size: int = 32) -> Tensor:
        """Logits (N,) float32 of `faces`, as in `predict`."""
        return self._run(faces, batch_size, self.input == "mri")[0]

    def score_with_mri(self, faces: Tensor, batch_size: int = 32) -> tuple[Tensor, Tensor | None]:
        """Logits (N,) float32, and the mean (N,) in 0...1 of each MRI that the verdict needs, or that the detector
        draws in the same pass; None if it does neither."""
        drawn = self.input == "mri" or isinstance(self.detector, MapDetector)
        logits, mris = self._run(faces, batch_size, drawn)
        return logits, None if mris is None else mris.float().mean((1, 2, 3)) / 255

    @torch.inference_mode()
    def features(self, faces: Tensor, batch_size: int = 32) -> Tensor:
        """The pooled features (N, F) float32 of the detector's backbone, on the CPU."""
        parts = []
        for picture, _ in self._pictures(faces, batch_size, self.input == "mri"):
            with self._precision(picture.device):
                parts.append(self.detector.features(picture).float().cpu())
        return torch.cat(parts)

    def examine(self, faces: Tensor, batch_size: int = 32) -> tuple[Tensor, Tensor]:
        """Logits (N,) float32 and the detector's hidden layer (N, H) float32 of `faces`, on the CPU."""
        each, hidden = self._judge_each(faces, batch_size)
        return mean_logit(each), hidden

    def weigh(self, faces: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits (N, K) float32 of `faces` by each network, of which only an ensemble has several, and their distances
        (N,) from the faces stored in the model; None if it stores none. See `mrigan.models.ensemble.mean_logit`."""
        if self.known is not None:
            logits, distances = self._compare_with_known(self.known, faces)
            return logits[:, None], distances
        each, hidden = self._judge_each(faces)
        return each, None if self.familiarity is None else self.familiarity.distance(hidden)

    @torch.inference_mode()
    def maps_of(self, faces: Tensor, names: list[str] | None = None, batch_size: int = 32) -> dict[str, Tensor]:
        """Per layer of the backbone, the (N, C, h, w) float32 activations of `faces`; see `mrigan.models.known_faces`.

        Args:
            names: of the layers; None = those of `layers_of`, perhaps none.
        """
        self.detector.eval()
        if names is None:
            side = self.detector.size
            names = layers_of(self.detector.backbone, torch.zeros(1, 3, side, side).to(self._device))
        parts: dict[str, list[Tensor]] = {name: [] for name in names}
        with activations(self.detector.backbone, names) as outputs:
            for face in self._faces(faces, batch_size):
                self._embed(face)
                for name in names:
                    parts[name].append(coarse(outputs[name]).cpu())
        return {name: torch.cat(maps) for name, maps in parts.items()}

    @torch.inference_mode()
    def _judge_each(self, faces: Tensor, batch_size: int = 32) -> tuple[Tensor, Tensor]:
        count = self.detector.settings.get("networks", 1)
        each, hidden = [torch.zeros((0, count))], [torch.zeros((0, self.detector.hidden_size))]
        for picture, _ in self._pictures(faces, batch_size, self.input == "mri"):
            embedded = self._embed(picture)
            each.append(self.detector.judge_each(embedded).cpu())
            hidden.append(embedded.cpu())
        return torch.cat(each), torch.cat(hidden)

    @torch.inference_mode()
    def _compare_with_known(self, known: KnownFaces, faces: Tensor, batch_size: int = 32) -> tuple[Tensor, Tensor]:
        logits, distances = [torch.zeros(0)], [torch.zeros(0)]
        with activations(self.detector.backbone, list(known.layers)) as outputs:
            pictures = self._pictures(faces, batch_size, self.input == "mri")
            for (picture, _), face in zip(pictures, self._faces(faces, batch_size), strict=True):
                logits.append(self.detector.judge(self._embed(picture)).cpu())
                if self.input == "mri":  # most MRIs are black, and do not show the face
                    self._embed(face)
                distances.append(known.distance({name: coarse(outputs.get(name)) for name in known.layers}))
        return torch.cat(logits), torch.cat(distances)

    @property
    def _device(self) -> torch.device:
        return next(self.detector.parameters()).device

    @torch.inference_mode()
    def _faces(self, faces: Tensor, batch_size: int) -> Iterator[Tensor]:
        """The faces as float32 pictures in 0...1, in batches."""
        self.detector.eval()
        for batch in faces.split(self._batch(batch_size)) if len(faces) else []:
            yield batch.to(self._device).float() / 255

    def _batch(self, batch_size: int) -> int:
        return min(batch_size, MAX_CPU_BATCH) if self._device.type == "cpu" else batch_size

    @torch.inference_mode()
    def _run(self, faces: Tensor, batch_size: int, with_mri: bool) -> tuple[Tensor, Tensor | None]:
        logits: list[Tensor] = [torch.zeros(0)]
        mris: list[Tensor] = []
        for picture, predicted in self._pictures(faces, batch_size, with_mri):
            mri = predicted
            if isinstance(self.detector, MapDetector):
                hidden, mri = self._examine(self.detector, picture)
            else:
                hidden = self._embed(picture)
            logits.append(self.detector.judge(hidden).cpu())
            if mri is not None and with_mri:
                mris.append((mri * 255).round().to(torch.uint8).cpu())
        size = self.generator.size if self.generator is not None else self.detector.size
        empty = torch.zeros((0, 3, size, size), dtype=torch.uint8)
        return torch.cat(logits), torch.cat([empty, *mris]) if with_mri else None

    def _pictures(self, faces: Tensor, batch_size: int, with_mri: bool) -> Iterator[tuple[Tensor, Tensor | None]]:
        """The detector's input, and the MRIs if requested, in batches."""
        self.detector.eval()
        device = self._device
        for batch in faces.split(self._batch(batch_size)) if len(faces) else []:
            x = batch.to(device)
            with self._precision(device):
                mri = self._predict_mri(x) if with_mri else None
            yield mri if self.input == "mri" and mri is not None else x.float() / 255, mri

    def _predict_mri(self, faces: Tensor) -> Tensor | None:
        if self.generator is None:
            return None
        predict = predict_as_authors if self.card.mri_input == "authors" else predict_mri
        return predict(self.generator, faces)

    def _embed(self, picture: Tensor) -> Tensor:
        """The detector's hidden layer (N, H) in float32."""
        with self._precision(picture.device):
            return self.detector.embed(picture).float()

    def _examine(self, detector: MapDetector, picture: Tensor) -> tuple[Tensor, Tensor]:
        """The hidden layer (N, H), and the MRI (N, 3, size, size) in 0...1, in float32."""
        with self._precision(picture.device):
            hidden, mri = detector.examine(picture)
        return hidden.float(), detector.mri(mri)

    def _precision(self, device: torch.device) -> torch.autocast:
        return torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bf16")
