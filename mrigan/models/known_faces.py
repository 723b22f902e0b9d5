"""The distance of a face from the training faces, for models with too few held-out families to compare with those.

For each place of a face (a cell of a coarse grid), find the nearest training face by the angle between their
activations in the backbone's middle layers. The distance of a face is the mean over its places. So a face is near if
each of its parts looks like the same part of some training face: nearest neighbours of patches (Roth et al., PatchCore,
2022) at a fixed place (Defard et al., PaDiM, 2021). Each layer is compared twice, plain and with whitened channels,
because a few large channels would otherwise hide the others.

The unit comes from the training families: each is left out in turn and compared with the rest. A distance of 1 is that
of the family that is furthest from all others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mrigan.errors import ModelError
from mrigan.weights import SafetensorsFile

MAX_GRID = 8  # places along a side
LAYERS = 2  # of the backbone
MAX_STRIDE = 16  # px of the input per place of the last layer
SHRINKAGE = 0.1  # of the channels' covariance towards a multiple of the identity
MIN_FAMILIES = 3
PARTS = ("maps", "mean", "whitening", "scale")  # of a layer in the file
UNIT = "unit"
MAX_FACES = 4096  # in a file; trainings store 256


@dataclass(frozen=True)
class Layer:
    """The training faces in one layer.

    Attributes:
        maps: (N, C, h, w) float16 activations. mean: (C,), whitening: (C, C) float32, of the channels.
        scale: (2,) the mean distance of left-out families, plain and whitened.
    """

    maps: Tensor
    mean: Tensor
    whitening: Tensor
    scale: Tensor

    def views(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """(P, N, C) unit vectors for the P places of (N, C, h, w) maps: plain, and whitened."""
        x = maps.float().flatten(2).permute(2, 0, 1)
        return F.normalize(x, dim=2), F.normalize((x - self.mean) @ self.whitening, dim=2)


class KnownFaces:
    """The training faces, as activations of a detector's backbone.

    Args:
        layers: by the name of the backbone's module. unit: see `Layer.scale`; the distance that counts as 1.
    """

    def __init__(self, layers: dict[str, Layer], unit: float) -> None:
        self.layers, self.unit = layers, unit
        self._views = {name: layer.views(layer.maps) for name, layer in layers.items()}

    def distance(self, maps: dict[str, Tensor]) -> Tensor:
        """(N,) float32 distances of faces on the CPU, from their `Bundle.maps_of`; the module explains the unit."""
        total, parts = torch.zeros(len(next(iter(maps.values())))), 0
        for name, layer in self.layers.items():
            if maps[name].shape[1:] != layer.maps.shape[1:]:
                raise ModelError(f"the known faces of the model do not belong to its layer {name}",
                                 fix="give an unchanged model folder of a training")  # fmt: skip
            for k, (stored, new) in enumerate(zip(self._views[name], layer.views(maps[name].cpu()), strict=True)):
                total += _gaps(new, stored).amin(2).mean(0) / layer.scale[k]
                parts += 1
        return total / parts / self.unit

    def tensors(self) -> dict[str, Tensor]:
        """The tensors for a safetensors file."""
        kept = {f"{name}/{part}": getattr(layer, part) for name, layer in self.layers.items() for part in PARTS}
        return {name: tensor.contiguous() for name, tensor in kept.items()} | {UNIT: torch.tensor(self.unit)}

    @classmethod
    def from_file(cls, file: SafetensorsFile, backbone: nn.Module, sha256: str = "") -> KnownFaces:
        """The inverse of `tensors`.

        Raises:
            ModelError: they are incomplete, have impossible shapes, or belong to layers that the backbone does not
            have;
                or the file has another `sha256`, or is damaged.
        """
        names = sorted({name.rpartition("/")[0] for name in file.tensors if name != UNIT})
        expected = {UNIT: torch.empty((), device="meta")}
        try:
            for name in names:
                backbone.get_submodule(name)
                shape = file.tensors[f"{name}/maps"].shape
                n, c, h, w = shape if len(shape) == 4 else (0, 0, 0, 0)
                if not (1 <= n <= MAX_FACES and 1 <= h == w <= MAX_GRID and c):
                    raise ValueError(f"{name} has maps of {' × '.join(map(str, shape))}")
                shapes = zip(PARTS, ((n, c, h, w), (c,), (c, c), (2,)), strict=True)
                expected |= {f"{name}/{part}": torch.empty(shape, device="meta", dtype=_dtype(part))
                             for part, shape in shapes}  # fmt: skip
            if not names:
                raise ValueError("the file has none")
            file.check(expected)
            tensors = file.load(sha256)
            layers = {name: Layer(**{part: tensors[f"{name}/{part}"] for part in PARTS}) for name in names}
            if min(float(tensors[UNIT]), *(float(layer.scale.min()) for layer in layers.values())) <= 0:
                raise ValueError("a unit or scale is not above 0")
        except (KeyError, ValueError, AttributeError, ModelError) as error:
            reason = error.what if isinstance(error, ModelError) else error
            raise ModelError(f"the known faces of the model cannot be used: {reason}", where=file.path) from None
        return cls(layers, float(tensors[UNIT]))


def _dtype(part: str) -> torch.dtype:
    return torch.float16 if part == "maps" else torch.float32


def layers_of(backbone: nn.Module, picture: Tensor) -> list[str]:
    """The last two stages of a backbone with a stride of at most 16 px; [] if there are none.

    Args:
        picture: (1, 3, S, S), an input of the backbone.
    """
    sides: dict[str, int] = {}
    stages = [(name, module) for name, module in backbone.named_children() if isinstance(module, nn.Sequential)]
    for holder in ("blocks", "stages", "layers"):
        if isinstance(getattr(backbone, holder, None), nn.Sequential | nn.ModuleList):
            stages = [(f"{holder}.{name}", module) for name, module in getattr(backbone, holder).named_children()]
    with activations(backbone, [name for name, _ in stages]) as outputs, torch.inference_mode():
        backbone(picture)
        sides = {name: outputs[name].shape[2] for name, _ in stages if name in outputs and outputs[name].ndim == 4}
    min_side = max(2, picture.shape[-1] // MAX_STRIDE)
    return [name for name, side in sides.items() if side >= min_side][-LAYERS:]


@contextmanager
def activations(backbone: nn.Module, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The outputs of the named modules; every forward pass within the context updates them."""
    outputs: dict[str, Any] = {}

    def keep(name: str) -> Any:
        return lambda module, inputs, output: outputs.__setitem__(name, output)

    handles = [backbone.get_submodule(name).register_forward_hook(keep(name)) for name in names]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def coarse(maps: Any) -> Tensor:
    """Maps averaged to (N, C, h, w) float32, h and w at most 8.

    Raises:
        ModelError: the layer's output is not (N, C, h, w).
    """
    if not isinstance(maps, Tensor) or maps.ndim != 4:
        raise ModelError("a layer of the known faces has no maps", fix="give an unchanged model folder of a training")
    side = min(MAX_GRID, maps.shape[2])
    return F.adaptive_avg_pool2d(maps.float(), (side, side))


