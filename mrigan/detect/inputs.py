"""What was given to judge: videos, pictures, folders of them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mrigan.video.stills import is_picture, shown

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".flv", ".wmv", ".ogv")


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


def _left_out(entry: os.DirEntry[str]) -> str:
    if entry.name.startswith("."):
        return "a hidden file"
    if entry.is_dir():
        return "a folder in a folder; give it by itself"
    suffix = os.path.splitext(entry.name)[1].lower()
    if suffix in VIDEO_SUFFIXES or is_picture(entry.path):
        return ""
    return "neither a video nor a picture by its name"
