"""A published detector in Mrigan's terms, before it becomes a model folder; and what its readers share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mrigan.config import FacesConfig, to_dict
from mrigan.errors import ConfigError, ModelError
from mrigan.files import sha256_file
from mrigan.models.bundle import save_bundle
from mrigan.models.detector import Detector
from mrigan.models.ensemble import Ensemble
from mrigan.models.generator import Generator
from mrigan.models.generator_file import save_generator
from mrigan.models.map_detector import make_detector
from mrigan.published import Elsewhere
from mrigan.text import printable
from mrigan.weights import SafetensorsFile, check_values, read_checkpoint

MAX_CHECKPOINT = 2 << 30  # bytes; the largest published one has 0.3 GB
LINEAR = {"weight": "head.3.weight", "bias": "head.3.bias"}  # the last layer of a Detector
NO_THRESHOLD = "none was published: .5"

State = dict[str, Tensor]


@dataclass(frozen=True)
class Imported:
    """A published detector, or a published generator alone.

    Attributes:
        networks: of an ensemble, all of one kind; none if the file is a generator.
        faces: how its faces are found and cut.
        thresholds: `frame` and `fraction`. judging, rules, mri_input: see `ModelCard`.
        about: the data that it learned from. published: where the files come from.
        thresholds_source: where the thresholds come from.
    """

    files: Sequence[Path]
    networks: Sequence[Detector] = ()
    generator: Generator | None = None
    faces: FacesConfig = field(default_factory=FacesConfig)
    thresholds: Mapping[str, float] = field(default_factory=lambda: {"frame": 0.5, "fraction": 0.5})
    thresholds_source: str = NO_THRESHOLD
    judging: Mapping[str, str] = field(default_factory=dict)
    rules: Mapping[str, float] = field(default_factory=dict)
    input: str = "face"
    mri_input: str = ""
    about: str = ""
    published: Elsewhere | None = None

    @property
    def terms(self) -> str:
        """Of the files' use."""
        return self.published.terms if self.published else ""

    @property
    def in_words(self) -> str:
        """What it is, for people."""
        parts = [*self.networks, *([self.generator] if self.generator else [])]
        weights = f"{sum(p.numel() for part in parts for p in part.parameters()):,} weights"
        if not self.networks:
            assert self.generator is not None
            return f"a generator for {self.generator.size} px faces, {weights}"
        first = self.networks[0].settings
        several = f"{len(self.networks)} networks of " if len(self.networks) > 1 else ""
        seen = "MRIs" if self.input == "mri" else "faces"
        return f"{several}{first['backbone']} for {seen} of {first['size']} px, {weights}; terms: {self.terms}"

    def save(self, out: str | Path) -> Path:
        """Write the model folder `out`, or the generator file `out`, whole or not at all."""
        if not self.networks:
            assert self.generator is not None
            save_generator(out, self.generator, {"source": "published checkpoint", "file": self.files[0].name})
            return Path(out)
        detector = self.networks[0] if len(self.networks) == 1 else Ensemble(self.networks)
        return save_bundle(
            out,
            detector,
            self.input,
            self.generator,
            faces=to_dict(self.faces),
            thresholds=dict(self.thresholds),
            judging=dict(self.judging),
            mri_input=self.mri_input,
            doubt={"rules": {name: {"threshold": value} for name, value in self.rules.items()}},
            data={"about": self.about},
            provenance={
                "source": self.published.source if self.published else "",
                "terms": self.terms,
                "imported": [{"file": path.name, "sha256": sha256_file(path)} for path in self.files],
                "thresholds": {"source": self.thresholds_source},
            },
        )


def read_file(path: Path) -> dict[str, Any]:
    """What a published file holds: a dict that `torch.save` wrote, or the tensors of a safetensors file."""
    if path.suffix == ".safetensors":
        with SafetensorsFile(path) as file:
            return dict(file.load())
    return read_checkpoint(path, MAX_CHECKPOINT)


def tensors_of(content: Mapping[str, Any], key: str, path: Path, fix: str) -> State:
    """The state dict under `key`, "" for the content itself, without the prefix that DataParallel adds.

    Raises:
        ModelError: there is none, or a weight is NaN or infinite.
    """
    found = content.get(key) if key else content
    if (
        not isinstance(found, dict)
        or not found
        or not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in found.items())
    ):
        raise ModelError(f"the file has no {key}" if key else "the file is no state dict", where=path, fix=fix)
    check_values(found, path)
    return {name.removeprefix("module."): value for name, value in found.items()}


def one_logit(weight: Tensor, bias: Tensor) -> State:
    """The last layer of real and fake outputs (2, F), (2,) as one that gives the logit of softmax's second output."""
    return {
        LINEAR["weight"]: (weight[1:].double() - weight[:1]).float(),
        LINEAR["bias"]: (bias[1:].double() - bias[:1]).float(),
    }


def network(state: State, path: Path, what: str, fix: str, **settings: Any) -> Detector:
    """The network of `settings` with all of `state`, in eval mode.

    Args:
        what: the file is, in words, for the error.

    Raises:
        ModelError: a tensor is missing, too many, or of another shape.
    """
    try:
        with torch.device("meta"):  # allocates no memory for weights that the file lacks
            made = make_detector(**settings, trained=True)
    except ConfigError as error:
        raise ModelError(f"not {what}: {error.what}", where=path, fix=fix) from None
    own = made.state_dict()
    wrong = [f"{name} is missing" for name in own.keys() - state.keys()]
    wrong += [f"{printable(name):.100} is not known" for name in state.keys() - own.keys()]
    wrong += [f"{name} has the shape {tuple(state[name].shape)}, not {tuple(tensor.shape)}"
              for name, tensor in own.items() if name in state and state[name].shape != tensor.shape]  # fmt: skip
    if wrong:
        more = f" ({len(wrong)} such tensors)" if len(wrong) > 1 else ""
        raise ModelError(f"not {what}: {min(wrong)}{more}", where=path, fix=fix)
    made.load_state_dict({name: state[name].to(tensor.dtype) for name, tensor in own.items()}, assign=True)
    return made.eval()


def only_one(files: Sequence[Path], what: str) -> Path:
    """The file, if it is one.

    Raises:
        ConfigError: none, or several.
    """
    if len(files) != 1:
        raise ConfigError(f"{len(files)} files, and {what} is one", where=", ".join(map(str, files)))
    return files[0]
