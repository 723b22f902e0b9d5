"""Check plain values against a dataclass: each field's type and metadata (`mrigan.config.fields`) say what is allowed.

No value is resolved, parsed from text or executed.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import re
from collections.abc import Mapping
from functools import cache
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from mrigan.errors import ConfigError

C = TypeVar("C")
REQUIRED = "???"  # the default of a text that must be given
MAX_INT, MAX_FLOAT, MAX_TEXT, MAX_ITEMS = 2**63 - 1, 1.7e308, 1 << 16, 1 << 20
MAX_SHOWN = 60  # characters of a wrong value in a message
NO_RULES: Mapping[str, Any] = {}
WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def from_dict(schema: type[C], data: Any, where: Any = None) -> C:
    """The inverse of `to_dict`; missing keys have their defaults.

    Raises:
        ConfigError: an unknown or missing key, a wrong type, or a value out of bounds; the message names the
            key, and what is allowed.
    """
    config: C = _object(schema, data, "", where)
    return config


def to_dict(config: Any) -> dict[str, Any]:
    """A config dataclass as plain nested dicts, as checkpoints, plans and MLflow store it."""
    return dataclasses.asdict(config)


def flatten(data: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts as `{"train.steps": 10, ...}`."""
    flat: dict[str, Any] = {}
    for key, value in data.items():
        flat.update(flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value})
    return flat


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """A line `key: old → new` for every leaf that differs."""
    a, b = flatten(old), flatten(new)
    changed = [key for key in sorted(a.keys() | b.keys()) if a.get(key) != b.get(key)]
    return [f"{key}: {a.get(key, '(absent)')} → {b.get(key, '(absent)')}" for key in changed]


def leaves(
    schema: Any, prefix: str = "", section: Mapping[str, Any] = NO_RULES
) -> dict[str, tuple[Any, Any, Mapping[str, Any]]]:
    """Dotted key → (the dataclass that has it, its type, its rules), for every key of a config dataclass, in its order.

    Args:
        section: `may_change` and `added` of the sections above, which hold for all of their keys.
    """
    keys: dict[str, tuple[Any, Any, Mapping[str, Any]]] = {}
    for name, (kind, item) in _fields(schema).items():
        own = {rule: section.get(rule) or item.metadata.get(rule, False) for rule in ("may_change", "added")}
        if dataclasses.is_dataclass(kind):
            keys |= leaves(kind, f"{prefix}{name}.", own)
            continue
        rules = {**item.metadata, **own}
        if rules["added"] and "before" not in rules:
            rules["before"] = item.default if item.default_factory is dataclasses.MISSING else item.default_factory()
        keys[prefix + name] = schema, kind, rules
    return keys


def in_words(kind: Any, rules: Mapping[str, Any] = NO_RULES) -> str:
    """The values that a field takes."""
    if "choices" in rules:
        return f"one of: {', '.join(rules['choices'])}"
    if get_origin(kind) is list:
        return f"a list of {rules.get('length', 'such values')}, each {in_words(get_args(kind)[0], _inner(rules))}"
    named = WORDS.get(kind, "an object")
    if "max" in rules:
        return f"{named} from {rules['min']:g} to {rules['max']:g}"
    if "pattern" in rules:
        return f"{named} of the form {rules['pattern']}"
    return f"{named}, at least {rules['min']:g}" if "min" in rules else named


@cache
def _fields(schema: Any) -> dict[str, tuple[Any, dataclasses.Field[Any]]]:
    hints = get_type_hints(schema)
    return {item.name: (hints[item.name], item) for item in dataclasses.fields(schema)}


def _object(schema: Any, data: Any, prefix: str, where: Any) -> Any:
    if not isinstance(data, dict):
        raise _wrong(prefix.removesuffix(".") or schema.__name__, data, "an object", where)
    fields = _fields(schema)
    for name in data:
        if name not in fields:
            close = difflib.get_close_matches(str(name), fields, n=1, cutoff=0.4)
            fix = f"did you mean {prefix}{close[0]}?" if close else f"known keys: {', '.join(fields)}"
            raise ConfigError(f"unknown key {prefix}{_shown(name)}", where=where, fix=fix)
    values = {}
    for name, (kind, item) in fields.items():
        key = prefix + name
        if name in data:
            values[name] = _value(kind, data[name], key, item.metadata, where)
        elif "required" in item.metadata:
            raise ConfigError(f"{key} is missing", where=where, fix=f"it is {in_words(kind, item.metadata)}")
        if item.default == REQUIRED and values.get(name, "") in ("", REQUIRED):
            raise ConfigError(f"{key} has no value", where=where, fix=f"give it: {key}=...")
    return schema(**values)


