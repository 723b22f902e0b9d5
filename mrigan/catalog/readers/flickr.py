"""What FFHQ and FDF share: stills of real faces cut from Flickr photos, with a JSON entry a picture by its number.

One photo may show several of the faces, and one photographer's photos the same people: photo and author are kept.
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
    """What is known of one picture. `sizes`: published bytes of its files by their paths."""

    source: str
    author: str
    split: str
    sizes: tuple[tuple[str, int], ...] = ()


def read_photos(path: Path, photo_of: Callable[[dict[str, Any]], Photo]) -> dict[int, Photo]:
    """Photo by number, from the data set's JSON.

    Raises:
        CatalogError: no such file, broken JSON, or an entry that is not as published.
    """
    photos: dict[int, Photo] = {}
    for key, row in json_entries(path, EXPECTED):
        try:
            if not (key.isascii() and key.isdigit()):
                raise ValueError("is no number")
            photos[int(key)] = photo_of(row)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CatalogError(f"entry {key!r} is not as published: {error!r}", where=path, fix=EXPECTED) from None
    return photos


def photo_of(facts: dict[str, Any], category: str, sizes: tuple[tuple[str, int], ...] = ()) -> Photo:
    """From the entry's facts about the photo (`photo_url`, `author`) and its category."""
    source, author = (printable(str(facts.get(key) or "")) for key in ("photo_url", "author"))
    return Photo(source, author, SETS[category], sizes)


def still(key: tuple[str, str, str], path: str, number: int, photo: Photo | None) -> Clip:
    """A real still, `key` its (data set, compression, name); one number in another resolution is the same person."""
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
