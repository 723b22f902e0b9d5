"""What each setting is, from the schema itself: type, default, and the meaning that its comment in the source gives.

`docs/config.md` is made of it: `mrigan config docs -o docs/config.md`.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import io
import tokenize
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

import yaml

from mrigan.config.shards import ShardsConfig
from mrigan.config.training import DetectorConfig, GanConfig
from mrigan.config.typed import flatten, to_dict

SCHEMAS: dict[str, Any] = {"gan": GanConfig, "detector": DetectorConfig, "shards": ShardsConfig}
KINDS = {int: "whole number", float: "number", str: "text", bool: "true or false"}
HEAD = """# Every setting

Made from the schema by `mrigan config docs -o docs/config.md`; a test sees that it is up to date. Each recipe in
`configs/` sets some of these keys, and `extends:` takes another file's values first. A command line sets any of them:
`mrigan train gan gan/paper.yaml loss.tau=0.5`. An empty `key=` sets a text to "" and a list to [].
`mrigan config show gan/paper.yaml` prints what a recipe comes to, with the place that each value is from.
"""
TRAINING = """
## Trainings: `mrigan train gan`, `mrigan train detector`

**May change** says whether a run goes on with another value once it has saved a checkpoint. Where it may not, `--new`
starts afresh.
"""
PACKING = """
## Shards: `mrigan shards plan`

All of these but `limits` and `pack.faces_dir` are part of the plan: with another value it is another set, in another
folder.
"""
TRAINING_TABLE = ["| Key | Of | Values | Default | May change | Meaning |", "|---|---|---|---|---|---|"]
PACKING_TABLE = ["| Key | Values | Default | Meaning |", "|---|---|---|---|"]


@dataclass(frozen=True)
class Key:
    """One setting of one kind of config.

    Attributes:
        name: dotted. values: what it takes. default: as YAML. meaning: the comment in the source, without a full stop.
    """

    name: str
    values: str
    default: str
    meaning: str

    @property
    def section(self) -> str:
        return self.name.rpartition(".")[0]


def keys_of(schema: Any) -> list[Key]:
    """Every key of a config dataclass, in its order."""
    defaults = flatten(to_dict(schema()))
    return [dataclasses.replace(key, default=_as_yaml(defaults[key.name])) for key in _keys(schema, "")]


def page(free: Sequence[str] = ()) -> str:
    """`docs/config.md`.

    Args:
        free: beginnings of the names of keys that may change between two starts of a training.
    """
    gan, detector = keys_of(GanConfig), keys_of(DetectorConfig)
    lines = [HEAD.strip(), "", TRAINING.strip(), ""]
    for section in dict.fromkeys(key.section for key in [*gan, *detector]):
        both = {"gan": _of(gan, section), "detector": _of(detector, section)}
        lines += [f"### {section}", "", *TRAINING_TABLE]
        for name in dict.fromkeys(key for keys in both.values() for key in keys):
            found = {kind: keys[name] for kind, keys in both.items() if name in keys}
            if len(set(found.values())) == 1:  # the same in both
                found = {" and ".join(found): next(iter(found.values()))}
            changes = "yes" if name.startswith(tuple(free)) else "no"
            lines += [_row(f"`{name}`", kind, key.values, key.default, changes, key.meaning)
                      for kind, key in found.items()]  # fmt: skip
        lines.append("")
    lines += [PACKING.strip(), ""]
    shards = keys_of(ShardsConfig)
    for section in dict.fromkeys(key.section for key in shards):
        keys = _of(shards, section).values()
        rows = [_row(f"`{key.name}`", key.values, key.default, key.meaning) for key in keys]
        lines += [f"### {section}", "", *PACKING_TABLE, *rows, ""]
    return "\n".join(lines)


def _of(keys: Sequence[Key], section: str) -> dict[str, Key]:
    return {key.name: key for key in keys if key.section == section}


def _keys(schema: Any, prefix: str) -> list[Key]:
    hints, found = get_type_hints(schema), []
    for item in dataclasses.fields(schema):
        kind, name = hints[item.name], prefix + item.name
        if dataclasses.is_dataclass(kind):
            found += _keys(kind, f"{name}.")
        else:
            found.append(Key(name, _values(kind, item.metadata), "", _meaning(schema, item.name)))
    return found


def _values(kind: Any, metadata: Any) -> str:
    if "choices" in metadata:
        return ", ".join(f"`{word}`" for word in metadata["choices"])
    if get_origin(kind) is list:
        named = {str: "list of texts", float: "list of numbers"}[get_args(kind)[0]]
        named = named.replace("list of", f"list of {metadata['length']}") if "length" in metadata else named
    else:
        named = KINDS.get(kind) or "text or nothing"
    if "most" in metadata:
        return f"{named}, {_plain(metadata['least'])} to {_plain(metadata['most'])}"
    return f"{named}, at least {metadata['least']:g}" if "least" in metadata else named


def _plain(number: float) -> str:
    return f"{number:,}"


def _as_yaml(value: Any) -> str:
    if value == "???":
        return "must be given"
    if value is None or value == "":
        return "nothing" if value is None else "empty"
    return f"`{yaml.safe_dump(value, default_flow_style=True).removesuffix('...' + chr(10)).strip()}`"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _meaning(schema: Any, name: str) -> str:
    """The comment of a field, in the class that declares it last."""
    for each in inspect.getmro(schema):
        if name in vars(each).get("__annotations__", {}):
            return _comments(each).get(name, "")
    return ""


@cache
def _comments(schema: Any) -> dict[str, str]:
    """Field → its comment: the lines of comment directly above it, then the one behind it."""
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
