"""FFHQ: 70,000 stills, `images1024x1024/00000/00000.png` (or `thumbnails128x128`, `in-the-wild-images`), all real.

`ffhq-dataset-v2.json` names each picture's photo, author, set (the first 60,000 are for training) and file sizes.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mrigan.catalog.clips import Clip
from mrigan.catalog.readers.common import Problem, Problems, ScanResult, found_clips
from mrigan.catalog.readers.flickr import Photo, photo_of, read_photos, still
from mrigan.catalog.readers.folder import PICTURE_SUFFIXES, Folder, inside, listing
from mrigan.errors import CatalogError

DATASET = "ffhq"
PUBLISHED = 70_000
VARIANTS = {"images1024x1024": "1024", "thumbnails128x128": "128", "in-the-wild-images": "wild"}
LIST = "ffhq-dataset-v2.json"
LAYOUT = f"expected ROOT/{{{','.join(VARIANTS)}}}/00000/00000.png and ROOT/{LIST}; or one such folder as ROOT"


def read_ffhq(root: Path, splits: Path | None = None) -> ScanResult:
    """The stills of FFHQ, of every variant that is there.

    Args:
        splits: `ffhq-dataset-v2.json`, or its folder: its sets (training, validation) are used.

    Raises:
        CatalogError: not this layout, no stills, a link that leads out, or broken JSON.
    """
    root = Path(root)
    top = listing(root, LAYOUT)
    alone = root.resolve().name if root.resolve().name in VARIANTS else None
    photos = _photos(root, splits, alone is not None)
    variants = {alone: ""} if alone else {name: name for name in VARIANTS if name in top.folders()}
    problems = Problems()
    clips: list[Clip] = []
    differences: list[Problem] = []
    for variant, folder in variants.items():
        found = _numbers(root, folder, problems)
        numbers = {number for number, _ in found}
        missing = Problems()
        missing.extend(
            f"of the {PUBLISHED:,} published pictures of {variant} are not here",
            (f"{number:05d}" for number in range(PUBLISHED) if number not in numbers),
        )
        missing.extend(f"pictures beside the published ones of {variant}", map(str, numbers - set(range(PUBLISHED))))
        differences += missing.counted()
        for number, path in found:
            photo = photos.get(number)
            clips.append(still((DATASET, VARIANTS[variant], f"{number:05d}"), path, number, photo))
            _check_size(root, variant, path, photo, problems)
    notes = ["all stills are real; people are not listed: photo and photographer stand in for them"]
    if len(variants) > 1:
        notes.append(f"{' and '.join(variants)} are the same faces; give one of them as ROOT to take it alone")
    if not photos:
        notes = [f"no {LIST}: photos and photographers are unknown, and one person may be on two sides"]
    elif splits is not None:
        notes.append(f"the sets of {LIST} are used; it names no test set")
    clips = found_clips(clips, root, problems, LAYOUT)
    return ScanResult(root, clips, problems.counted(), notes, splits is not None, differences)


def _photos(root: Path, splits: Path | None, alone: bool) -> dict[int, Photo]:
    if splits is not None:
        path = splits / LIST if splits.is_dir() else splits
        if not path.is_file():
            raise CatalogError("no list there", where=path, fix=f"--splits takes {LIST} or its folder")
        return read_photos(path, _photo)
    path = (root.resolve().parent if alone else root) / LIST
    return read_photos(path, _photo) if path.is_file() else {}


def _photo(row: dict[str, Any]) -> Photo:
    files = (row.get(key) or {} for key in ("image", "thumbnail", "in_the_wild"))
    sizes = tuple((file["file_path"], int(file["file_size"])) for file in files if "file_size" in file)
    return photo_of(row["metadata"], row["category"], sizes)


def _numbers(root: Path, above: str, problems: Problems) -> list[tuple[int, str]]:
    """(number, path) of the pictures in a variant's folder and in its sub-folders 00000, 01000, …"""
    folder = Folder(root / above)
    prefix = f"{above}/" if above else ""
    found = [
        (int(match[0]), prefix + name) for match, name in folder.matching(r"\d{5}", PICTURE_SUFFIXES, problems, prefix)
    ]
    for name in folder.folders():
        inside(root / above, name, root)
        inner = Folder(root / above / name).matching(r"\d{5}", PICTURE_SUFFIXES, problems, f"{prefix}{name}/")
        found += [(int(match[0]), f"{prefix}{name}/{file}") for match, file in inner]
    return found


def _check_size(root: Path, variant: str, path: str, photo: Photo | None, problems: Problems) -> None:
    for published, size in photo.sizes if photo else ():
        if (
            published.startswith(variant + "/")
            and published.endswith(path[-9:])
            and os.stat(root / path).st_size != size
        ):
            problems.add("files whose size is not the published one", path)
