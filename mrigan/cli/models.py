"""`mrigan models`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table

from mrigan.cli.options import ForceOption
from mrigan.terminal import echo

app = typer.Typer(no_args_is_help=True, help="List, register and promote models.")


@app.command("list")
def models_list() -> None:
    """List the registered models, the newest version first."""
    from mrigan.terminal import Console
    from mrigan.tracking import list_models, tracking_uri

    versions = list_models()
    if not versions:
        echo(
            f"no model is registered in {tracking_uri()}. `mrigan train detector` registers a detector that is better "
            "than chance on validation. For another one: mrigan models register RUN"
        )
        return
    table = Table(
        Column("model", overflow="fold"), "version", "alias", "registered", "run", title=f"models in {tracking_uri()}"
    )
    for v in versions:
        when = datetime.fromtimestamp(v.created).strftime("%Y-%m-%d %H:%M")
        table.add_row(v.name, str(v.version), ", ".join(v.aliases), when, (v.run_id or "")[:8])
    Console().print(table)


@app.command("register")
def models_register(
    run: Annotated[Path, typer.Argument(help="The folder of a finished detector run, or a model folder.")],
) -> None:
    """Register a detector, even one that is not better than chance on validation, which training does not register."""
    from mrigan.tracking import register_run

    name, version = register_run(run)
    echo(f"registered as {name} version {version}, candidate")


@app.command("promote")
def models_promote(
    name: Annotated[str, typer.Argument(help="mrigan-face, mrigan-mri or mrigan-map.")],
    version: Annotated[str, typer.Argument(help="The number of the version in `mrigan models list`.")],
) -> None:
    """Make a version the champion: the model that `mrigan detect` uses by default."""
    from mrigan.tracking import promote

    promote(name, version)
    echo(f"champion of {name}: version {version}")


@app.command("import")
def models_import(
    kind: Annotated[str, typer.Argument(help="authors (of MRI-GAN), dfdc-winner, sbi, or deepfakebench.")],
    files: Annotated[list[Path], typer.Argument(help="The published files; several of dfdc-winner are an ensemble.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The model folder to write; of a generator alone, a file.")],
    force: ForceOption = False,
) -> None:
    """Make a model of a detector that others published, with the preprocessing and the rule that it was made for.

    `mrigan weights list` says where the files can be had. Code in a file is refused, not run.
    """
    from mrigan.models.importers import read_published
    from mrigan.outputs import GENERATOR_FILE, own_output

    found = read_published(kind, files)
    if not found.networks:
        own_output(out, GENERATOR_FILE, force)
    found.save(out)
    echo(f"wrote {out}: {found.in_words}")
    if found.networks:
        echo(f"to judge a video: mrigan detect VIDEO --model {out}")


@app.command("decide")
def models_decide(
    *,
    model: Annotated[Path, typer.Argument(help="A model folder; it is not changed.")],
    scores: Annotated[list[Path], typer.Argument(help="scores.parquet of this model, from `mrigan evaluate`.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The new model folder.")],
    rule: Annotated[str, typer.Option(help="By which it judges: fraction, or another that the model stores.")] = "mean",
    max_false_alarms: Annotated[
        float, typer.Option(help="Share of the real videos that may be called fake.", min=0, max=1)
    ] = 0.05,
    max_undecided: Annotated[
        float, typer.Option(help="Share of the real videos that may be left undecided.", min=0, max=1)
    ] = 0.2,
) -> None:
    """Fit a model's decision on real videos: fake above a threshold, real below another, undecided between the two.

    Fakes in the scores are not used for the choice, only counted.
    """
    from mrigan.scoring.decision import decide_by

    found = decide_by(model, scores, out, rule=rule, max_false_alarms=max_false_alarms, max_undecided=max_undecided)
    echo(
        f"wrote {out}: fake from {found['threshold']:.3g} on, real below {found['real_below']:.3g}, by the rule {rule}"
    )
    for kind in ("reals", "fakes"):
        if kind in found:
            called, undecided = found[f"{kind}_called_fake"], found[f"{kind}_undecided"]
            echo(f"- of {found[kind]} {kind}: {called} called fake, {undecided} undecided")
