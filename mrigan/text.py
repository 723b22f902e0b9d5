"""Text from outside that can be printed: nothing in it steers a terminal, ends a line, or turns the writing round."""

from __future__ import annotations

import unicodedata
from typing import Any


def printable(text: str, keep: str = "") -> str:
    r"""The text with each character that is not shown as itself written as its Python escape.

    These are control characters (`\x1b`), ends of lines (`\n`), marks that change the direction of writing (`\u202e`)
    or are invisible (`\u200b`), and bytes that are not UTF-8 (`\udce9`). Letters, signs and spaces stay.

    Args:
        keep: characters that stay all the same, such as "\n".
    """
    if text.isprintable():
        return text
    return "".join(c if c in keep or _is_shown(c) else c.encode("unicode_escape").decode() for c in text)


def page_text(value: Any) -> Any:
    """For `finalize` of Jinja: what a page shows of a text from outside is printable, too. Markup stays as it is."""
    return printable(value, keep="\n") if type(value) is str else value


def _is_shown(character: str) -> bool:
    return character.isprintable() or unicodedata.category(character) == "Zs"  # Python calls a wide space unprintable
