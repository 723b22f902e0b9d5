"""A verdict with typed fields, for programs; the JSON that it is made from is the contract (docs/verdicts.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

Word = Literal["fake", "real", "undecided"]


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
class Verdict:
    """What a model says of one file.

    Args:
        path: as given. sha256: of the bytes that were judged, None where it cannot be known.
        verdict: `fake`, `real` or `undecided`. reason: why it is undecided, else None.
        probability: of fake, 0…1, for the whole file; a share of cases only where `calibration` is not None.
            None without a face.
        interval: where 95 % of its values lie when the frames are drawn again, None with less than two frames.
        calibration: `temperature`, `platt`, `isotonic`, or None: then `probability` is the mean of the faces' scores.
        fraction: of the faces above the model's threshold, 0…1; None without a face.
        persons, faces: what was looked at. not_analysed: what was not, in sentences.
        json: the whole verdict, as `mrigan detect --json` writes it.
    """

    path: str
    sha256: str | None
    verdict: Word
    reason: str | None
    probability: float | None
    interval: tuple[float, float] | None
    calibration: str | None
    fraction: float | None
    persons: tuple[PersonVerdict, ...] = field(repr=False)
    faces: tuple[FaceScore, ...] = field(repr=False)
    not_analysed: tuple[str, ...] = field(repr=False)
    json: Mapping[str, Any] = field(repr=False)

    @classmethod
    def from_json(cls, v: Mapping[str, Any]) -> Verdict:
        """The verdict that `mrigan detect` wrote as `v`."""
        same = {name: v[name] for name in ("path", "verdict", "reason", "probability", "calibration", "fraction")}
        return cls(
            **same,
            sha256=(v["input"] or {}).get("sha256"),
            interval=_pair(v["interval"]),
            persons=tuple(_taken(PersonVerdict, p, interval=_pair(p["interval"])) for p in v["persons"]),
            faces=tuple(_taken(FaceScore, f, box=tuple(f["box"])) for f in v["faces"]),
            not_analysed=tuple(item["detail"] for item in v["not_analysed"]),
            json=v,
        )

    def to_json(self) -> dict[str, Any]:
        """The JSON values that it was made from."""
        return dict(self.json)


def _pair(values: Any) -> tuple[float, float] | None:
    return None if values is None else (values[0], values[1])


def _taken(kind: Any, data: Mapping[str, Any], **changed: Any) -> Any:
    """A `kind` of the entries that it has fields for; a later version may write more."""
    return kind(**({f.name: data[f.name] for f in fields(kind) if f.name in data} | changed))