def fit_known_faces(maps: dict[str, Tensor], families: Tensor) -> KnownFaces | None:
    """Store training faces, and compute the unit by leaving out each family in turn.

    Args:
        maps: per layer, (N, C, h, w) of `coarse`. families: (N,) the family of each face, 0, 1, …

    Returns:
        None for fewer than three families, whose distances are no basis for a unit.
    """
    if len(families.unique()) < MIN_FAMILIES:
        return None
    layers, left_out = {}, []
    for name, activation in maps.items():
        stored = activation.half()
        mean, whitening = _whitening(stored.float())
        layer = Layer(stored, mean, whitening, torch.ones(2))
        distances = torch.stack([_left_out(view, families) for view in layer.views(stored)])  # (2, families)
        layers[name] = Layer(stored, mean, whitening, distances.mean(1).clamp(min=1e-6))
        left_out.append(distances / layers[name].scale[:, None])
    unit = float(torch.cat(left_out).mean(0).max())
    return KnownFaces(layers, max(unit, 1e-6))


def _left_out(view: Tensor, families: Tensor) -> Tensor:
    """(families,) the median distance of each family's faces from all other families; `view` is (P, N, C)."""
    gaps = _gaps(view, view)  # (P, N, N)
    medians = []
    for family in families.unique():
        own = families == family
        medians.append(gaps[:, own][:, :, ~own].amin(2).mean(0).median())
    return torch.stack(medians)


def _gaps(new: Tensor, stored: Tensor) -> Tensor:
    """(P, N, M) one minus the cosine of (P, N, C) and (P, M, C) unit vectors, for each place."""
    return 1 - torch.bmm(new, stored.transpose(1, 2))


def _whitening(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (C,) and whitening (C, C) of the channels over all faces and places."""
    x = maps.flatten(2).permute(0, 2, 1).reshape(-1, maps.shape[1]).double()
    covariance = torch.cov(x.T).reshape(x.shape[1], x.shape[1])
    sphere = torch.eye(len(covariance), dtype=torch.float64) * covariance.trace() / len(covariance)
    values, vectors = torch.linalg.eigh((1 - SHRINKAGE) * covariance + SHRINKAGE * sphere)
    return x.mean(0).float(), ((vectors / values.clamp(min=1e-12).sqrt()) @ vectors.T).float()
