"""Kinds of fields that say what values they take."""

from __future__ import annotations

from dataclasses import field
from typing import Any


def choice(default: str, *others: str) -> Any:
    """A string field that takes one of the given words."""
    return field(default=default, metadata={"choices": (default, *others)})


def at_least(least: float, default: Any) -> Any:
    """A number with a lower bound."""
    return field(default=default, metadata={"least": least})
