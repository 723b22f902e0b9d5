"""Reader of UADFV: `real/NNNN.mp4` and `fake/NNNN_fake.mp4`, 49 of each; no people, no splits."""

from __future__ import annotations

from pathlib import Path

from mrigan.catalog.clips import ORIGINAL, Clip, clip_id
from mrigan.catalog.readers.common import Problems, ScanResult, checked_clips, no_lists
from mrigan.catalog.readers.folder import VIDEO_SUFFIXES, FolderListing, listing

DATASET = "uadfv"
PUBLISHED = 49  # of each label, 0000 to 0048
LAYOUT = "expected ROOT/real/NNNN.mp4 and ROOT/fake/NNNN_fake.mp4"


def read_uadfv(root: Path, splits: Path | None = None) -> ScanResult:
    """The clips of UADFV.

    Raises:
        CatalogError: another layout, no clips, or a link out of the folder. ConfigError: `splits` is given.
    """
    no_lists(splits, "uadfv", "none is published")
    root = Path(root)
    folders = listing(root, LAYOUT).folders()
    problems, differences = Problems(), Problems()
    clips: list[Clip] = []
    originals: set[str] = set()
    for folder, label, pattern in (("real", "real", r"(\d{4})"), ("fake", "fake", r"(\d{4})_fake")):
        present = FolderListing(root / folder) if folder in folders else None
        files = list(present.matching(pattern, VIDEO_SUFFIXES, problems, f"{folder}/")) if present else []
        numbers = {match[1] for match, _ in files}
        expected = {f"{number:04d}" for number in range(PUBLISHED)}
        differences.extend(f"of the {PUBLISHED} published {label} clips are missing", expected - numbers)
        differences.extend(f"{label} clips beside the {PUBLISHED} published", numbers - expected)
        if label == "real":
            originals = numbers
        for match, name in files:
            family = clip_id(DATASET, ORIGINAL, "", match[1]) if label == "fake" else ""
            original = family if family and match[1] in originals else None
            method = ORIGINAL if label == "real" else "fakeapp"
            clips.append(Clip(DATASET, method, "", match[0], f"{folder}/{name}", label, original, family=family))
    notes = ["people are not listed: only an original and its fake are kept in one split"]
    clips = checked_clips(clips, root, problems, LAYOUT)
    return ScanResult(root, clips, problems.counted(), notes, differences=differences.counted())
