"""FDF (Flickr Diverse Faces): stills of real faces, 128 px, by licence below `images/`; `fdf_metainfo.json`.

A picture is called by its number, `images/cc-by-2/12.png` or, as some unpack it, `images/128/12.png`, `images/12.png`,
`cc-by-2/12.png`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mrigan.catalog.clips import Clip
from mrigan.catalog.readers.common import Problem, Problems, ScanResult, count_difference, found_clips
from mrigan.catalog.readers.flickr import Photo, photo_of, read_photos, still
from mrigan.catalog.readers.folder import PICTURE_SUFFIXES, Folder, inside, listing
from mrigan.errors import CatalogError

DATASET = "fdf"
PUBLISHED = {"cc-by-nc-sa-2": 623_598, "cc-by-sa-2": 199_502, "cc-by-2": 352_961, "cc-by-nc-2": 295_192}
LIST = "fdf_metainfo.json"
DEPTH = 3
LAYOUT = f"expected ROOT/images/<licence>/<number>.png (licences: {', '.join(PUBLISHED)}) and ROOT/{LIST}"


def read_fdf(root: Path, splits: Path | None = None) -> ScanResult:
    """The stills of FDF.

    Args:
        splits: `fdf_metainfo.json`, or its folder: its sets (training, validation) are used.

    Raises:
        CatalogError: not this layout, no stills, a link that leads out, or broken JSON.
    """
    root = Path(root)
    top = listing(root, LAYOUT)
    photos = _photos(root, splits)
    problems = Problems()
    above = "images" if "images" in top.folders() else ""
    found = _walk(root, above, problems)
    clips: list[Clip] = []
    for path, number in found:
        name = path.removeprefix("images/").rpartition(".")[0]
        clips.append(still((DATASET, "", name), path, number, photos.get(number)))
        if photos and number not in photos:
            problems.add(f"pictures that are not in {LIST}", path)
    notes = ["all stills are real; people are not listed: photo and photographer stand in for them"]
    if not photos:
        notes = [f"no {LIST}: photos and photographers are unknown, and one person may be on two sides"]
    elif splits is not None:
        notes.append(f"the sets of {LIST} are used; it names no test set")
    clips = found_clips(clips, root, problems, LAYOUT)
    return ScanResult(root, clips, problems.counted(), notes, splits is not None, _differences(found, photos))


def _photos(root: Path, splits: Path | None) -> dict[int, Photo]:
    path = root / LIST if splits is None else splits / LIST if splits.is_dir() else splits
    if splits is None and not path.is_file():
        return {}
    if not path.is_file():
        raise CatalogError("no list there", where=path, fix=f"--splits takes {LIST} or its folder")
    return read_photos(path, _photo)


def _photo(row: dict[str, Any]) -> Photo:
    return photo_of(row, row["category"])


def _walk(root: Path, above: str, problems: Problems, depth: int = 0) -> list[tuple[str, int]]:
    folder = Folder(root / above)
    prefix = f"{above}/" if above else ""
    suffixes = PICTURE_SUFFIXES if above else PICTURE_SUFFIXES | {".json", ".zip", ".npy"}
    found = [
        (prefix + name, int(match[0]))
        for match, name in folder.matching(r"\d{1,9}", suffixes, problems if above else Problems(), prefix)
    ]
    if depth < DEPTH:
        for name in folder.folders():
            if above or name in PUBLISHED:
                inside(root / above, name, root)
                found += _walk(root, prefix + name, problems, depth + 1)
    return found


def _differences(found: list[tuple[str, int]], photos: dict[int, Photo]) -> list[Problem]:
    """By licence where the folders are the licences; by number where the list is there; else by the sum."""
    licences = dict.fromkeys(PUBLISHED, 0)
    for path, _ in found:
        for part in path.split("/")[:-1]:
            if part in licences:
                licences[part] += 1
    differences: list[Problem] = []
    if any(licences.values()):
        for name, published in PUBLISHED.items():
            differences += count_difference(published, licences[name], f"pictures of {name}")
    else:
        differences += count_difference(sum(PUBLISHED.values()), len(found), "pictures")
    if photos:
        missing = Problems()
        numbers = {number for _, number in found}
        missing.extend(f"pictures of {LIST} are not here", (str(number) for number in photos if number not in numbers))
        differences += missing.counted()
    return differences
