"""The generator and the detectors that MRI-GAN's authors published.

A generator's file is a dict with `generator_state_dict`. A detector's has `model_state_dict`: `encoder.*`, timm's
`tf_efficientnet_b0_ns` with an unused classifier, and `classifier.0`, `classifier.3`. With the generator's file beside
it, the detector is the one of MRIs: it was trained on the output of a G in train mode that was not mapped to 0…1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mrigan.config import FacesConfig
from mrigan.errors import ConfigError, ModelError
from mrigan.models.detector import Detector
from mrigan.models.generator import Generator
from mrigan.models.importers.efficientnet_keys import kind_of_timm
from mrigan.models.importers.imported import Imported, network, read_file, tensors_of
from mrigan.published import ELSEWHERE
from mrigan.text import printable

GENERATOR, DETECTOR = "generator_state_dict", "model_state_dict"
FIX = (
    f"give checkpoints of MRI-GAN's authors: a dict with {GENERATOR} (keys down1...down8, up1...up7, final), "
    f"or with {DETECTOR} (keys encoder., classifier.)"
)
HEAD = {"classifier.0.": "head.0.", "classifier.3.": "head.3."}
SIZES = {"b0": 224, "b7": 600}  # px, of the detector's input
# `frame` and `fraction` of the paper, section 5, by the detector's input
THRESHOLDS = {"face": {"frame": 0.8, "fraction": 0.3}, "mri": {"frame": 0.7, "fraction": 0.3}}


def read_authors(files: Sequence[Path]) -> Imported:
    """See `read_published`; a generator, a detector of faces, or a detector and the generator of its MRIs."""
    contents = [(path, read_file(path)) for path in files]
    generators = [_generator(path, content) for path, content in contents if GENERATOR in content]
    detectors = [_detector(path, content) for path, content in contents if GENERATOR not in content]
    if not files or len(generators) > 1 or len(detectors) > 1:
        raise ConfigError(
            f"{len(detectors)} detectors and {len(generators)} generators",
            where=", ".join(map(str, files)),
            fix="give one detector, one generator, or one of each",
        )
    generator = generators[0] if generators else None
    if not detectors:
        return Imported(files=files, generator=generator)
    kind = "mri" if generator else "face"
    [detector] = detectors
    return Imported(
        files=files,
        networks=detectors,
        generator=generator,
        input=kind,
        mri_input="authors" if generator else "",
        faces=FacesConfig(
            long_side=0, size=generator.size if generator else detector.size, resize="antialiased", max_persons=100
        ),
        thresholds=THRESHOLDS[kind],
        thresholds_source="of the paper (MRI-GAN, section 5)",
        about="DFDC",
        published=ELSEWHERE["authors"],
    )


def _detector(path: Path, content: Mapping[str, Any]) -> Detector:
    what = "the published detector"
    state = tensors_of(content, DETECTOR, path, FIX)
    encoder = {name.removeprefix("encoder."): t for name, t in state.items() if name.startswith("encoder.")}
    kind = kind_of_timm(encoder, path, FIX)
    if kind not in SIZES:
        raise ModelError(f"not {what}: its encoder is EfficientNet-{kind.upper()}", where=path, fix=FIX)
    weights = {f"backbone.{name}": tensor for name, tensor in encoder.items() if not name.startswith("classifier.")}
    for name, tensor in state.items():
        if not name.startswith("encoder."):
            weights[HEAD.get(name[:13], name[:13]) + name[13:]] = tensor
    hidden = len(weights["head.0.bias"]) if "head.0.bias" in weights and weights["head.0.bias"].dim() else 1
    return network(weights, path, what, FIX, backbone=f"tf_efficientnet_{kind}.ns_jft_in1k", size=SIZES[kind],
                   hidden=hidden)  # fmt: skip


def _generator(path: Path, content: Mapping[str, Any]) -> Generator:
    """The generator, in eval mode. Width and depth follow from the weights; the dropout is the authors' 0.5."""
    weights: dict[str, Tensor] = {}
    unknown = []
    for key, tensor in tensors_of(content, GENERATOR, path, FIX).items():
        name = _mrigan_name(key)
        if name is None:
            unknown.append(key)
        else:
            weights[name] = tensor.float()
    downs = sum(name.startswith("down.") for name in weights)
    if unknown or "down.0.conv.weight" not in weights:
        what = f"unknown keys: {printable(', '.join(unknown[:5])):.200}" if unknown else "down1 is missing"
        raise ModelError(f"not the published generator: {what}", where=path, fix=FIX)
    try:
        with torch.device("meta"):  # allocates no memory for weights that the file lacks
            G = Generator(size=2**downs, width=len(weights["down.0.conv.weight"]))
        G.load_state_dict(weights, assign=True)
    except (ConfigError, RuntimeError, TypeError) as error:
        raise ModelError(f"not the published generator: {error}", where=path, fix=FIX) from None
    return G.eval()


def _mrigan_name(key: str) -> str | None:
    """`down1.model.0.weight` → `down.0.conv.weight`; None for a key that the published generator does not have."""
    layer = re.fullmatch(r"(down|up)([1-9]\d?)\.model\.0\.weight", key)
    if layer:
        return f"{layer[1]}.{int(layer[2]) - 1}.conv.weight"
    head = re.fullmatch(r"final\.2\.(weight|bias)", key)
    return f"head.conv.{head[1]}" if head else None
