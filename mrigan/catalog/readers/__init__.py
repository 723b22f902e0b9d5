"""Readers: one file per data set. A reader lists the clips of a folder; it does not split them.

To add a data set, write one module with a function of the type `Reader` and add one line to `READERS`. Rules:

- A clip's `name` is unique within (data set, method, compression) and does not depend on where the folder is.
- Check paths with `mrigan.catalog.readers.folder.inside`, so that no label file can point out of its folder.
- `family` names the original even if its file is missing, so that its fakes stay in one split.
- Read official lists from the user's copy (`splits`); count the differences from the published data set.
- Skip a single bad clip and count it as a problem; raise CatalogError if the whole list is doubtful.
"""

from __future__ import annotations

from mrigan.catalog.readers.celeb_df import read_celeb_df
from mrigan.catalog.readers.common import Problem, Reader, ScanResult
from mrigan.catalog.readers.dfdc import read_dfdc
from mrigan.catalog.readers.dfdc_preview import read_dfdc_preview
from mrigan.catalog.readers.dfdc_test import read_dfdc_test
from mrigan.catalog.readers.faceforensics import read_faceforensics
from mrigan.catalog.readers.fdf import read_fdf
from mrigan.catalog.readers.ffhq import read_ffhq
from mrigan.catalog.readers.folder import PICTURE_SUFFIXES, VIDEO_SUFFIXES
from mrigan.catalog.readers.manifest import read_manifest
from mrigan.catalog.readers.real_fake import read_real_fake
from mrigan.catalog.readers.uadfv import read_uadfv

READERS: dict[str, Reader] = {
    "dfdc": read_dfdc,
    "dfdc-preview": read_dfdc_preview,
    "dfdc-test": read_dfdc_test,
    "celeb-df": read_celeb_df,
    "faceforensics": read_faceforensics,
    "uadfv": read_uadfv,
    "ffhq": read_ffhq,
    "fdf": read_fdf,
    "folder": read_real_fake,
    "manifest": read_manifest,
}

__all__ = ["PICTURE_SUFFIXES", "READERS", "VIDEO_SUFFIXES", "Problem", "Reader", "ScanResult", "read_manifest"]
