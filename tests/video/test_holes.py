"""Files of which most was never written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mrigan.errors import InputError
from mrigan.video import probe
from tests.clips import counter_frames, write_clip


def test_a_file_of_holes_is_refused_before_it_is_read(tmp_path: Path) -> None:
    """Else it would be read for hours: 50 GB of zeros are looked through for the next chunk of an AVI."""
    path = write_clip(tmp_path / "a.avi", counter_frames(30), codec="mpeg4")
    whole = path.read_bytes()
    os.truncate(path, 50 << 30)
    stored = os.stat(path).st_blocks * 512
    assert len(whole) <= stored < 1 << 20, "this file system has no holes"
    with pytest.raises(InputError, match=r"most of the file is missing: [\d,]+ of its 53,687,091,200 bytes") as caught:
        probe(path)
    assert len(whole) <= int(caught.value.what.split()[6].replace(",", "")) <= stored
    pieces = tmp_path / "b.avi"  # holes are zeros: a file that has few of them is read as ever
    with open(pieces, "wb") as file:
        file.write(whole)
        file.seek(len(whole) // 2, os.SEEK_CUR)
        file.write(b"0")
    assert probe(pieces).frames == 30
