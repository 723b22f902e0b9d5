"""What the readers of FFHQ and FDF share: stills of real faces from Flickr photos, with a JSON entry per picture.

One photo may show several of the faces, and photos of one photographer the same people: both keep clips together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mrigan.catalog.clips import ORIGINAL, Clip
from mrigan.catalog.readers.common import printable
from mrigan.catalog.readers.labels import json_entries
from mrigan.errors import CatalogError

SETS = {"training": "train", "validation": "val"}
EXPECTED = 'expected {"0": {"category": "training", ...}, ...}'


@dataclass(frozen=True, slots=True)
class Photo:
    """What the JSON says about one picture. `sizes`: (path, published bytes) of its files."""

    source: str
    author: str
    split: str
    sizes: tuple[tuple[str, int], ...] = ()


def read_photos(path: Path | None, photo_of: Callable[[dict[str, Any]], Photo]) -> dict[int, Photo]:
    """Number → photo, from the data set's JSON; {} without a file.

    Raises:
        CatalogError: broken JSON, or an entry that is not as published.
    """
    photos: dict[int, Photo] = {}
    for key, row in json_entries(path, EXPECTED) if path else ():
        try:
            if not (key.isascii() and key.isdigit()):
                raise ValueError("is not a number")
            photos[int(key)] = photo_of(row)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CatalogError(f"entry {key!r} is not as published: {error!r}", where=path, fix=EXPECTED) from None
    return photos


def photo_of(facts: dict[str, Any], category: str, sizes: tuple[tuple[str, int], ...] = ()) -> Photo:
    """The photo with these facts (`photo_url`, `author`) and this category."""
    source, author = (printable(str(facts.get(key) or "")) for key in ("photo_url", "author"))
    return Photo(source, author, SETS[category], sizes)


def notes_on_photos(list_name: str, has_photos: bool, official: bool) -> list[str]:
    """Hints for the user about the people and the splits."""
    if not has_photos:
        return [f"no {list_name}: photos and photographers are unknown, so one person may be in two splits"]
    notes = ["all stills are real; people are not listed: the photo and the photographer are used instead"]
    return notes + [f"the sets of {list_name} are used; it names no test set"] * official


def still(key: tuple[str, str, str], path: str, number: int, photo: Photo | None) -> Clip:
    """A real still; `key` is (data set, compression, name). Equal numbers in two resolutions are one person."""
    dataset, compression, name = key
    return Clip(
        dataset,
        ORIGINAL,
        compression,
        name,
        path,
        "real",
        targets=(str(number),),
        group=photo.author if photo else "",
        source=photo.source if photo else "",
        official_split=photo.split if photo else "",
    )
