"""Text as people read it: counts with their nouns; text from outside without control characters."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any


def printable(text: str, keep: str = "") -> str:
    r"""The text with each unprintable character written as its Python escape.

    Unprintable are control characters (`\x1b`), line ends (`\n`), marks of the writing direction (`\u202e`), invisible
    marks (`\u200b`), and bytes that are not UTF-8 (`\udce9`). Letters, signs and spaces stay.

    Args:
        keep: characters that are not escaped, such as "\n".
    """
    if text.isprintable():
        return text
    return "".join(c if c in keep or _is_shown(c) else c.encode("unicode_escape").decode() for c in text)


def counted(number: int, noun: str, plural: str = "") -> str:
    """`1 file`, `2 files`; `plural` where it is not the noun with an s."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def shortened(text: str, length: int = 300) -> str:
    """The text with at most `length` characters; `…` stands for the rest."""
    return text if len(text) <= length else text[: length - 1] + "…"


def first_of(lines: Sequence[str], most: int) -> list[str]:
    """At most `most` lines, and one more that says how many are left."""
    rest = len(lines) - most
    return [*lines[:most], *([f"… and {rest} more"] if rest > 0 else [])]


def page_text(value: Any) -> Any:
    """For Jinja's `finalize`: `printable` of a text that a page shows; markup and other types stay unchanged."""
    return printable(value, keep="\n") if type(value) is str else value


def _is_shown(character: str) -> bool:
    return character.isprintable() or unicodedata.category(character) == "Zs"  # to Python, wide spaces are unprintable
