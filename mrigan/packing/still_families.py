"""Families of stills: a fake's picture beside the picture that it was made from; and the mixtures that give no MRI."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import PurePosixPath

from mrigan.catalog import VIDEO_SUFFIXES, Catalog, Clip, Family
from mrigan.errors import CatalogError
from mrigan.text import first_of
from mrigan.video import is_picture
from mrigan.video.stills import PICTURE_SUFFIXES

MAX_NAMED = 3  # fakes that an error names
MIXED = {True: "video_of_still", False: "still_of_video"}  # why a fake is dropped, by whether its original is a still


def refuse_mixed(catalog: Catalog, families: Sequence[Family], splits: Collection[str]) -> None:
    """Raise CatalogError if, in these splits, a fake is a still of a video, or a video of a still.

    The catalog does not say which frame of a video a still shows. File names decide; a file is opened only if the
    names of a family differ in kind, or have neither kind of suffix.
    """
    mixed = []
    for family in families:
        fakes = [fake for fake in family.fakes if fake.split in splits]
        if family.original is None or not fakes:
            continue
        named = {_by_name(clip) for clip in (family.original, *fakes)}
        if len(named) == 1 and None not in named:
            continue
        still = is_still(catalog, family.original)
        mixed += [(fake, family.original, still) for fake in fakes if is_still(catalog, fake) != still]
    if not mixed:
        return
    lines = [f"{fake.path}, a {'video of the still' if still else 'still of the video'} {original.path}"
             for fake, original, still in mixed]  # fmt: skip
    raise CatalogError(
        f"{len(mixed)} fakes are not of their original's kind, so no MRI can be computed:\n    "
        + "\n    ".join(first_of(lines, MAX_NAMED)),
        where=", ".join(str(root) for root in catalog.roots.values()),
        fix="name the very picture that each still was made from as its original (extract the video's frame), and the "
        "video of each video; or store faces without MRIs: --config shards/faces.yaml",
    )


def is_still(catalog: Catalog, clip: Clip) -> bool:
    """Whether a clip is a picture: by its content, by its name where the file is not there."""
    path = os.fsdecode(catalog.path(clip))
    return is_picture(path) if os.path.isfile(path) else _by_name(clip) is True


def _by_name(clip: Clip) -> bool | None:
    """Whether a clip is called like a picture; None = neither like a picture nor like a video."""
    suffix = PurePosixPath(clip.path).suffix.lower()
    return True if suffix in PICTURE_SUFFIXES else False if suffix in VIDEO_SUFFIXES else None
