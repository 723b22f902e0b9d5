"""Read the fields of a manifest's row (text, numbers, people, words for "empty"), and check the names in them."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable
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
# Texts that pandas reads, and can write, as "no value"
EMPTY = frozenset(
    ("NaN", "nan", "-NaN", "-nan", "NA", "N/A", "n/a", "#N/A", "#NA", "<NA>", "NULL", "null", "None", "NaT")
)
NUMBER = re.compile(r"[+-]?\d+([.,]\d*)?([eE][+-]?\d{1,3})?", re.ASCII)
SEVERAL = re.compile(r"[,|\[&]")  # a name with one of these may be several names
NOBODY = frozenset({"unknown", "unk", "?", "-", "anonymous", "nobody", "no"})
TIES = {"people": ("targets", "donors"), "groups": ("group",), "uploads": ("source", "donor_sources")}
MAX_NAMES = 3  # in a note


def text_of(row: dict[str, Any], key: str, where: str) -> str:
    """A field as text, "" = empty; JSON's 1.0 is "1".

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
        raise CatalogError(f"{key} is {value!r}, which is neither a text nor a number", where=where)
    text = str(value).strip()
    if key not in ("path", "label") and text in EMPTY:
        return ""
    if key != "path" and UNPRINTABLE.search(text):
        what = f"{key} {text[:80]!r} has line breaks or control characters, or is not UTF-8"
        raise CatalogError(what, where=where)
    return text


def label_of(row: dict[str, Any], path: str, where: str) -> str:
    """The label, "real" or "fake"; numbers may have decimals.

    Raises:
        CatalogError: another word.
    """
    text = text_of(row, "label", where).lower()
    number = NUMBER.fullmatch(text) and _number(text)
    label = LABELS.get(str(int(number)) if number in (0, 1) else text)
    if label is None:
        raise CatalogError(
            f"unknown label {str(row['label'])[:80]!r} of {path}",
            where=where,
            fix="labels are real, fake, 0, 1, false and true (1 and true = fake)",
        )
    return label


def people_of(row: dict[str, Any], keys: tuple[str, ...], where: str) -> tuple[str, ...]:
    """The sorted names in some fields; a field is a JSON list, or a text of names joined by ";"."""
    names: list[str] = []
    for key in keys:
        value = row.get(key)
        if value is None or value == "":
            continue
        values = value if isinstance(value, list) else text_of(row, key, where).split(";")
        names += [text_of({key: name}, key, where) for name in values]
    return tuple(sorted({name for name in names if name}))


def same_numbers(clips: list[Clip]) -> tuple[list[Clip], list[str]]:
    """Give people, groups and uploads whose names are equal numbers (1, 1.0, 01) one name.

    Returns:
        The clips, and notes on the renamed.
    """
    notes = []
    for kind, fields in TIES.items():
        numbers: dict[Decimal, list[str]] = defaultdict(list)
        for name in sorted(_all_names(clips, fields), key=lambda name: (len(name), name)):
            if NUMBER.fullmatch(name):
                numbers[_number(name)].append(name)
        equal = [names for names in numbers.values() if len(names) > 1]
        if equal:
            new = {name: names[0] for names in equal for name in names}
            clips = [
                replace(clip, **{field: _renamed(getattr(clip, field), new) for field in fields}) for clip in clips
            ]
            notes.append(f"{kind} whose names are equal numbers are taken as one: {_some(map(' = '.join, equal))}")
    return clips, notes


def notes_on_names(clips: list[Clip]) -> list[str]:
    """Notes on suspicious names: those that look like several names, and words for "unknown"."""
    notes = []
    for kind, fields in TIES.items():
        names = sorted(_all_names(clips, fields))
        several = [repr(name) for name in names if SEVERAL.search(name)]
        if several and kind != "groups":
            notes.append(
                f"{len(several)} {kind} have a name that looks like several names, but is taken as one: "
                f'{_some(several)}; to give several names, join them by ";"'
            )
        for name in (name for name in names if name.lower() in NOBODY):
            count = sum(any(name in _names(getattr(clip, field)) for field in fields) for clip in clips)
            if count > 1:
                notes.append(
                    f"{count} clips have {name!r} among their {kind}, so all of them are in one split; leave it empty "
                    "if it means unknown"
                )
    return notes


def _all_names(clips: list[Clip], fields: tuple[str, ...]) -> set[str]:
    values = {value for field in fields for value in map(attrgetter(field), clips) if value}
    return {name for value in values for name in _names(value)}


def _names(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return value if isinstance(value, tuple) else (value,) if value else ()


def _renamed(value: str | tuple[str, ...], new: dict[str, str]) -> Any:
    if isinstance(value, str):
        return new.get(value, value)
    return tuple(sorted({new.get(name, name) for name in value}))


def _number(text: str) -> Decimal:
    return Decimal(text.replace(",", ".")).normalize()


def _some(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:MAX_NAMES]) + (", ..." if len(names) > MAX_NAMES else "")
