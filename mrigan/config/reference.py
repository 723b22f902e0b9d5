"""A description of each setting, made from the schema: type, default, and as its meaning the comment in the source.

`mrigan config docs -o docs/config.md` writes the page.
"""

from __future__ import annotations

import ast
import inspect
import io
import tokenize
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args, get_origin

import yaml

from mrigan.config.pose import PoseConfig
from mrigan.config.shards import ShardsConfig
from mrigan.config.training import DetectorConfig, GanConfig, MapConfig
from mrigan.config.typed import flatten, leaves, to_dict

TRAININGS: dict[str, Any] = {"gan": GanConfig, "detector": DetectorConfig, "map": MapConfig, "pose": PoseConfig}
SCHEMAS: dict[str, Any] = {**TRAININGS, "shards": ShardsConfig}
KINDS = {int: "whole number", float: "number", str: "text", bool: "true or false"}
HEAD = """# Every setting

This page is generated from the schema by `mrigan config docs -o docs/config.md`. Each recipe in `configs/` sets some of
these keys; `extends:` reads another file first. The command line can set every key:
`mrigan train gan gan/paper.yaml loss.tau=0.5`. An empty `key=` sets a text to "" and a list to [].
`mrigan config show gan/paper.yaml` prints the resulting values, each with its origin.
"""
TRAINING = """
## Trainings: `mrigan train gan`, `mrigan train detector`, `mrigan train map`, `mrigan train pose`

**May change**: whether a run continues with another value after it has saved a checkpoint. If not, `--new` starts a
new run.
"""
PACKING = """
## Shards: `mrigan shards plan`

All of these except `limits` and `pack.faces_dir` are part of the plan: another value makes another set, in another
folder.
"""
TRAINING_TABLE = ["| Key | Of | Values | Default | May change | Meaning |", "|---|---|---|---|---|---|"]
PACKING_TABLE = ["| Key | Values | Default | Meaning |", "|---|---|---|---|"]


@dataclass(frozen=True)
class Key:
    """One setting of one kind of config.

    Attributes:
        name: dotted. values: the values that it takes. default: as YAML. may_change: between two starts of a training,
            "yes" or "no". meaning: the comment in the source, without a full stop.
    """

    name: str
    values: str
    default: str
    may_change: str
    meaning: str

    @property
    def section(self) -> str:
        return self.name.rpartition(".")[0]


def keys_of(schema: Any) -> list[Key]:
    """Every key of a config dataclass, in its order."""
    defaults = flatten(to_dict(schema()))
    return [
        Key(name, _values(kind, rules), _as_yaml(defaults[name]), "yes" if rules.get("may_change") else "no",
            _meaning(owner, name.rpartition(".")[2]))
        for name, (owner, kind, rules) in leaves(schema).items()
    ]  # fmt: skip


def page() -> str:
    """`docs/config.md`."""
    trainings = {kind: keys_of(schema) for kind, schema in TRAININGS.items()}
    lines = [HEAD.strip(), "", TRAINING.strip(), ""]
    for section in dict.fromkeys(key.section for keys in trainings.values() for key in keys):
        of_kind = {kind: _of(keys, section) for kind, keys in trainings.items()}
        lines += [f"### {section}", "", *TRAINING_TABLE]
        for name in dict.fromkeys(key for keys in of_kind.values() for key in keys):
            kinds: dict[Key, list[str]] = {}  # that have the key with the same values, default and meaning
            for kind, own in of_kind.items():
                if name in own:
                    kinds.setdefault(own[name], []).append(kind)
            lines += [_row(f"`{name}`", ", ".join(of), key.values, key.default, key.may_change, key.meaning)
                      for key, of in kinds.items()]  # fmt: skip
        lines.append("")
    lines += [PACKING.strip(), ""]
    shards = keys_of(ShardsConfig)
    for section in dict.fromkeys(key.section for key in shards):
        rows = [_row(f"`{key.name}`", key.values, key.default, key.meaning) for key in _of(shards, section).values()]
        lines += [f"### {section}", "", *PACKING_TABLE, *rows, ""]
    return "\n".join(lines)


def _of(keys: Sequence[Key], section: str) -> dict[str, Key]:
    return {key.name: key for key in keys if key.section == section}


def _values(kind: Any, rules: Mapping[str, Any]) -> str:
    if "choices" in rules:
        return ", ".join(f"`{word}`" for word in rules["choices"])
    if get_origin(kind) is list:
        named = {str: "list of texts", float: "list of numbers", int: "list of whole numbers"}[get_args(kind)[0]]
        named = named.replace("list of", f"list of {rules['length']}") if "length" in rules else named
    else:
        named = KINDS.get(kind) or "text or nothing"
    if "max" in rules:
        return f"{named}, {rules['min']:,} to {rules['max']:,}"
    return f"{named}, at least {rules['min']:g}" if "min" in rules else named


def _as_yaml(value: Any) -> str:
    if value == "???":
        return "must be given"
    if value is None or value == "":
        return "nothing" if value is None else "empty"
    return f"`{yaml.safe_dump(value, default_flow_style=True).removesuffix('...' + chr(10)).strip()}`"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _meaning(schema: Any, name: str) -> str:
    """The comment of a field, in the most derived class that declares it."""
    for each in inspect.getmro(schema):
        if name in vars(each).get("__annotations__", {}):
            return _comments(each).get(name, "")
    return ""


@cache
def _comments(schema: Any) -> dict[str, str]:
    """Field → its comment: the comment lines directly above it, then the one after it."""
    source = inspect.getsource(schema)
    comments: dict[int, tuple[str, bool]] = {}  # line → text, whether it stands alone
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            alone = not token.line[: token.start[1]].strip()
            comments[token.start[0]] = token.string.lstrip("#").strip(), alone
    found = {}
    [body] = [node.body for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    for node in body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            above: list[str] = []
            line = node.lineno - 1
            while comments.get(line, ("", False))[1]:
                above.insert(0, comments[line][0])
                line -= 1
            behind = [comments[n][0] for n in range(node.lineno, (node.end_lineno or node.lineno) + 1) if n in comments]
            found[node.target.id] = " ".join([*above, *behind])
    return found
