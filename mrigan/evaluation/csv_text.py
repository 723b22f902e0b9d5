"""Write tables as CSV in which a spreadsheet runs no formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

QUOTE = "'"  # spreadsheets write it before a text
FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # spreadsheets accept the wide forms too


def csv_text(rows: Iterable[Sequence[Any]]) -> str:
    """The rows as CSV. A text that begins like a formula or with an apostrophe gets an apostrophe in front.

    Numbers stay numbers, also -0.5. To read a text back, remove its first apostrophe:
    `frame["dataset"].str.removeprefix("'")` in pandas.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([[_cell(value) for value in row] for row in rows])
    return text.getvalue()


def _cell(value: Any) -> Any:
    return QUOTE + value if isinstance(value, str) and value.startswith((*FORMULAS, QUOTE)) else value
