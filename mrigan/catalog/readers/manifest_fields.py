"""The fields of a manifest's row as text: empty words, numbers, people, and what a person should be told of them."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from dataclasses import replace
from decimal import Decimal
from operator import attrgetter
from typing import Any

from mrigan.catalog.clips import Clip
from mrigan.catalog.readers.common import UNPRINTABLE
from mrigan.errors import CatalogError

LABELS = {"real": "real", "0": "real", "false": "real", "fake": "fake", "1": "fake", "true": "fake"}
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "validation", "valid"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
# What pandas reads as "no value", and writes where it is told to
EMPTY = frozenset(
    ("NaN", "nan", "-NaN", "-nan", "NA", "N/A", "n/a", "#N/A", "#NA", "<NA>", "NULL", "null", "None", "NaT")
)
NUMBER = re.compile(r"[+-]?\d+([.,]\d*)?([eE][+-]?\d{1,3})?", re.ASCII)
SEVERAL = re.compile(r"[,|\[&]")  # in a name: perhaps several people
NOBODY = frozenset({"unknown", "unk", "?", "-", "anonymous", "nobody", "no"})
TIES = {"people": ("targets", "donors"), "groups": ("group",), "uploads": ("source", "donor_sources")}
SHOWN = 3


def text_of(row: dict[str, Any], key: str, where: str) -> str:
    """A field as text, "" where it is empty; 1.0 of JSON is "1".

    Raises:
        CatalogError: a list, an object, a boolean, an infinite number, or control characters.
    """
    value = row.get(key)
    if value is None or value == "":  # most fields of most rows
        return ""
    if isinstance(value, float):
        if math.isnan(value):
            return ""
        value = int(value) if value.is_integer() else value
    if isinstance(value, bool) and key == "label":
        return str(value)
    if isinstance(value, bool | list | dict | tuple) or value in (math.inf, -math.inf):
        raise CatalogError(f"{key} is {value!r}, not a text or a number", where=where)
    text = str(value).strip()
    if key not in ("path", "label") and text in EMPTY:
        return ""
    if key != "path" and UNPRINTABLE.search(text):
        raise CatalogError(f"{key} {text[:80]!r} has line breaks, control characters or no UTF-8", where=where)
    return text


def label_of(row: dict[str, Any], path: str, where: str) -> str:
    """ "real" or "fake"; numbers may have decimals.

    Raises:
        CatalogError: another word.
    """
    text = text_of(row, "label", where).lower()
    number = NUMBER.fullmatch(text) and _number(text)
    label = LABELS.get(str(int(number)) if number in (0, 1) else text)
    if label is None:
        raise CatalogError(
            f"label {str(row['label'])[:80]!r} of {path}",
            where=where,
            fix="labels are real, fake, 0, 1, false and true (1 and true = fake)",
        )
    return label


def people_of(row: dict[str, Any], keys: tuple[str, ...], where: str) -> tuple[str, ...]:
    """The names in some fields, sorted: a list of JSON, or joined by ";"."""
    names: list[str] = []
    for key in keys:
        value = row.get(key)
        if value is None or value == "":
            continue
        many = value if isinstance(value, list) else text_of(row, key, where).split(";")
        names += [text_of({key: name}, key, where) for name in many]
    return tuple(sorted({name for name in names if name}))


def same_numbers(clips: list[Clip]) -> tuple[list[Clip], list[str]]:
    """The clips with people, groups and uploads that are equal numbers (1, 1.0, 01) called alike; and notes on them."""
    notes = []
    for kind, fields in TIES.items():
        names = _all_names(clips, fields)
        equal: dict[Decimal, list[str]] = defaultdict(list)
        for name in sorted(names, key=lambda name: (len(name), name)):
            if NUMBER.fullmatch(name):
                equal[_number(name)].append(name)
        called = {name: alike[0] for alike in equal.values() if len(alike) > 1 for name in alike}
        if called:
            clips = [
                replace(clip, **{field: _renamed(getattr(clip, field), called) for field in fields}) for clip in clips
            ]
            shown = [" = ".join(alike) for alike in equal.values() if len(alike) > 1]
            notes.append(f"{kind} whose names are equal numbers are taken as one: {_some(shown)}")
    return clips, notes


def notes_on_names(clips: list[Clip]) -> list[str]:
    """What is perhaps not meant: names that look like several, words that stand for nobody."""
    notes = []
    for kind, fields in TIES.items():
        names = sorted(_all_names(clips, fields))
        several = [repr(name) for name in names if SEVERAL.search(name)]
        if several and kind != "groups":
            notes.append(
                f"{len(several)} {kind} have a name that may be several, and is taken as one: {_some(several)}; "
                'several are joined by ";"'
            )
        for name in (name for name in names if name.lower() in NOBODY):
            count = sum(any(name in _names(getattr(clip, field)) for field in fields) for clip in clips)
            if count > 1:
                notes.append(
                    f"{count} clips share {name!r} among their {kind}, and so lie on one side; leave it empty where it "
                    "stands for nobody"
                )
    return notes


def _all_names(clips: list[Clip], fields: tuple[str, ...]) -> set[str]:
    values = {value for field in fields for value in map(attrgetter(field), clips) if value}
    return {name for value in values for name in _names(value)}


def _names(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return value if isinstance(value, tuple) else (value,) if value else ()


def _renamed(value: str | tuple[str, ...], called: dict[str, str]) -> Any:
    if isinstance(value, str):
        return called.get(value, value)
    return tuple(sorted({called.get(name, name) for name in value}))


def _number(text: str) -> Decimal:
    return Decimal(text.replace(",", ".")).normalize()


def _some(shown: list[str]) -> str:
    return ", ".join(shown[:SHOWN]) + (", ..." if len(shown) > SHOWN else "")
