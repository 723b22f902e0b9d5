"""Reader of FFHQ: 70,000 real stills, `images1024x1024/00000/00000.png` (`thumbnails128x128`, `in-the-wild-images`).

`ffhq-dataset-v2.json` names the photo, author, set (the first 60,000 are for training) and file sizes of each picture.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mrigan.catalog.clips import Clip
from mrigan.catalog.readers.common import Problem, Problems, ScanResult, checked_clips
from mrigan.catalog.readers.flickr import Photo, notes_on_photos, photo_of, read_photos, still
from mrigan.catalog.readers.folder import PICTURE_SUFFIXES, FolderListing, inside, list_path, listing

DATASET = "ffhq"
PUBLISHED = 70_000
VARIANTS = {"images1024x1024": "1024", "thumbnails128x128": "128", "in-the-wild-images": "wild"}
LIST = "ffhq-dataset-v2.json"
LAYOUT = f"expected ROOT/{{{','.join(VARIANTS)}}}/00000/00000.png and ROOT/{LIST}; or one such folder as ROOT"


def read_ffhq(root: Path, splits: Path | None = None) -> ScanResult:
    """The stills of FFHQ, of every existing variant.

    Args:
        splits: `ffhq-dataset-v2.json` or its folder: use its sets (training, validation).

    Raises:
        CatalogError: another layout, no stills, a link out of the folder, or broken JSON.
    """
    root = Path(root)
    top = listing(root, LAYOUT)
    alone = root.resolve().name if root.resolve().name in VARIANTS else None
    photos = read_photos(list_path(root.resolve().parent if alone else root, splits, LIST), _photo)
    variants = {alone: ""} if alone else {name: name for name in VARIANTS if name in top.folders()}
    problems = Problems()
    clips: list[Clip] = []
    differences: list[Problem] = []
    for variant, folder in variants.items():
        files = _files(root, folder, problems)
        numbers, published = {number for number, _ in files}, set(range(PUBLISHED))
        counts = Problems()
        missing = (f"{number:05d}" for number in published - numbers)
        counts.extend(f"of the {PUBLISHED:,} published pictures of {variant} are missing", missing)
        counts.extend(f"pictures beside the published ones of {variant}", map(str, numbers - published))
        differences += counts.counted()
        for number, path in files:
            photo = photos.get(number)
            clips.append(still((DATASET, VARIANTS[variant], f"{number:05d}"), path, number, photo))
            _check_size(root, variant, path, photo, problems)
    notes = notes_on_photos(LIST, bool(photos), splits is not None)
    if len(variants) > 1:
        notes.append(f"{' and '.join(variants)} show the same faces; to use one of them, give it as ROOT")
    clips = checked_clips(clips, root, problems, LAYOUT)
    return ScanResult(root, clips, problems.counted(), notes, splits is not None, differences)


def _photo(row: dict[str, Any]) -> Photo:
    files = (row.get(key) or {} for key in ("image", "thumbnail", "in_the_wild"))
    sizes = tuple((file["file_path"], int(file["file_size"])) for file in files if "file_size" in file)
    return photo_of(row["metadata"], row["category"], sizes)


def _files(root: Path, above: str, problems: Problems) -> list[tuple[int, str]]:
    """(number, path) of the pictures in a variant's folder and in its sub-folders 00000, 01000, …"""
    top = FolderListing(root / above)
    files = []
    for folder in ("", *top.folders()):
        if folder:
            inside(root / above, folder, root)
        prefix = "".join(f"{part}/" for part in (above, folder) if part)
        names = (FolderListing(root / prefix) if folder else top).matching(r"\d{5}", PICTURE_SUFFIXES, problems, prefix)
        files += [(int(match[0]), prefix + name) for match, name in names]
    return files


def _check_size(root: Path, variant: str, path: str, photo: Photo | None, problems: Problems) -> None:
    for published, size in photo.sizes if photo else ():
        if (
            published.startswith(variant + "/")
            and published.endswith(path[-9:])
            and os.stat(root / path).st_size != size
        ):
            problems.add("files whose size is not the published one", path)
