"""Pictures instead of videos: stills of a data set (FFHQ, FDF), and what `mrigan detect` is given."""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from mrigan.errors import InputError
from mrigan.files import shown
from mrigan.video.container import check_size
from mrigan.video.frames import Frame

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif")
MAX_FILE_BYTES = 2**30  # 67 megapixels of 16 bits without compression are 0.4 GiB; Pillow reads some formats whole
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF")  # Pillow's; none of them runs or opens anything else


def is_picture(path: str) -> bool:
    """Whether the file begins like a picture, or is called like one."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode) or not status.st_size:  # a file of the kernel has no size, and may wait
            return False
        with open(path, "rb") as file:
            head = file.read(32)
    except (OSError, ValueError):
        return False
    starts = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM", b"II*\0", b"MM\0*")
    if head.startswith(starts) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        return True
    if head[4:8] == b"ftyp":  # both a video and a picture may be in this container
        return head[8:12] in (b"avif", b"avis", b"heic", b"heix", b"mif1")
    return os.path.splitext(path)[1].lower() in PICTURE_SUFFIXES


def read_picture(path: str) -> tuple[np.ndarray, int]:
    """A picture as (H, W, 3) uint8 RGB, turned as its EXIF says; and how many pictures the file holds.

    Raises:
        InputError: no regular file, empty, no picture of `FORMATS`, cut off, or absurd in size.
    """
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        problem = "no such file" if isinstance(error, FileNotFoundError) else str(error)
        raise InputError(problem, where=shown(path)) from None
    if not stat.S_ISREG(status.st_mode):
        raise InputError("a picture must be a regular file", where=shown(path))
    if status.st_size == 0:
        raise InputError("the file is empty (zero bytes)", where=shown(path), fix="copy or download it again")
    if status.st_size > MAX_FILE_BYTES:
        raise InputError(
            f"a picture of {status.st_size / 2**30:.1f} GiB; {MAX_FILE_BYTES // 2**30} GiB is the limit",
            where=shown(path),
            fix="scale the picture down first",
        )
    try:
        with Image.open(path, formats=FORMATS) as opened:
            check_size(*opened.size, where=shown(path))
            count = getattr(opened, "n_frames", 1)
            # What is black and what white is not known; older versions of Pillow have "I" for a PNG of 16 bits, too.
            if opened.mode == "F" or (opened.mode == "I" and opened.format != "PNG"):
                raise ValueError("32 bits a channel")
            return _rgb(ImageOps.exif_transpose(opened)), count
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:
        raise InputError(
            f"not a readable picture ({error})".replace(path, "it"),
            where=shown(path),
            fix=f"give a whole picture of 8 or 16 bits a channel: {', '.join(FORMATS)}",
        ) from None


def read_still(path: str | Path) -> Frame:
    """A picture as the one frame, number 0, of a clip.

    Raises:
        InputError: as `read_picture`.
    """
    return Frame(0, 0.0, read_picture(os.fsdecode(path))[0])


def _rgb(picture: object) -> np.ndarray:
    """Any mode of Pillow as RGB; pictures of 16 bits lose the lower eight, not the upper (as Pillow would do)."""
    assert isinstance(picture, Image.Image)
    if picture.mode.startswith("I"):
        grey = np.clip(np.asarray(picture) // 256, 0, 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    return np.asarray(picture.convert("RGB"))
