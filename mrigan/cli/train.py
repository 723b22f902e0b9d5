"""`mrigan train`."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Train MRI-GAN or a detector (many processes: torchrun launch/…).")


ConfigArgument = Annotated[str, typer.Argument(help="A YAML file, or a shipped one by name: gan/paper.yaml.")]
OverrideArgument = Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE...", help="train.steps=100")]
NewOption = Annotated[bool, typer.Option("--new", help="Start afresh; an earlier run is moved to <run.dir>.old-N.")]
RegisterOption = Annotated[
    bool, typer.Option("--register", help="Register the detector also if validation shows no more than chance.")
]
DryOption = Annotated[bool, typer.Option("--dry-run", help="Print the plan, do one step, leave nothing behind.")]


@app.command("gan")
def train_gan_command(
    config: ConfigArgument, overrides: OverrideArgument = None, new: NewOption = False, dry: DryOption = False
) -> None:
    """Train MRI-GAN, or go on where RUN.DIR stopped. Exit code 75: stopped by a signal, saved, can go on."""
    from mrigan.training.launch import launch

    raise typer.Exit(launch("gan", config, overrides or [], new, dry))


@app.command("detector")
def train_detector_command(
    config: ConfigArgument,
    overrides: OverrideArgument = None,
    new: NewOption = False,
    dry: DryOption = False,
    register: RegisterOption = False,
) -> None:
    """Train a detector on faces or on predicted MRIs, or go on where RUN.DIR stopped. Exit codes as for gan."""
    from mrigan.training.launch import REGISTER, launch

    raise typer.Exit(launch("detector", config, [*(overrides or []), *([REGISTER] if register else [])], new, dry))
