"""Read a config: YAML files and dotted overrides become one checked dataclass."""

from __future__ import annotations

import dataclasses
import difflib
from pathlib import Path
from typing import Any, TypeVar, get_origin, get_type_hints

from omegaconf import OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException
from yaml import YAMLError

from mrigan.config.typed import flatten, from_dict, in_words, leaves, to_dict
from mrigan.errors import ConfigError

C = TypeVar("C")


def config_path(name: str | Path) -> Path:
    """A config file by path, or a shipped one by name (`gan/paper.yaml`).

    Raises:
        ConfigError: there is no such file.
    """
    shipped = Path(__file__).parents[1] / "configs"  # in a clone, a link to the folder at the top
    relative = Path(*Path(name).parts[1:]) if Path(name).parts[:1] == ("configs",) else Path(name)
    for path in (Path(name), shipped / relative):
        if path.is_file():
            return path
    kind = ".json" if Path(name).suffix == ".json" else ".yaml"
    names = ", ".join(sorted(str(p.relative_to(shipped)) for p in shipped.rglob(f"*{kind}")))
    first = "a config comes before the settings: " if "=" in str(name) else ""
    raise ConfigError(f"no config file {name}", where=Path.cwd(), fix=f"{first}give a path, or one of: {names}")


def load_config(
    schema: type[C], path: str | Path | None, overrides: list[str] | None = None, *, base: C | None = None
) -> C:
    """Read `path` (see `config_path`), apply `key.sub=value` overrides, and check everything against `schema`.

    Args:
        base: the values to start from, instead of the defaults.

    Raises:
        ConfigError: an unknown key (the message names the most similar), a wrong type, a missing value, or a file that
            is not YAML.
    """
    merged = OmegaConf.structured(schema if base is None else base)
    layers = _layers(schema, path, overrides or [])
    for where, layer in layers:
        try:
            merged = OmegaConf.merge(merged, _lists(schema, layer))
        except ConfigKeyError as error:
            raise _unknown_key(schema, error, where) from None
        except OmegaConfBaseException as error:
            key = getattr(error, "full_key", None)
            _, kind, rules = leaves(schema).get(str(key), (None, None, None))
            fix = None if rules is None else f"use {in_words(kind, rules)}"
            raise ConfigError(f"wrong value for {key}: {str(error).splitlines()[0]}", where=where, fix=fix) from None
    try:
        config = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None)
        raise ConfigError(f"{key} has no value", where=path, fix=f"give it: {key}=...") from None
    return from_dict(schema, to_dict(config), path)


def origins(schema: Any, path: str | Path | None, overrides: list[str] | None = None) -> dict[str, str]:
    """Key → the file or the override that sets its value; keys with their default are missing.

    Raises:
        ConfigError: as `load_config`.
    """
    sources: dict[str, str] = {}
    for where, layer in _layers(schema, path, overrides or []):
        sources |= dict.fromkeys(flatten(OmegaConf.to_container(layer)), where)  # type: ignore[arg-type]
    return sources


def _chain(path: Path) -> list[Path]:
    """`path` and the files that it extends, the base first."""
    chain: list[Path] = []
    while True:
        if path in chain:
            raise ConfigError(f"{path} extends itself", where=chain[-1])
        chain.insert(0, path)
        base = _yaml(path).get("extends")
        if base is None:
            return chain
        path = path.parent / str(base)
        if not path.is_file():
            raise ConfigError(f"no file {base} to extend", where=chain[0])


def _read_yaml(path: Path) -> Any:
    return OmegaConf.create({k: v for k, v in _yaml(path).items() if k != "extends"})


def _yaml(path: Path) -> dict[str, Any]:
    try:
        data = OmegaConf.to_container(OmegaConf.load(path)) or {}
    except (YAMLError, OmegaConfBaseException, OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"not readable as YAML: {error}", where=path) from None
    if not isinstance(data, dict):
        raise ConfigError("a config must be a mapping of keys to values", where=path)
    return data  # type: ignore[return-value]


def _layers(schema: Any, path: str | Path | None, overrides: list[str]) -> list[tuple[str, Any]]:
    """(source, keys and values) in the order of application."""
    layers = [(str(p), _read_yaml(p)) for p in _chain(config_path(path))] if path is not None else []
    for text in overrides:
        if "=" not in text:
            raise ConfigError(f"override {text!r} is not key=value", fix="write for example train.steps=100")
        layers.append((f"override {text}", _override(schema, text)))
    return layers


def _override(schema: Any, text: str) -> Any:
    """`key=value` as a layer; without a value a text becomes "" and a list [], not YAML's null."""
    layer = OmegaConf.from_dotlist([text])
    key, _, value = text.partition("=")
    if not value.strip():
        kind: Any = schema
        for name in key.strip().split("."):
            kind = get_type_hints(kind).get(name) if dataclasses.is_dataclass(kind) else None
        if kind is str or get_origin(kind) is list:
            OmegaConf.update(layer, key.strip(), "" if kind is str else [])
    return layer


def _lists(schema: Any, layer: Any) -> Any:
    """`data.shards` and `pack.match` may be one text, or several joined by commas. A pipe:COMMAND is one text."""
    sections = {field.name for field in dataclasses.fields(schema)}
    for key in ("data.shards", "pack.match"):
        given = OmegaConf.select(layer, key) if key.partition(".")[0] in sections else None
        if isinstance(given, str):
            OmegaConf.update(layer, key, [given] if given.startswith("pipe:") else given.split(","))
    return layer


def _unknown_key(schema: Any, error: ConfigKeyError, where: str) -> ConfigError:
    keys = list(flatten(OmegaConf.to_container(OmegaConf.structured(schema))))  # type: ignore[arg-type]
    key = error.full_key or str(error.key)
    close = difflib.get_close_matches(key, keys, n=1, cutoff=0.4)
    fix = f"did you mean {close[0]}?" if close else f"known keys: {', '.join(keys)}"
    return ConfigError(f"unknown key {key}", where=where, fix=fix)
