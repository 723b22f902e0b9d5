"""`mrigan shards`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Faces and MRIs in WebDataset tar shards: plan, build, verify.")


ShardFolder = Annotated[Path, typer.Argument(metavar="DIR", help="The shard folder.")]
WorkersOption = Annotated[int, typer.Option(min=0, help="0 = one a CPU core.")]


@app.command("plan")
def shards_plan(
    catalog: Annotated[Path, typer.Argument(help="Made by `mrigan catalog scan`.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE...", help="pack.kind=faces")] = None,
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="The shard folder.")],
    config: Annotated[str, typer.Option(help="A YAML file, or a shipped one by name.")] = "shards/pairs.yaml",
) -> None:
    """Decide which families go into which shard. The same plan again changes nothing, another one is refused."""
    from mrigan.config import ShardsConfig, load_config
    from mrigan.packing import plan_shards

    plan = plan_shards(catalog, load_config(ShardsConfig, config, overrides), out)
    for line in plan.lines():
        typer.echo(line)
    typer.echo(f"next: mrigan shards build {out}")


@app.command("build")
def shards_build(out: ShardFolder, workers: WorkersOption = 0) -> None:
    """Build what is missing of a plan. Exit code 75: stopped by a signal; start it again to go on."""
    from mrigan.packing import build_shards
    from mrigan.packing.log import show_log

    show_log()
    for line in build_shards(out, workers).lines():
        typer.echo(line)


@app.command("verify")
def shards_verify(
    out: ShardFolder,
    sample: Annotated[bool, typer.Option("--sample", help="Sizes and some samples of each shard only.")] = False,
    workers: WorkersOption = 0,
) -> None:
    """Check every shard and sample against what was written; exit code 1 and a list where something is wrong."""
    from mrigan.packing import verify_shards

    damages = verify_shards(out, full=not sample, workers=workers)
    for damage in damages:
        typer.echo(str(damage))
    typer.echo(f"{out}: {len(damages)} problems" if damages else f"{out}: all is well")
    if damages:
        raise typer.Exit(1)
