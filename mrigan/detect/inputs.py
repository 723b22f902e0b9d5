"""What was given to judge: videos, pictures, folders of them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mrigan.errors import InputError
from mrigan.video.container import check_size

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".flv", ".wmv", ".ogv")
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif")
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF")  # Pillow's; none of them runs or opens anything else


@dataclass(frozen=True)
class Input:
    """One file to judge; `path` is as given, so it may hold bytes that are no UTF-8 (as surrogates)."""

    path: str
    picture: bool


def expand(paths: Iterable[str | Path], pictures: bool = False) -> tuple[list[Input], list[str]]:
    """The files to judge, a folder replaced by the videos and pictures in it (not by those in its sub-folders).

    Args:
        pictures: every file is a picture; otherwise content and name tell.

    Returns:
        The inputs in the order given, a folder's by name; and a line on each thing in a folder that is left out.
    """
    inputs: list[Input] = []
    skipped: list[str] = []
    for given in paths:
        path = os.fsdecode(given)
        if not os.path.isdir(path):
            inputs.append(Input(path, pictures or is_picture(path)))
            continue
        for entry in sorted(os.scandir(path), key=lambda e: e.name):
            why = _left_out(entry)
            if why:
                skipped.append(f"{shown(entry.path)}: {why}")
            else:
                inputs.append(Input(entry.path, pictures or is_picture(entry.path)))
    return inputs, skipped


def shown(path: str) -> str:
    """The path as text that can be printed: bytes that are no UTF-8 become �, control characters their escapes."""
    text = os.fsencode(path).decode("utf-8", "replace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def is_picture(path: str) -> bool:
    """Whether the file begins like a picture, or is called like one."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
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
    import struct

    from PIL import Image, ImageOps

    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        problem = "no such file" if isinstance(error, FileNotFoundError) else str(error)
        raise InputError(problem, where=shown(path)) from None
    if not stat.S_ISREG(status.st_mode):
        raise InputError("a picture must be a regular file", where=shown(path))
    if status.st_size == 0:
        raise InputError("the file is empty (zero bytes)", where=shown(path), fix="copy or download it again")
    try:
        with Image.open(path, formats=FORMATS) as opened:
            check_size(*opened.size, where=shown(path))
            count = getattr(opened, "n_frames", 1)
            return _rgb(ImageOps.exif_transpose(opened)), count
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:
        raise InputError(
            f"not a readable picture ({error})".replace(path, "it"),
            where=shown(path),
            fix=f"give a whole picture: {', '.join(FORMATS)}",
        ) from None


def _rgb(picture: object) -> np.ndarray:
    """Any mode of Pillow as RGB; pictures of 16 bits lose the lower eight, not the upper (as Pillow would do)."""
    from PIL import Image

    assert isinstance(picture, Image.Image)
    if picture.mode.startswith("I"):
        grey = np.clip(np.asarray(picture) // 256, 0, 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    return np.asarray(picture.convert("RGB"))


def _left_out(entry: os.DirEntry[str]) -> str:
    if entry.name.startswith("."):
        return "a hidden file"
    if entry.is_dir():
        return "a folder in a folder; give it by itself"
    suffix = os.path.splitext(entry.name)[1].lower()
    if suffix in VIDEO_SUFFIXES or is_picture(entry.path):
        return ""
    return "neither a video nor a picture by its name"
