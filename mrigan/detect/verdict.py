"""A verdict: what `mrigan.detect` returns, and what `--json` writes (docs/verdicts.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal

from mrigan.config.model_card import Limits

Word = Literal["fake", "real", "undecided"]
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class FileIdentity:
    """The bytes that were judged; `modified_ns` is the time of the last change.

    `sha256` is None if it cannot be known: the file has changed since, or could not be read.
    """

    bytes: int
    modified_ns: int
    sha256: str | None = None


@dataclass(frozen=True)
class RuleScore:
    """The rule that decided; a video is fake if its score is `threshold` or more, and real if it is below `real_below`,
    or else below the threshold. A score of None = no face."""

    name: str
    threshold: float
    score: float | None = None
    real_below: float | None = None

    @property
    def words(self) -> str:
        """The rule's name as people read it."""
        return self.name.replace("_", " ")


@dataclass(frozen=True)
class AppliedThresholds:
    """The model's thresholds, and the number of faces that this kind of file must show; see `Thresholds`."""

    frame: float
    fraction: float
    min_faces: int


@dataclass(frozen=True)
class Measure:
    """A property of the faces: the median, and the share of faces beyond the model's limit, None without a limit."""

    median: float
    beyond: float | None = None


@dataclass(frozen=True)
class FaceScore:
    """A face that was looked at.

    Args:
        frame: its number, from 0. time: in seconds. person: its number, from 0.
        box: (x0, y0, x1, y1) in px of the frame as displayed. prob: of being fake, 0…1, not calibrated.
    """

    frame: int
    time: float
    person: int
    box: tuple[float, float, float, float]
    prob: float


@dataclass(frozen=True)
class PersonVerdict:
    """The same rule over one person's faces alone; see `Verdict` for the fields.

    Args:
        faces: how many. score: by the rule. first, last: seconds between which the person is seen.
    """

    person: int
    faces: int
    verdict: Word
    reason: str | None
    score: float
    probability: float
    interval: tuple[float, float] | None
    fraction: float
    first: float
    last: float


@dataclass(frozen=True)
class Gap:
    """Something that was not looked at: its kind, such as `damaged_frames`, and a sentence."""

    what: str
    detail: str


@dataclass(frozen=True)
class Verdict:
    """What a model says of one file.

    Args:
        path: as given. input: the bytes that were judged, None if the file is not there.
        verdict: `fake`, `real` or `undecided`. reason: why it is undecided, else None. limit: the limit of the model
            that is the reason, such as `min_side`, else None.
        learned_from: in words, None if the model does not say. warnings: about the model, in sentences.
        probability: of fake, 0…1, for the whole file; a share of cases only where `calibration` is not None.
            None without a face.
        interval: where 95 % of its values lie when the frames are drawn again, None with less than two frames.
        calibration: `temperature`, `platt`, `isotonic`, or None: then `probability` is the mean of the faces' scores.
        fraction: of the faces above the model's threshold, 0…1; None without a face.
        limits, measured: what the model's limits are, and what they were compared with.
        persons, faces: what was looked at. gaps: what was not.
        model: what is said about the model, as JSON values.
    """

    path: str
    input: FileIdentity | None
    verdict: Word
    reason: str | None
    limit: str | None = None
    learned_from: str | None = None
    warnings: tuple[str, ...] = ()
    rule: RuleScore = RuleScore("fraction", 0.5)
    probability: float | None = None
    interval: tuple[float, float] | None = None
    calibration: str | None = None
    fraction: float | None = None
    thresholds: AppliedThresholds = AppliedThresholds(0.5, 0.5, 1)
    limits: Limits = field(default=Limits(), repr=False)
    measured: Mapping[str, Measure] = field(default_factory=dict, repr=False)
    persons: tuple[PersonVerdict, ...] = field(default=(), repr=False)
    faces: tuple[FaceScore, ...] = field(default=(), repr=False)
    gaps: tuple[Gap, ...] = field(default=(), repr=False, metadata={"key": "not_analysed"})
    model: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def sha256(self) -> str | None:
        """Of the bytes that were judged, None where it cannot be known."""
        return None if self.input is None else self.input.sha256

    @property
    def not_analysed(self) -> tuple[str, ...]:
        """What was not looked at, in sentences."""
        return tuple(gap.detail for gap in self.gaps)

    @property
    def json(self) -> dict[str, Any]:
        """`to_json()`."""
        return self.to_json()

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Verdict:
        """The verdict that `mrigan detect` wrote as `data`; an older version lacks fields, a later one has more.

        Raises:
            KeyError, TypeError: it is not a verdict.
        """
        values = {f.name: data[key] for f in fields(cls) if (key := f.metadata.get("key", f.name)) in data}
        kinds = {"input": FileIdentity, "rule": RuleScore, "thresholds": AppliedThresholds, "limits": Limits}
        for name, kind in kinds.items():
            if values.get(name) is not None:
                values[name] = _read(kind, values[name])
        for name, kind in {"persons": PersonVerdict, "faces": FaceScore, "gaps": Gap}.items():
            values[name] = tuple(_read(kind, item) for item in values.get(name, ()))
        values["measured"] = {name: _read(Measure, one) for name, one in values.get("measured", {}).items()}
        return cls(**{name: _tuple(value) for name, value in values.items()})

    def to_json(self) -> dict[str, Any]:
        """The verdict as JSON values, in the order of the fields."""
        values = {f.metadata.get("key", f.name): _plain(getattr(self, f.name)) for f in fields(self)}
        values["limits"] = {name: value for name, value in values["limits"].items() if value is not None}
        return {"schema_version": SCHEMA_VERSION, **values}


def _read(kind: Any, data: Mapping[str, Any]) -> Any:
    """A `kind` of the entries that it has fields for."""
    return kind(**{f.name: _tuple(data[f.name]) for f in fields(kind) if f.name in data})


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    """Dataclasses as dicts and tuples as lists."""
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, Sequence) and not isinstance(value, str) else value
