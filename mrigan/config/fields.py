"""Helpers that declare the fields of config dataclasses. Rules are kept in the field's metadata.

`mrigan.config.typed` checks values by these rules:
    min, max                bounds of a number, or of each number of a list
    choices                 the texts that are allowed
    pattern                 a regular expression that a text must match
    length                  the number of items of a list, or the maximum number of characters of a text
    required                JSON must have the key; there is no default
    typed                   for dict[str, Any]: a dataclass with the types of some of its keys

`mrigan.config.resume` decides by these rules what a resumed run accepts:
    may_change              the value may differ between two starts of one run; on a section: all of its keys may
    added                   earlier versions did not have the key, and acted by its default; also on a section
    before                  earlier versions did not have the key, and acted by this value
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import field
from typing import Any


def checked(default: Any, **rules: Any) -> Any:
    """A field with any rules.

    Args:
        default: a dataclass type stands for an object with that type's defaults.
        rules: see above.
    """
    if isinstance(default, type):
        return field(default_factory=default, metadata=rules)
    if isinstance(default, list | dict):
        return field(default_factory=lambda: copy.copy(default), metadata=rules)
    return field(default=default, metadata=rules)


def choice(default: str, *others: str, **rules: Any) -> Any:
    """A text field that takes one of the given words."""
    return checked(default, choices=(default, *others), **rules)


def one_of(table: Mapping[str, Any], default: str, **rules: Any) -> Any:
    """A text field that takes a key of `table`, also one that is added later."""
    return checked(default, choices=table.keys(), **rules)


def at_least(minimum: float, default: Any, **rules: Any) -> Any:
    """A number with a lower bound."""
    return checked(default, min=minimum, **rules)


def within(minimum: float, maximum: float, default: Any, **rules: Any) -> Any:
    """A number with two bounds, or a list of such numbers."""
    return checked(default, min=minimum, max=maximum, **rules)


def option(default: Any, help: str, *flags: str, **rules: Any) -> Any:
    """A field that is also an option of a command.

    Args:
        flags: names of the option; by default the field's name. rules: `metavar`, `min`: see `typer.Option`.
    """
    return field(default=default, metadata={"help": help, "flags": flags, **rules})
