"""Tables as CSV that a spreadsheet takes for data: a name that begins like a formula is not run."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

QUOTE = "'"  # what spreadsheets put before a text
FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # the wide forms count, too


def csv_text(rows: Iterable[Sequence[Any]]) -> str:
    """The rows as CSV. A text that begins like a formula, or with an apostrophe, gets one apostrophe in front.

    Numbers stay numbers, also -0.5. So the text of a cell is the cell without its first apostrophe, if it begins with
    one: `frame["dataset"].str.removeprefix("'")` in pandas.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([[_cell(value) for value in row] for row in rows])
    return text.getvalue()


def _cell(value: Any) -> Any:
    return QUOTE + value if isinstance(value, str) and value.startswith((*FORMULAS, QUOTE)) else value
