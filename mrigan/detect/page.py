"""The report: one plain page that needs nothing else, to be read by a person, also without a network and on paper."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from mrigan.detect.judge import Judged
from mrigan.detect.timeline import clock, timeline
from mrigan.detect.verdict import DOUBTS
from mrigan.errors import InputError
from mrigan.files import sha256_file
from mrigan.video.stills import shown

PICTURE = 192  # px, side of a face on the page
QUALITY = 88  # JPEG, 4:4:4
FACES, FACES_OF_MANY, MANY = 12, 4, 10  # faces shown a file; fewer when there are more than MANY files


def faces_shown(inputs: int) -> int:
    """How many faces a page of so many files shows of each."""
    return FACES if inputs <= MANY else FACES_OF_MANY


def render(judged: Sequence[Judged], skipped: Sequence[str] = (), when: datetime | None = None) -> str:
    """The page as HTML.

    Args:
        judged: of one model.
        skipped: lines on files that were left out.
        when: shown as the time of the analysis.
    """
    environment = Environment(
        loader=PackageLoader("mrigan.detect", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=_percent, number=_number)
    results = [_result(number, one) for number, one in enumerate(judged, 1)]
    counts = {word: sum(r["verdict"] == word for r in results) for word in ("fake", "real", "undecided")}
    return environment.get_template("page.html").render(
        results=results,
        counts=counts,
        skipped=list(skipped),
        model=judged[0].verdict["model"] if judged else None,
        thresholds=judged[0].verdict["thresholds"] if judged else None,
        calibration=judged[0].verdict["calibration"] if judged else None,
        when=(when or datetime.now()).astimezone().strftime("%Y-%m-%d %H:%M %Z"),
    )


def _result(number: int, one: Judged) -> dict[str, Any]:
    v = one.verdict
    end = max((face["time"] for face in v["faces"]), default=0.0)
    person = {(f["frame"], tuple(f["box"])): f["person"] for f in v["faces"]}
    examples = [
        {
            "face": data_uri(e.face),
            "mri": None if e.mri is None else data_uri(e.mri),
            "prob": e.prob,
            "above": e.prob > v["thresholds"]["frame"],
            "frame": e.frame,
            "person": person[e.frame, tuple(round(c, 1) for c in e.box)] + 1,
            "time": clock(next(f["time"] for f in v["faces"] if f["frame"] == e.frame), end),
        }
        for e in one.examples
    ]
    return {
        **v,
        "number": number,
        "name": shown(v["path"]),
        "picture": one.picture,
        "sentence": _sentence(one),
        "above": sum(face["prob"] > v["thresholds"]["frame"] for face in v["faces"]),
        "frames": len({face["frame"] for face in v["faces"]}),
        "timeline": timeline(v),
        "examples": examples,
        "end": clock(end, end),
        "sha256": _sha256(v),
        "forged": [p for p in v["persons"] if p["verdict"] == "fake"],
        "spans": {p["person"]: f"{clock(p['first'], end)}–{clock(p['last'], end)}" for p in v["persons"]},
    }


def _sentence(one: Judged) -> str:
    """The verdict's reason in words."""
    v = one.verdict
    faces, limits = v["faces"], v["thresholds"]
    if v["reason"] == "unreadable":
        return v["not_analysed"][0]["detail"]
    what = "picture" if one.picture else "video"
    if v["reason"] == "no_face":
        return f"No face was found, so there is nothing to judge. That does not make the {what} real."
    if v["reason"] == "too_few_faces":
        found = "Only one face was" if len(faces) == 1 else f"Only {len(faces)} faces were"
        return f"{found} found; a verdict on a video needs {limits['min_faces']}."
    if v["reason"]:
        return f"{DOUBTS[v['reason']][:1].upper()}{DOUBTS[v['reason']][1:]}, so it cannot say."
    above = sum(face["prob"] > limits["frame"] for face in faces)
    if len(faces) == 1:
        side = "above" if above else "not above"
        return f"The face scored {_number(faces[0]['prob'])}, {side} the threshold of {_number(limits['frame'])}."
    return (
        f"{above} of {len(faces)} faces ({_percent(v['fraction'])}) scored above {_number(limits['frame'])}. "
        f"From {_percent(limits['fraction'])} on, the rule says fake."
    )


def data_uri(picture: np.ndarray) -> str:
    """An (H, W, 3) uint8 RGB picture as a JPEG inside a data URI."""
    import cv2

    small = cv2.resize(picture, (PICTURE, PICTURE), interpolation=cv2.INTER_AREA)
    sampling = [
        cv2.IMWRITE_JPEG_QUALITY,
        QUALITY,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ]
    _, data = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), sampling)
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()


def _sha256(verdict: Mapping[str, Any]) -> str:
    """Of the file, so that the page says which bytes it is about; "" where they cannot be read."""
    if verdict["reason"] == "unreadable":
        return ""
    try:
        return sha256_file(verdict["path"])
    except OSError as error:  # gone since
        raise InputError(f"cannot be read any more: {error.strerror}", where=shown(verdict["path"])) from None


def _percent(value: float) -> str:
    """.004 → <1 %, .996 → >99 %: rounding never says none or all."""
    if 0 < value < 0.01:
        return "<1 %"
    if 0.99 < value < 1:
        return ">99 %"
    return f"{100 * value:.0f} %"


def _number(value: float) -> str:
    return f"{value:.2f}"
