"""Cells of exported tables: no formula runs, pandas gets every name and number back."""

from __future__ import annotations

import io

import pandas as pd

from mrigan.evaluation.csv_text import csv_text

NAMES = [
    "=cmd|' /C calc'!A0",
    "+1",
    "-0.5",
    "@SUM(A1)",
    "\tx",
    "'quoted",
    "''",
    "＝1",
    "a=b",
    "plain, with comma",
    'a"b',
]


def test_pandas_gets_names_and_numbers_back() -> None:
    numbers = [-0.5, 1, None, -3, 2.5e-9, 0.0, -1e9, 7, -0.0, 3, 4]
    text = csv_text([["name", "-model auc"], *zip(NAMES, numbers, strict=True)])
    frame = pd.read_csv(io.StringIO(text))
    assert frame["name"].str.removeprefix("'").tolist() == NAMES
    assert frame["'-model auc"].astype(object).where(frame["'-model auc"].notna(), None).tolist() == numbers


def test_no_cell_of_text_begins_like_a_formula() -> None:
    frame = pd.read_csv(io.StringIO(csv_text([[name] for name in NAMES])), header=None, skip_blank_lines=False)
    assert not frame[0].str.startswith(("=", "+", "-", "@", "\t", "＝")).any()
