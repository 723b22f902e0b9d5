"""`mrigan train`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from mrigan.terminal import echo, say
from mrigan.training.tasks import TASKS

app = typer.Typer(
    no_args_is_help=True,
    help="Train a network in one process; for several processes: torchrun launch/train.py TASK ...",
)


ConfigArgument = Annotated[
    str, typer.Argument(help="A YAML file, or the name of a shipped one, such as gan/paper.yaml or detector/face.yaml.")
]
OverrideArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Settings, such as train.steps=100; all: docs/config.md."),
]
NewOption = Annotated[bool, typer.Option("--new", help="Start a new run; an earlier run is moved to <run.dir>.old-N.")]
RegisterOption = Annotated[
    bool, typer.Option("--register", help="Register the model even if it is not better than chance on validation.")
]
DryOption = Annotated[
    bool, typer.Option("--dry-run", help="Print the plan, do one step if there are any, write no files.")
]


def _command(name: str, registers: bool) -> Callable[..., None]:
    """The command that trains a task."""

    def train(
        config: ConfigArgument,
        overrides: OverrideArgument = None,
        new: NewOption = False,
        dry: DryOption = False,
        register: RegisterOption = False,
    ) -> None:
        from mrigan.training.launch import REGISTER, launch

        raise typer.Exit(launch(name, config, [*(overrides or []), *([REGISTER] if register else [])], new, dry))

    def train_only(
        config: ConfigArgument, overrides: OverrideArgument = None, new: NewOption = False, dry: DryOption = False
    ) -> None:
        train(config, overrides, new, dry)

    return train if registers else train_only


for _name, _entry in TASKS.items():
    _help = (
        f"Train {_entry.about}, or continue the run in run.dir. Exit code 75: stopped by a signal and saved; the same "
        "command continues."
    )
    app.command(_name, help=_help)(_command(_name, _entry.registers))


@app.command("pose", help="Fit the classifier of head poses to a set with landmarks. It has no steps.")
def train_pose(
    config: ConfigArgument, overrides: OverrideArgument = None, new: NewOption = False, dry: DryOption = False
) -> None:
    from mrigan.config import load_config
    from mrigan.config.pose import PoseConfig

    settings = load_config(PoseConfig, config, overrides)
    from mrigan.pose import train as pose
    from mrigan.training.launch import show_log

    if dry:
        for line in pose.PoseData.open(settings).lines(settings):
            echo(line)
        return
    show_log()
    say(f"finished: {pose.train_pose(settings, new)}")
