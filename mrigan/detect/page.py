"""The report: one plain page that needs nothing else, to be read by a person, also without a network and on paper."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mrigan.detect.decide import rounded_box
from mrigan.detect.inputs import fingerprint
from mrigan.detect.judge import Judged
from mrigan.detect.options import Case
from mrigan.detect.overlay import data_uri, legend, scene_pictures
from mrigan.detect.pictures import Example
from mrigan.detect.timeline import clock, timeline
from mrigan.detect.titles import titles
from mrigan.detect.verdict import Verdict
from mrigan.detect.wording import (
    RULES,
    elsewhere,
    learned,
    limit_rows,
    number,
    percent,
    sentence,
    size,
    validated,
)
from mrigan.evaluation.limits import tolerated
from mrigan.files import shown
from mrigan.text import page_text

PICTURE = 192  # px, side of a face on the page
MAX_FACES, MAX_FACES_OF_MANY, MANY_FILES = 12, 4, 10  # faces shown per file; fewer with more than MANY_FILES
MAX_LISTED_FACES = 600
WORDS = ("fake", "real", "undecided")


def faces_shown(inputs: int) -> int:
    """How many faces a page of so many files shows of each."""
    return MAX_FACES if inputs <= MANY_FILES else MAX_FACES_OF_MANY


def render(
    judged: Sequence[Judged], skipped: Sequence[str] = (), when: datetime | None = None, case: Case | None = None
) -> str:
    """A page of its own on one file or several.

    Args:
        judged: of one model.
        skipped: lines about skipped files.
        when: shown as the time of the analysis. case: what is said of the case.
    """
    names = titles([one.verdict.path for one in judged])
    results = [result(number, one, name=name) for number, (one, name) in enumerate(zip(judged, names, strict=True), 1)]
    return page(results, skipped, when, case=case)


def page(
    results: Sequence[Mapping[str, Any]],
    skipped: Sequence[str] = (),
    when: datetime | None = None,
    *,
    apart: bool = False,
    back: str = "",
    case: Case | None = None,
) -> str:
    """The page on what `result` made; several files get a table that can be sorted, and a section each.

    Args:
        apart: the sections are pages beside this one, at each result's `href`.
        back: where the list of all files is, on such a page.
    """
    first = results[0] if results else None
    style, script = _source("page.css"), _source("sort.js") if len(results) != 1 else ""
    policy = f"default-src 'none'; img-src data:; style-src {_allowed(style)}; "
    policy += f"script-src {_allowed(script)}; " if script else ""
    return (
        _environment()
        .get_template("page.html")
        .render(
            results=results,
            apart=apart,
            back=back,
            case=case or Case(),
            counts={word: sum(r["verdict"] == word for r in results) for word in WORDS},
            skipped=list(skipped),
            model=first and first["model"],
            thresholds=first and first["thresholds"],
            calibration=first and first["calibration"],
            rule=first and first["rule"],
            warnings=list(dict.fromkeys(warning for one in results for warning in one["warnings"])),
            rates=validated(first["model"], first["rule"].name) if first else "",
            rules=RULES,
            when=moment(when or datetime.now()),
            style=style,
            script=script,
            policy=policy + "base-uri 'none'; form-action 'none'",
            legend=legend(),
        )
    )


def result(number: int, one: Judged, href: str = "", name: str = "") -> dict[str, Any]:
    """What the page shows of one file, with its pictures as text.

    Args:
        number: from 1. href: of the file's section, or of its page. name: what it is called (see `titles`).
    """
    v = one.verdict
    end = max((face.time for face in v.faces), default=0.0)
    seen = {(f.frame, f.box): f for f in v.faces}

    def about(e: Example) -> dict[str, Any]:
        face = seen[e.frame, rounded_box(e.box)]
        above = e.prob > v.thresholds.frame
        time = clock(face.time, end)
        return {"prob": e.prob, "above": above, "frame": e.frame, "person": face.person + 1, "time": time}

    pictures = {
        "examples": [
            about(e) | {"face": data_uri(e.face, PICTURE), "mri": None if e.mri is None else data_uri(e.mri, PICTURE)}
            for e in one.examples
        ],
        "scenes": [about(e) | {"pictures": scene_pictures(e)} for e in one.scenes if e.scene is not None],
        "strips": {
            about(strip[0])["person"]: [about(e) | {"face": data_uri(e.face)} for e in strip] for strip in one.strips
        },
    }
    return (
        summary(number, one, href, name)
        | pictures
        | {
            "persons": v.persons,
            "gaps": v.gaps,
            "picture": one.picture,
            "earlier": one.earlier,
            "path": shown(v.path),
            "sentence": sentence(v, one.picture),
            "limits": [asdict(row) for row in limit_rows(v, one.picture)],
            "tolerated": tolerated(v.limits),
            "elsewhere": elsewhere(v),
            "frames": len({face.frame for face in v.faces}),
            "timeline": timeline(v),
            "unit": "" if end >= 60 else " s",
            "listed": _listed(v, end),
            "unlisted": max(len(v.faces) - MAX_LISTED_FACES, 0),
            "identity": _identity(v),
            "forged": [p for p in v.persons if p.verdict == "fake"],
        }
    )


def summary(number: int, one: Judged, href: str = "", name: str = "") -> dict[str, Any]:
    """What the table of many files shows of one, and what `page` needs of the first."""
    v = one.verdict
    same = ("verdict", "reason", "fraction", "probability", "interval", "calibration", "thresholds", "model", "rule")
    shared = {key: getattr(v, key) for key in same} | {"warnings": list(v.warnings), "learned": learned(v)}
    return shared | {
        "number": number,
        "name": name or titles([v.path])[0],
        "faces": len(v.faces),
        "href": href or f"#file-{number}",
    }


def moment(when: datetime) -> str:
    """To the minute, with its time zone."""
    return when.astimezone().strftime("%Y-%m-%d %H:%M %Z")


def _listed(v: Verdict, end: float) -> list[tuple[int, list[dict[str, Any]]]]:
    """By person, from 1: the numbers of the first `MAX_LISTED_FACES` faces."""
    by_person: dict[int, list[dict[str, Any]]] = {}
    for face in v.faces[:MAX_LISTED_FACES]:
        above = face.prob > v.thresholds.frame
        entry = {"time": clock(face.time, end), "frame": face.frame, "prob": face.prob, "above": above}
        by_person.setdefault(face.person + 1, []).append(entry)
    return sorted(by_person.items())


def _identity(v: Verdict) -> dict[str, str]:
    """Which bytes the verdict is about: `size`, `modified` and `sha256`, or `unknown`: why the hash is not told."""
    known = v.input
    if known is None:
        return {"unknown": "the file is not there"}
    about = {"size": size(known.bytes), "modified": moment(datetime.fromtimestamp(known.modified_ns / 1e9))}
    now = fingerprint(v.path)
    changed = now != replace(known, sha256=None)
    since = {"since": "the file has changed, or gone, since it was judged"} if changed else {}
    if known.sha256:
        return about | {"sha256": known.sha256} | since
    if changed:
        return about | {"unknown": since["since"]}
    if not os.path.isfile(v.path):
        return about | {"unknown": "it is not a regular file"}
    return about | {"unknown": "it could not be read"}


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("mrigan.detect", "."),
        autoescape=True,
        finalize=page_text,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, number=number)
    return environment


@cache
def _source(name: str) -> Markup:
    return Markup(files("mrigan.detect").joinpath(name).read_text())


def _allowed(text: str) -> str:
    """A source of a Content-Security-Policy that is this very text and nothing else."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
