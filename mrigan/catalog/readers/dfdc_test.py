"""Reader of DFDC's test and validation sets: videos and `labels.csv` (`filename,label`, 1 = FAKE), no originals.

A folder with "valid" in its name is the validation set; any other folder is the test set.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

from mrigan.catalog.clips import ORIGINAL, Clip
from mrigan.catalog.readers.common import Problems, ScanResult, checked_clips, count_difference, no_lists
from mrigan.catalog.readers.folder import PLAIN, VIDEO_SUFFIXES, FolderListing, inside, listing
from mrigan.catalog.readers.labels import small_text
from mrigan.errors import CatalogError

PUBLISHED = {"test": 5_000, "validation": 4_000}
FOLDERS = ("", "videos", "test", "test_videos", "validation", "validation_videos")
LAYOUT = (
    "expected ROOT/labels.csv with the header filename,label (1 = FAKE), and the videos beside it or in ROOT/videos"
)


def read_dfdc_test(root: Path, splits: Path | None = None) -> ScanResult:
    """The clips of DFDC's test set (all in the split test), or of its validation set (all in the split val).

    Raises:
        CatalogError: another layout, no clips, a broken list, or an entry that points out of the folder.
        ConfigError: `splits` is given.
    """
    no_lists(splits, "dfdc-test", "the whole set is for testing")
    root = Path(root)
    listing(root, LAYOUT)
    which = "validation" if "valid" in root.resolve().name.lower() else "test"
    path = next((root / above / "labels.csv" for above in FOLDERS if (root / above / "labels.csv").is_file()), None)
    if path is None:
        raise CatalogError("no labels.csv in this folder", where=root, fix=LAYOUT)
    labels = _read_labels(path)
    places = {above: FolderListing(root / above, path) for above in FOLDERS if (root / above).is_dir()}
    problems = Problems()
    clips: list[Clip] = []
    for name, label in labels.items():
        above = next((above for above, folder in places.items() if folder.has(name)), None)
        if above is None:
            problems.add("skipped: listed but not on disk", name)
            continue
        method = ORIGINAL if label == "real" else ""
        path_of = f"{above}/{name}" if above else name
        split = "val" if which == "validation" else "test"
        clips.append(Clip(f"dfdc-{which}", method, "", name, path_of, label, official_split=split))
    for above, folder in places.items():
        for name in folder.files(VIDEO_SUFFIXES, Problems()):
            if name not in labels:
                problems.add("skipped: on disk but not in labels.csv", f"{above}/{name}" if above else name)
    fakes = sum(clip.label == "fake" for clip in clips)
    notes = [
        f"DFDC's {which} set: {len(clips) - fakes} real, {fakes} fake; its originals and people are not published: it "
        "has no pairs, and people shared with the training set cannot be found"
    ]
    differences = count_difference(PUBLISHED[which], len(labels), "lines of labels.csv")
    clips = checked_clips(clips, root, problems, LAYOUT)
    return ScanResult(root, clips, problems.counted(), notes, official=True, differences=differences)


def _read_labels(path: Path) -> dict[str, str]:
    rows = csv.reader(io.StringIO(small_text(path), newline=""), strict=True)
    labels: dict[str, str] = {}
    try:
        for row in rows:
            where = f"{path}, line {rows.line_num}"
            if not row or (rows.line_num == 1 and [name.strip().lower() for name in row] == ["filename", "label"]):
                continue
            if rows.line_num == 1 or len(row) != 2 or row[1] not in ("0", "1", "0.0", "1.0"):
                raise CatalogError(f"not a line of labels.csv: {','.join(row)[:80]!r}", where=where, fix=LAYOUT)
            if not PLAIN.fullmatch(row[0]):
                inside(path.parent, row[0], Path(where))
            if row[0] in labels:
                raise CatalogError(f"{row[0]} is listed twice", where=where)
            labels[row[0]] = "fake" if row[1][0] == "1" else "real"
    except csv.Error as error:
        raise CatalogError(f"broken CSV: {error}", where=f"{path}, line {rows.line_num}", fix=LAYOUT) from None
    return labels
