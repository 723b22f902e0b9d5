"""`mrigan doctor`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from mrigan.terminal import echo, echo_json

if TYPE_CHECKING:
    from mrigan.doctor import Finding

MARKS = {"ok": ("ok     ", "green"), "note": ("note   ", "cyan"), "warning": ("warning", "yellow"),
         "problem": ("PROBLEM", "bold red")}  # fmt: skip


def doctor(
    config: Annotated[
        str, typer.Argument(help="Also check this training: a YAML file, or a shipped one by name.")
    ] = "",
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Settings, such as run.dir=DIR.")
    ] = None,
    *,
    folder: Annotated[Path, typer.Option("--dir", help="The run folder to check, without a config.")] = Path(),
    shards: Annotated[list[str] | None, typer.Option(help="A shard folder to check; repeatable.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check this machine and a config before a training: versions, GPUs, ranks, disks, shards, MLflow.

    Exit code 1: training would fail. Under torchrun or srun, it all-reduces over all of their ranks.
    """
    from mrigan.engine.environment import find_ranks

    find_ranks(os.environ)
    task, settings = _settings(config, overrides or []) if config else ("", None)
    if os.environ.get("RANK", "0") != "0":
        from mrigan.doctor.ranks import check_ranks

        list(check_ranks())
        return
    from mrigan.doctor import Level, examine

    found = []
    for finding in examine(task, settings, folder=folder, shards=shards or []):
        found.append(finding)
        if not as_json:
            _show(finding)
    bad = sum(finding.level is Level.PROBLEM for finding in found)
    if as_json:
        lines = [{"check": f.check, "level": str(f.level), "found": f.found, "fix": f.fix} for f in found]
        echo_json({"ok": not bad, "findings": lines})
    else:
        echo(f"{bad} problem{'s' * (bad > 1)}: training would fail" if bad else "no problem found")
    if bad:
        raise typer.Exit(1)


def _show(finding: Finding) -> None:
    from mrigan.terminal import Console

    console = Console(soft_wrap=True)
    console.print(Text.assemble(MARKS[finding.level], " ", (f"{finding.check:<11}", "bold"), " ", finding.found))
    if finding.fix:
        console.print(Text.assemble(" " * 20, ("→", "dim"), " ", finding.fix))


def _settings(config: str, overrides: list[str]) -> tuple[str, Any]:
    """The task and the settings of a config; the task follows from the keys of the file."""
    from mrigan.config import load_config
    from mrigan.errors import ConfigError
    from mrigan.training.tasks import TASKS

    if not any(word.startswith("run.dir=") for word in overrides):
        overrides = [*overrides, "run.dir=."]
    errors: dict[str, ConfigError] = {}
    for name, entry in TASKS.items():
        try:
            return name, load_config(entry.config_class, config, overrides)
        except ConfigError as error:
            errors[name] = error
    raise next((error for name, error in errors.items() if name in Path(config).parts), next(iter(errors.values())))
