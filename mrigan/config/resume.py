"""The settings with which a run may be resumed, decided by the metadata of the fields (see `mrigan.config.fields`).

A key may change if it changes no step that both configs have, except for rounding and (engine.accumulate, like the
number of ranks) for the position of dropout.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from mrigan.config.typed import differences, flatten, leaves, to_dict

C = TypeVar("C")
# Keys of earlier versions: with the value that this version acts by, and without influence on any step.
REMOVED, IGNORED = {"data.train_split": "train"}, ("train.deterministic",)


def changes(begun: Mapping[str, Any], config: Any) -> tuple[list[str], list[str]]:
    """The differences between the settings that a run began with and those of a resumed start.

    Args:
        begun: nested settings, possibly of an earlier version. config: a config dataclass.

    Returns:
        Lines `key: old → new`: those that are refused, and those that are allowed.
    """
    old, new = in_this_version(begun, type(config)), REMOVED | flatten(to_dict(config))
    free = {key for key, (_, _, rules) in leaves(type(config)).items() if rules["may_change"]}
    refused = differences(_only(old, free, False), _only(new, free, False))
    return refused, differences(_only(old, free, True), _only(new, free, True))


def as_begun(config: C, begun: Mapping[str, Any]) -> tuple[C, list[str]]:
    """The config with the values by which a run acted that is older than some keys.

    Returns:
        The config, and a text `key=value` for each changed key.
    """
    values, replaced = flatten(to_dict(config)), []
    for key, value in _before(type(config)).items():
        if key not in flatten(dict(begun)) and values[key] != value:
            config = _with(config, key.split("."), value)
            replaced.append(f"{key}={value}")
    return config, replaced


def in_this_version(begun: Mapping[str, Any], schema: Any) -> dict[str, Any]:
    """Nested settings of any version as flat settings, with the values of keys that were added or removed since."""
    flat = REMOVED | _before(schema) | flatten(dict(begun))
    if flat.get("model.weights") == "" and "model.backbone" in flat:  # an empty text stood for random weights
        flat["model.weights"] = "random"
    return {key: value for key, value in flat.items() if key not in IGNORED}


def _before(schema: Any) -> dict[str, Any]:
    return {key: rules["before"] for key, (_, _, rules) in leaves(schema).items() if "before" in rules}


def _only(flat: Mapping[str, Any], keys: set[str], wanted: bool) -> dict[str, Any]:
    return {key: value for key, value in flat.items() if (key in keys) is wanted}


def _with(config: Any, path: list[str], value: Any) -> Any:
    [name, *rest] = path
    return dataclasses.replace(config, **{name: _with(getattr(config, name), rest, value) if rest else value})
