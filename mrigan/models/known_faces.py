"""How far a face lies from the training faces themselves, where too few families were held out to tell it from those.

At each place of a face (a cell of a coarse grid) the nearest training face is looked for, by the angle between their
activations in the backbone's middle layers; the distance of a face is the mean over its places. So a face is known when
each of its parts, at its place, looks like that part of some training face: nearest neighbours of patches (Roth et al.,
PatchCore, 2022) that keep their place (Defard et al., PaDiM, 2021). Each layer is compared twice, as it is and with its
channels whitened, since a few loud channels would else hide the others.

The unit is what the training families say of each other: leave one out, and measure it by the rest. A distance of 1 is
that of the family that lies furthest from all others.
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

GRID = 8  # places along a side, at most
LAYERS = 2  # of the backbone
STRIDE = 16  # px of the input that a place of the last of them spans, at most
SHRINKAGE = 0.1  # of the channels' covariance towards a sphere
MIN_FAMILIES = 3
PARTS = ("maps", "mean", "whitening", "scale")  # of a layer in the file
UNIT = "unit"
MAX_FACES = 4096  # remembered; trainings keep 256


@dataclass(frozen=True)
class Layer:
    """One layer of the known faces.

    Attributes:
        maps: (N, C, h, w) float16 activations of the training faces. mean: (C,), whitening: (C, C) float32 of channels.
        scale: (2,) what a left-out family's distance is on average, plain and whitened.
    """

    maps: Tensor
    mean: Tensor
    whitening: Tensor
    scale: Tensor

    def views(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """(P, N, C) unit vectors of the places of (N, C, h, w) maps: plain, and whitened."""
        x = maps.float().flatten(2).permute(2, 0, 1)
        return F.normalize(x, dim=2), F.normalize((x - self.mean) @ self.whitening, dim=2)


class KnownFaces:
    """The training faces, as a detector's backbone sees them. `distance` takes what `maps_of` gives.

    Args:
        layers: by the name of the backbone's module. unit: see `Layer.scale`; the distance that counts as 1.
    """

    def __init__(self, layers: dict[str, Layer], unit: float) -> None:
        self.layers, self.unit = layers, unit
        self._views = {name: layer.views(layer.maps) for name, layer in layers.items()}

    def distance(self, maps: dict[str, Tensor]) -> Tensor:
        """(N,) float32 distances of faces with these maps, on the CPU; 1 = the training family furthest from others."""
        total, parts = torch.zeros(len(next(iter(maps.values())))), 0
        for name, layer in self.layers.items():
            if maps[name].shape[1:] != layer.maps.shape[1:]:
                raise ModelError(f"the known faces of the model are not of its layer {name}",
                                 fix="give a model folder as a training wrote it")  # fmt: skip
            for k, (known, seen) in enumerate(zip(self._views[name], layer.views(maps[name].cpu()), strict=True)):
                total += _gaps(seen, known).amin(2).mean(0) / layer.scale[k]
                parts += 1
        return total / parts / self.unit

    def tensors(self) -> dict[str, Tensor]:
        """As a safetensors file keeps it."""
        kept = {f"{name}/{part}": getattr(layer, part) for name, layer in self.layers.items() for part in PARTS}
        return {name: tensor.contiguous() for name, tensor in kept.items()} | {UNIT: torch.tensor(self.unit)}

    @classmethod
    def from_file(cls, file: SafetensorsFile, backbone: nn.Module, sha256: str = "") -> KnownFaces:
        """The inverse of `tensors`.

        Raises:
            ModelError: they are incomplete, of impossible shapes, or of layers that the backbone does not have; the
                file is not the one of `sha256`, or is damaged.
        """
        names = sorted({name.rpartition("/")[0] for name in file.tensors if name != UNIT})
        expected = {UNIT: torch.empty((), device="meta")}
        try:
            for name in names:
                backbone.get_submodule(name)
                shape = file.tensors[f"{name}/maps"].shape
                n, c, h, w = shape if len(shape) == 4 else (0, 0, 0, 0)
                if not (1 <= n <= MAX_FACES and 1 <= h == w <= GRID and c):
                    raise ValueError(f"{name} has maps of {' × '.join(map(str, shape))}")
                shapes = zip(PARTS, ((n, c, h, w), (c,), (c, c), (2,)), strict=True)
                expected |= {f"{name}/{part}": torch.empty(shape, device="meta", dtype=_dtype(part))
                             for part, shape in shapes}  # fmt: skip
            if not names:
                raise ValueError("there are none")
            file.check(expected)
            tensors = file.load(sha256)
            layers = {name: Layer(**{part: tensors[f"{name}/{part}"] for part in PARTS}) for name in names}
            if min(float(tensors[UNIT]), *(float(layer.scale.min()) for layer in layers.values())) <= 0:
                raise ValueError("a unit or scale is not above 0")
        except (KeyError, ValueError, AttributeError, ModelError) as error:
            said = error.what if isinstance(error, ModelError) else error
            raise ModelError(f"the known faces of the model cannot be used: {said}", where=file.path) from None
        return cls(layers, float(tensors[UNIT]))


def _dtype(part: str) -> torch.dtype:
    return torch.float16 if part == "maps" else torch.float32


def layers_of(backbone: nn.Module, picture: Tensor) -> list[str]:
    """The last two stages of a backbone that keep one place for every 16 px or fewer; empty where it has no such.

    Args:
        picture: (1, 3, S, S), as the backbone takes it.
    """
    sides: dict[str, int] = {}
    stages = [(name, module) for name, module in backbone.named_children() if isinstance(module, nn.Sequential)]
    for holder in ("blocks", "stages", "layers"):
        if isinstance(getattr(backbone, holder, None), nn.Sequential | nn.ModuleList):
            stages = [(f"{holder}.{name}", module) for name, module in getattr(backbone, holder).named_children()]
    with activations(backbone, [name for name, _ in stages]) as seen, torch.inference_mode():
        backbone(picture)
        sides = {name: seen[name].shape[2] for name, _ in stages if name in seen and seen[name].ndim == 4}
    least = max(2, picture.shape[-1] // STRIDE)
    return [name for name, side in sides.items() if side >= least][-LAYERS:]


@contextmanager
def activations(backbone: nn.Module, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """What the named modules give while the block lasts: filled anew by every pass of the backbone."""
    seen: dict[str, Any] = {}

    def keep(name: str) -> Any:
        return lambda module, inputs, output: seen.__setitem__(name, output)

    handles = [backbone.get_submodule(name).register_forward_hook(keep(name)) for name in names]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def coarse(maps: Any) -> Tensor:
    """(N, C, h, w) float32 with h and w of 8 at most.

    Raises:
        ModelError: what a layer gives are no such maps.
    """
    if not isinstance(maps, Tensor) or maps.ndim != 4:
        raise ModelError("a layer of the known faces gives no maps", fix="give a model folder as a training wrote it")
    side = min(GRID, maps.shape[2])
    return F.adaptive_avg_pool2d(maps.float(), (side, side))


def fit_known_faces(maps: dict[str, Tensor], families: Tensor) -> KnownFaces | None:
    """Remember training faces, and set the unit by leaving each family out in turn.

    Args:
        maps: by layer, (N, C, h, w) as `coarse` gives. families: (N,) the family of each, 0, 1, …

    Returns:
        None with fewer than three families: how far they lie apart is then not known.
    """
    if len(families.unique()) < MIN_FAMILIES:
        return None
    layers, left_out = {}, []
    for name, kept in maps.items():
        stored = kept.half()
        mean, whitening = _whitening(stored.float())
        layer = Layer(stored, mean, whitening, torch.ones(2))
        distances = torch.stack([_left_out(view, families) for view in layer.views(stored)])  # (2, families)
        layers[name] = Layer(stored, mean, whitening, distances.mean(1).clamp(min=1e-6))
        left_out.append(distances / layers[name].scale[:, None])
    unit = float(torch.cat(left_out).mean(0).max())
    return KnownFaces(layers, max(unit, 1e-6))


def _left_out(view: Tensor, families: Tensor) -> Tensor:
    """(families,) the median distance of each family's faces from all other families; `view` (P, N, C)."""
    gaps = _gaps(view, view)  # (P, N, N)
    found = []
    for family in families.unique():
        own = families == family
        found.append(gaps[:, own][:, :, ~own].amin(2).mean(0).median())
    return torch.stack(found)


def _gaps(seen: Tensor, known: Tensor) -> Tensor:
    """(P, N, M) one minus the cosine, place by place, of (P, N, C) and (P, M, C) unit vectors."""
    return 1 - torch.bmm(seen, known.transpose(1, 2))


def _whitening(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (C,) and whitening (C, C) of the channels over all faces and places."""
    x = maps.flatten(2).permute(0, 2, 1).reshape(-1, maps.shape[1]).double()
    covariance = torch.cov(x.T).reshape(x.shape[1], x.shape[1])
    sphere = torch.eye(len(covariance), dtype=torch.float64) * covariance.trace() / len(covariance)
    values, vectors = torch.linalg.eigh((1 - SHRINKAGE) * covariance + SHRINKAGE * sphere)
    return x.mean(0).float(), ((vectors / values.clamp(min=1e-12).sqrt()) @ vectors.T).float()
