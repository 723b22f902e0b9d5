"""The distance of a face from the held-out faces: Mahalanobis distance in the detector's last hidden layer.

Lee et al. (2018), but with one Gaussian for both classes, because the question is whether the detector has seen such
pictures, not which class they belong to.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mrigan.weights import SafetensorsFile


@dataclass(frozen=True)
class Familiarity:
    """The distribution of the held-out faces.

    Attributes:
        mean: (H,) float32. whitening: (H, H) float32; (x - mean) @ whitening has unit covariance over these faces.
    """

    mean: Tensor
    whitening: Tensor

    def distance(self, hidden: Tensor) -> Tensor:
        """(N,) float64 distances of (N, H) activations; about 1 for the held-out faces."""
        z = (hidden.double().cpu() - self.mean.double()) @ self.whitening.double()
        return z.square().mean(1).sqrt()

    def tensors(self) -> dict[str, Tensor]:
        """The tensors for a safetensors file."""
        return {"mean": self.mean.contiguous(), "whitening": self.whitening.contiguous()}

    @classmethod
    def from_file(cls, file: SafetensorsFile, hidden: int, sha256: str = "") -> Familiarity:
        """The inverse of `tensors`, for a detector with `hidden` units.

        Raises:
            ModelError: the file belongs to another detector, has another `sha256`, or is damaged.
        """
        file.check(
            {"mean": torch.empty(hidden, device="meta"), "whitening": torch.empty(hidden, hidden, device="meta")}
        )
        return cls(**file.load(sha256))


def fit_familiarity(hidden: Tensor) -> Familiarity:
    """Fit to (N, H) activations, N at least 2, with the covariance of Ledoit and Wolf (2004)."""
    from sklearn.covariance import LedoitWolf

    fitted = LedoitWolf().fit(hidden.double().cpu().numpy())
    covariance = torch.from_numpy(fitted.covariance_)
    values, vectors = torch.linalg.eigh(covariance)
    floor = max(float(values.max()) * 1e-6, 1e-12)  # no infinite distance in directions without variance
    whitening = vectors / values.clamp(min=floor).sqrt()
    return Familiarity(torch.from_numpy(fitted.location_).float(), whitening.float())
