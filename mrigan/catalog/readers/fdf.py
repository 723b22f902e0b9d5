"""Reader of FDF (Flickr Diverse Faces): stills of real faces, 128 px, and `fdf_metainfo.json`.

A picture's name is its number: `images/<licence>/12.png`, or `images/128/12.png`, `images/12.png`, `<licence>/12.png`.
"""

from __future__ import annotations

from pathlib import Path

from mrigan.catalog.clips import Clip
from mrigan.catalog.readers.common import Problem, Problems, ScanResult, checked_clips, count_difference
from mrigan.catalog.readers.flickr import Photo, notes_on_photos, photo_of, read_photos, still
from mrigan.catalog.readers.folder import PICTURE_SUFFIXES, FolderListing, inside, list_path, listing

DATASET = "fdf"
PUBLISHED = {"cc-by-nc-sa-2": 623_598, "cc-by-sa-2": 199_502, "cc-by-2": 352_961, "cc-by-nc-2": 295_192}
LIST = "fdf_metainfo.json"
MAX_DEPTH = 3
LAYOUT = f"expected ROOT/images/<licence>/<number>.png (licences: {', '.join(PUBLISHED)}) and ROOT/{LIST}"


def read_fdf(root: Path, splits: Path | None = None) -> ScanResult:
    """The stills of FDF.

    Args:
        splits: `fdf_metainfo.json` or its folder: use its sets (training, validation).

    Raises:
        CatalogError: another layout, no stills, a link out of the folder, or broken JSON.
    """
    root = Path(root)
    top = listing(root, LAYOUT)
    photos = read_photos(list_path(root, splits, LIST), lambda row: photo_of(row, row["category"]))
    problems = Problems()
    above = "images" if "images" in top.folders() else ""
    files = _walk(root, above, problems)
    clips: list[Clip] = []
    for path, number in files:
        name = path.removeprefix("images/").rpartition(".")[0]
        clips.append(still((DATASET, "", name), path, number, photos.get(number)))
        if photos and number not in photos:
            problems.add(f"pictures that are not in {LIST}", path)
    notes = notes_on_photos(LIST, bool(photos), splits is not None)
    clips = checked_clips(clips, root, problems, LAYOUT)
    return ScanResult(root, clips, problems.counted(), notes, splits is not None, _differences(files, photos))


def _walk(root: Path, above: str, problems: Problems, depth: int = 0) -> list[tuple[str, int]]:
    folder = FolderListing(root / above)
    prefix = f"{above}/" if above else ""
    suffixes = PICTURE_SUFFIXES if above else PICTURE_SUFFIXES | {".json", ".zip", ".npy"}
    files = [
        (prefix + name, int(match[0]))
        for match, name in folder.matching(r"\d{1,9}", suffixes, problems if above else Problems(), prefix)
    ]
    if depth < MAX_DEPTH:
        for name in folder.folders():
            if above or name in PUBLISHED:
                inside(root / above, name, root)
                files += _walk(root, prefix + name, problems, depth + 1)
    return files


def _differences(files: list[tuple[str, int]], photos: dict[int, Photo]) -> list[Problem]:
    """Counts by licence, or in all if the folders are not licences; and, with the list, the missing numbers."""
    licences = dict.fromkeys(PUBLISHED, 0)
    for path, _ in files:
        for part in path.split("/")[:-1]:
            if part in licences:
                licences[part] += 1
    differences: list[Problem] = []
    if any(licences.values()):
        for name, published in PUBLISHED.items():
            differences += count_difference(published, licences[name], f"pictures of {name}")
    else:
        differences += count_difference(sum(PUBLISHED.values()), len(files), "pictures")
    missing = Problems()
    missing.extend(f"pictures of {LIST} are missing", map(str, photos.keys() - {number for _, number in files}))
    return differences + missing.counted()