def _value(kind: Any, value: Any, key: str, rules: Mapping[str, Any], where: Any) -> Any:
    options = get_args(kind) if NoneType in get_args(kind) else ()
    if options:
        if value is None:
            return None
        [kind] = [option for option in options if option is not NoneType]
    if dataclasses.is_dataclass(kind):
        return _object(kind, value, f"{key}.", where)
    if kind is Any:
        return _free(value, key, where)
    if get_origin(kind) is list:
        if not isinstance(value, list) or len(value) not in _lengths(rules):
            raise _wrong(key, value, in_words(kind, rules), where)
        return [_value(get_args(kind)[0], v, f"{key}.{i}", _inner(rules), where) for i, v in enumerate(value)]
    if get_origin(kind) is dict:
        if not isinstance(value, dict) or len(value) > MAX_ITEMS:
            raise _wrong(key, value, "an object", where)
        typed = _fields(rules["typed"]) if "typed" in rules else {}
        kinds = {name: (k, item.metadata) for name, (k, item) in typed.items()}
        rest = get_args(kind)[1], _inner(rules)
        return {name: _value(kinds.get(name, rest)[0], v, f"{key}.{_shown(name)}", kinds.get(name, rest)[1], where)
                for name, v in value.items()}  # fmt: skip
    if not _fits(kind, value, rules):
        raise _wrong(key, value, in_words(kind, rules), where)
    return float(value) if kind is float else value


def _fits(kind: Any, value: Any, rules: Mapping[str, Any]) -> bool:
    if kind is bool or isinstance(value, bool):
        return kind is bool and isinstance(value, bool)
    if kind is str:
        return (
            isinstance(value, str)
            and len(value) <= rules.get("length", MAX_TEXT)
            and value in rules.get("choices", (value,))
            and re.fullmatch(rules.get("pattern", ".*"), value, re.DOTALL) is not None
        )
    largest = MAX_INT if kind is int else MAX_FLOAT
    return isinstance(value, kind if kind is int else int | float) and (  # NaN fails each comparison
        rules.get("min", -largest) <= value <= rules.get("max", largest)
    )


def _free(value: Any, key: str, where: Any) -> Any:
    """Any value that can be written as JSON."""
    for name, inner in (
        value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else ())
    ):
        _free(inner, f"{key}.{_shown(name)}", where)
    if isinstance(value, int | float) and not isinstance(value, bool) and not _fits(type(value), value, NO_RULES):
        raise _wrong(key, value, in_words(type(value)), where)
    return value


def _inner(rules: Mapping[str, Any]) -> Mapping[str, Any]:
    """The rules that hold for each item of a list or object."""
    return {name: rule for name, rule in rules.items() if name in ("min", "max", "pattern", "choices")}


def _lengths(rules: Mapping[str, Any]) -> range:
    return range(rules["length"], rules["length"] + 1) if "length" in rules else range(MAX_ITEMS)


def _shown(value: Any) -> str:
    """An untrusted value, shortened to one line."""
    try:
        text = value if isinstance(value, str) else json.dumps(value, default=repr)
    except (ValueError, RecursionError):  # a number of more digits than Python writes
        text = f"a {type(value).__name__}"
    text = text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"
    return text if text.isprintable() else text.encode("unicode_escape").decode()


def _wrong(key: str, value: Any, expected: str, where: Any) -> ConfigError:
    if isinstance(value, float) and not math.isfinite(value):
        what = "not a number" if math.isnan(value) else "not a finite number"
        return ConfigError(f"{key}={value}: {what}", where=where, fix=f"use {expected}: {key}=...")
    return ConfigError(f"{key}={_shown(value)}: not {expected}", where=where, fix=f"use {expected}")
