"""`mrigan config`: the resulting settings of a config, and the list of all settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from mrigan.cli.options import ForceOption
from mrigan.terminal import echo

app = typer.Typer(no_args_is_help=True, help="Show the resulting settings of a config, or the list of all settings.")


@app.command("show")
def config_show(
    config: Annotated[str, typer.Argument(help="A YAML file, or the name of a shipped one, such as gan/paper.yaml.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Settings, such as loss.tau=0.5.")
    ] = None,
    kind: Annotated[
        str, typer.Option(help="A task, or shards; default: from the folder or the keys of the file.")
    ] = "",
) -> None:
    """Print every key of a config with its value and where the value comes from."""
    from mrigan.config import flatten, to_dict

    settings, sources = _load(config, overrides or [], kind)
    flat = flatten(to_dict(settings))
    wide = max(len(_line(key, value, yaml)) for key, value in flat.items())
    section = ""
    for key, value in flat.items():
        parent = key.rpartition(".")[0]
        if parent != section:
            for depth, name in enumerate(parent.split(".")):
                if parent.split(".")[: depth + 1] != section.split(".")[: depth + 1]:
                    echo(f"{'  ' * depth}{name}:")
            section = parent
        echo(f"{_line(key, value, yaml):<{wide}}  # {sources.get(key, 'default')}")


@app.command("docs")
def config_docs(
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Write the page to this file; default: print it.")
    ] = None,
    force: ForceOption = False,
) -> None:
    """Print the list of all keys with values, default and meaning (docs/config.md), made from the schema."""
    from mrigan.config.reference import page
    from mrigan.files import write_text
    from mrigan.outputs import SETTINGS, own_output

    text = page()
    if out is None:
        echo(text.removesuffix("\n"), lines=True)
    else:
        write_text(own_output(out, SETTINGS, force), text)


def _line(key: str, value: Any, yaml: Any) -> str:
    """`    tau: 0.3`"""
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6).removesuffix("...\n").strip()
    return f"{'  ' * key.count('.')}{key.rpartition('.')[2]}: {text}"


def _load(config: str, overrides: list[str], kind: str) -> tuple[Any, dict[str, str]]:
    """The settings, and for each key where its value comes from."""
    from mrigan.config import config_path, load_config
    from mrigan.config.load import origins
    from mrigan.config.reference import SCHEMAS
    from mrigan.errors import ConfigError
    from mrigan.training.tasks import TASKS

    schemas = {**{name: entry.config_class for name, entry in TASKS.items()}, **SCHEMAS}
    if kind and kind not in schemas:
        raise ConfigError(f"no kind of config {kind!r}", where="--kind", fix=f"one of: {', '.join(schemas)}")
    folder = config_path(config).absolute().parent.name
    kinds = [kind] if kind else [folder] if folder in schemas else list(schemas)
    errors = []
    for name in kinds:
        schema = schemas[name]
        try:
            sources = {key: _short(where) for key, where in origins(schema, config, overrides).items()}
            needed = ["run.dir=???"] if name != "shards" and "run.dir" not in sources else []
            settings = load_config(schema, config, [*overrides, *(["run.dir=RUN_DIR"] if needed else [])])
        except ConfigError as error:
            errors.append(error)
        else:
            return settings, sources | ({"run.dir": "must be given"} if needed else {})
    raise errors[0]


def _short(where: str) -> str:
    """The short name of a shipped file."""
    from mrigan.config import config_path

    if where.startswith("override "):
        return where.replace("override ", "given: ", 1)
    shipped, path = config_path("gan/paper.yaml").resolve().parents[1], Path(where).resolve()
    return str(path.relative_to(shipped)) if path.is_relative_to(shipped) else where
