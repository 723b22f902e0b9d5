"""The stills that are given, and who is on them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mrigan.errors import InputError
from mrigan.files import text_encoding
from mrigan.text import printable
from mrigan.video.stills import PICTURE_SUFFIXES

PEOPLE = "people.csv"
COLUMNS = "a CSV file with the columns file and person, and if you like licence; files are relative to its folder"


@dataclass(frozen=True)
class Still:
    """A picture; "" if the person or the licence is not known."""

    path: Path
    name: str
    person: str = ""
    licence: str = ""


def find_stills(given: Sequence[Path], people: Path | None = None) -> list[Still]:
    """The pictures that are given, and those of the folders that are given, by name.

    Args:
        people: a CSV file with the columns file, person and perhaps licence. By default the `PEOPLE` of each folder.

    Raises:
        InputError: a path that is not there, no picture, or a broken list of people.
    """
    known: dict[Path, tuple[str, str]] = {}
    found: dict[Path, Still] = {}
    for path in given:
        if not path.exists():
            raise InputError("no such file or folder", where=path)
        folder = path if path.is_dir() else path.parent
        if people is None and (folder / PEOPLE).is_file():
            known |= _read_people(folder / PEOPLE)
        inside = sorted(path.iterdir()) if path.is_dir() else [path]
        for picture in inside:
            if picture is path or (picture.suffix.lower() in PICTURE_SUFFIXES and not picture.name.startswith(".")):
                found[picture.resolve()] = Still(picture, printable(picture.name))
    if people is not None:
        known |= _read_people(people)
    if not found:
        raise InputError("there is no picture", where=", ".join(map(str, given)), fix="give pictures or their folders")
    stills = [Still(one.path, one.name, *known.get(real, ())) for real, one in found.items()]
    return sorted(stills, key=lambda still: (still.name, still.path))


def _read_people(path: Path) -> dict[Path, tuple[str, str]]:
    """The person and the licence of each picture that a list names."""
    try:
        with open(path, "rb") as file:
            encoding = text_encoding(file.read(4))
        with open(path, encoding=encoding, newline="") as text:
            reader = csv.DictReader(text)
            missing = {"file", "person"} - set(reader.fieldnames or ())
            if missing:
                raise InputError(f"no column {' and '.join(sorted(missing))}", where=path, fix=COLUMNS)
            return {
                (path.parent / (row["file"] or "").strip()).resolve(): (
                    printable((row["person"] or "").strip()), printable((row.get("licence") or "").strip())
                )
                for row in reader
            }  # fmt: skip
    except (OSError, UnicodeError, csv.Error) as error:
        raise InputError(f"cannot be read: {error}", where=path, fix=COLUMNS) from None
