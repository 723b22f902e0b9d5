"""How far a face lies from those that a detector knows: Mahalanobis distance in its last hidden layer.

Lee et al. (2018), with one Gaussian for both classes: what matters is whether the detector has seen such pictures,
not which side they are on.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mrigan.weights import SafetensorsFile


@dataclass(frozen=True)
class Familiarity:
    """Where known faces lie.

    Attributes:
        mean: (H,) float32. whitening: (H, H) float32; (x - mean) @ whitening has unit covariance over known faces.
    """

    mean: Tensor
    whitening: Tensor

    def distance(self, hidden: Tensor) -> Tensor:
        """(N,) float64 distances of (N, H) activations; about 1 for known faces."""
        z = (hidden.double().cpu() - self.mean.double()) @ self.whitening.double()
        return z.square().mean(1).sqrt()

    def tensors(self) -> dict[str, Tensor]:
        """As a safetensors file keeps it."""
        return {"mean": self.mean.contiguous(), "whitening": self.whitening.contiguous()}

    @classmethod
    def from_file(cls, file: SafetensorsFile, hidden: int, sha256: str = "") -> Familiarity:
        """The inverse of `tensors`, for a detector with so many hidden units.

        Raises:
            ModelError: the file is of another detector, is not the one of `sha256`, or is damaged.
        """
        file.check(
            {"mean": torch.empty(hidden, device="meta"), "whitening": torch.empty(hidden, hidden, device="meta")}
        )
        return cls(**file.load(sha256))


def fit_familiarity(hidden: Tensor) -> Familiarity:
    """Fit to (N, H) activations, N of 2 or more; the covariance is shrunk as Ledoit and Wolf (2004) do."""
    from sklearn.covariance import LedoitWolf

    fitted = LedoitWolf().fit(hidden.double().cpu().numpy())
    covariance = torch.from_numpy(fitted.covariance_)
    values, vectors = torch.linalg.eigh(covariance)
    floor = max(float(values.max()) * 1e-6, 1e-12)  # a direction in which nothing varies is not infinitely strange
    whitening = vectors / values.clamp(min=floor).sqrt()
    return Familiarity(torch.from_numpy(fitted.location_).float(), whitening.float())
