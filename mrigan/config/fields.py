"""Kinds of fields that say what values they take; `mrigan.config.typed` checks them."""

from __future__ import annotations

import copy
from dataclasses import field
from typing import Any


def choice(default: str, *others: str) -> Any:
    """A text field that takes one of the given words."""
    return field(default=default, metadata={"choices": (default, *others)})


def at_least(least: float, default: Any) -> Any:
    """A number with a lower bound."""
    return field(default=default, metadata={"least": least})


def within(least: float, most: float, default: Any, **rules: Any) -> Any:
    """A number with two bounds, or a list of such numbers; see `limited` for `rules`."""
    return limited(default, least=least, most=most, **rules)


def limited(default: Any, **rules: Any) -> Any:
    """A field with any rules.

    Args:
        rules: `least` and `most` of numbers; `pattern` (a regular expression) of texts; `length`, the number of items
            of a list, or of a text's characters at most; `required`: no default where JSON lacks the key; `typed`: for
            dict[str, Any], a dataclass with the types of some of its keys.
    """
    if isinstance(default, type):
        return field(default_factory=default, metadata=rules)
    if isinstance(default, list | dict):
        return field(default_factory=lambda: copy.copy(default), metadata=rules)
    return field(default=default, metadata=rules)
