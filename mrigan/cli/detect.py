"""`mrigan detect`."""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import Annotated

import typer

from mrigan.cli.options import FORCE
from mrigan.stopping import stopped_by_signals


def detect(  # noqa: PLR0917 (the command's options)
    paths: Annotated[list[str], typer.Argument(metavar="VIDEO...", help="Videos, pictures, folders, patterns, @LIST.")],
    image: Annotated[bool, typer.Option("--image", help="The files are pictures, whatever they are called.")] = False,
    cropped: Annotated[bool, typer.Option("--cropped", help="Every picture is one face, cut out already.")] = False,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="A registered model (models:/mrigan-face@champion) or a folder; default: the champion.",
        ),
    ] = None,
    json_out: Annotated[str | None, typer.Option("--json", metavar="OUT", help="Write verdicts; - = print.")] = None,
    jsonl_out: Annotated[
        Path | None,
        typer.Option("--jsonl", metavar="OUT", help="Write a JSON line a verdict as they come; a later run goes on."),
    ] = None,
    html_out: Annotated[Path | None, typer.Option("--html", metavar="OUT", help="Write a page to read.")] = None,
    annotate_out: Annotated[
        Path | None,
        typer.Option("--annotate", metavar="OUT.mp4|DIR", help="Write copies of the videos with boxes and numbers."),
    ] = None,
    case: Annotated[str, typer.Option("--case", metavar="TEXT", help="The case number, for the page.")] = "",
    examiner: Annotated[str, typer.Option("--examiner", metavar="TEXT", help="Who judges, for the page.")] = "",
    received: Annotated[
        str, typer.Option("--received", metavar="TEXT", help="When or how the files came, for the page.")
    ] = "",
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Enter the sub-folders of a folder.")] = False,
    small_faces: Annotated[bool, typer.Option("--small-faces", help="Look for small faces too; slower.")] = False,
    every: Annotated[int, typer.Option(min=0, help="Look at one frame in so many; 0 = as the model says.")] = 0,
    rule: Annotated[
        str, typer.Option(metavar="NAME", help="Judge by another rule that the model stores, such as mean or top.")
    ] = "fraction",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    precision: Annotated[str, typer.Option(help="fp32, or bf16: faster where the processor can.")] = "fp32",
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0 = as many as help.")] = 0,
    seconds_per_file: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="A file that takes longer is unreadable; 0 = no limit.")
    ] = 3600.0,
    force: Annotated[bool, typer.Option("--force", help=FORCE)] = False,
) -> None:
    """Judge videos: fake, real or undecided. Each verdict is printed when it is known. Exit codes: 0 all answered, 3
    some unreadable, 1 none, 2 wrong use, 74 an output could not be written, 75 stopped and --jsonl can go on, 130
    stopped."""
    # Imports make a million objects that stay. To look through them for garbage every 700 new ones costs a tenth of a
    # verdict on a picture.
    gc.set_threshold(50_000, 20, 100)
    with stopped_by_signals(75 if jsonl_out else 130):  # once it judges, it says how far it came
        from mrigan.detect import Options
        from mrigan.detect.case import Case, command_line
        from mrigan.detect.command import run
        from mrigan.time_limit import leave

        options = Options(
            pictures=image,
            cropped=cropped,
            small_faces=small_faces,
            every=every,
            device=device,
            precision=precision,
            rule=rule,
            seconds_per_file=seconds_per_file,
        )
        code = run(
            paths,
            model,
            options,
            json_out=json_out,
            jsonl_out=jsonl_out,
            html_out=html_out,
            annotate_out=annotate_out,
            case=Case(case, examiner, received, command_line(sys.argv[1:])),
            workers=workers,
            recursive=recursive,
            force=force,
        )
    leave(code)
