"""`mrigan evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mrigan.cli.fields import with_options
from mrigan.cli.options import ForceOption
from mrigan.scoring.options import ScoringOptions
from mrigan.terminal import echo

if TYPE_CHECKING:
    from mrigan.config import TrackingConfig
    from mrigan.evaluation.false_alarms import Gate


@with_options
def evaluate(
    *,
    more: Annotated[list[str] | None, typer.Argument(metavar="MORE", help="More shard folders or score files.")] = None,
    model: Annotated[list[str] | None, typer.Option(help="A model folder or models:/NAME@ALIAS; repeatable.")] = None,
    shards: Annotated[list[str] | None, typer.Option(help="A shard folder or URL to score; repeatable.")] = None,
    cache: Annotated[str, typer.Option(help="Local folder for copies of shards at a URL.")] = "",
    scores: Annotated[list[Path] | None, typer.Option(help="A score file for the report; repeatable.")] = None,
    options: ScoringOptions,
    thresholds: Annotated[
        str, typer.Option(metavar="FRAME,FRACTION", help="Thresholds instead of those of the models.")
    ] = "",
    gan: Annotated[list[Path] | None, typer.Option(help="run.dir of `mrigan train gan`; repeatable.")] = None,
    robustness: Annotated[
        bool, typer.Option("--robustness", help="Score degraded faces: 10 corruptions, 5 severities.")
    ] = False,
    faces: Annotated[int, typer.Option(min=1, help="--robustness: number of faces, rounded to whole videos.")] = 500,
    linear_probe: Annotated[
        bool, typer.Option("--linear-probe", help="Also score a linear probe on the encoder of each model.")
    ] = False,
    false_alarms: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH", help="Reals alone: a folder of videos or pictures, or shards; repeatable."),
    ] = None,
    max_false_alarms: Annotated[
        float | None, typer.Option(min=0, max=1, help="--false-alarms: the largest share called fake that passes.")
    ] = None,
    max_undecided: Annotated[
        float | None, typer.Option(min=0, max=1, help="--false-alarms: the largest share undecided that passes.")
    ] = None,
    track: Annotated[
        bool, typer.Option(help="Log a run per model in MLflow (mlflow.db or MLFLOW_TRACKING_URI).")
    ] = True,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the report.")],
    force: ForceOption = False,
) -> None:
    """Score models on shards, or read score files, and write scores.parquet, metrics.json and index.html.

    Several score files or shard folders become one report; it compares the metrics on several data sets.

    With --robustness: robustness.html, a table and curves. The same command continues an interrupted run.

    With --gan and --shards: gan.html, the curves of these trainings and examples of their generators.

    With --false-alarms and --model: false-alarms.html, the shares of real videos of each folder or data set that are
    called fake, or undecided. Exit code 1 if a share is above --max-false-alarms or --max-undecided.
    """
    from mrigan.config import TrackingConfig
    from mrigan.errors import ConfigError
    from mrigan.evaluation import evaluate_files, parse_thresholds
    from mrigan.evaluation.false_alarms import Gate
    from mrigan.evaluation.output_folder import EVALUATION, FALSE_ALARMS, GANS, ROBUSTNESS, try_folder

    tracking = TrackingConfig(enabled=track)
    given = parse_thresholds(thresholds) if thresholds else None
    inputs = {"scores": scores, "model": model, "gan": gan, "shards": shards, "false_alarms": false_alarms}
    complete = ({"scores"}, {"model", "shards"}, {"gan", "shards"}, {"model", "false_alarms"})
    if {name for name, value in inputs.items() if value} not in complete:
        raise ConfigError(
            "evaluate takes --model and --shards, or --gan and --shards, or --model and --false-alarms, or --scores",
            fix="mrigan evaluate --help",
        )
    if linear_probe and (robustness or not (model and shards)):
        raise ConfigError("--linear-probe needs the report of --model and --shards", fix="mrigan evaluate --help")
    if not false_alarms and (max_false_alarms, max_undecided) != (None, None):
        raise ConfigError("--max-false-alarms and --max-undecided are limits of --false-alarms",
                          fix="give the reals: --false-alarms FOLDER")  # fmt: skip
    if false_alarms:
        try_folder(out, FALSE_ALARMS, force)
        gate = Gate(max_false_alarms, max_undecided)
        _false_alarms(model or [], [*false_alarms, *(more or [])], out, options, gate, force=force, tracking=tracking)
        return
    try_folder(out, ROBUSTNESS if robustness else GANS if gan else EVALUATION, force)
    if scores:
        _print(evaluate_files([*scores, *map(Path, more or [])], out, given), out)
        return
    from mrigan.scoring.evaluate import evaluate_models
    from mrigan.scoring.gan_report import report_gans
    from mrigan.scoring.robustness import evaluate_robustness
    from mrigan.scoring.runs import track_report

    folders = _folders([*(shards or []), *(more or [])], cache, options.split)
    if gan:
        page = report_gans(gan, folders, out, options)
        files = [page, out / "figures"]
        track_report("gan-report", [str(run) for run in gan], options.split, folders, files=files, config=tracking)
        echo(f"report: {page}")
    elif robustness:
        evaluate_robustness(model or [], folders, out, options, thresholds=given, faces=faces)
        page = out / "robustness.html"
        track_report("robustness", model or [], options.split, folders, files=[page], config=tracking)
        echo(f"report: {page}")
    else:
        metrics = evaluate_models(
            model or [], folders, out, options, thresholds=given, tracking=tracking, linear_probe=linear_probe
        )
        _print(metrics, out)


def _false_alarms(
    models: list[str], paths: list[str], out: Path, options: ScoringOptions, gate: Gate, *, force: bool,
    tracking: TrackingConfig,
) -> None:  # fmt: skip
    """Judge reals; exit code 1 if a model does not pass the gate."""
    from mrigan.detect.false_alarms import evaluate_false_alarms
    from mrigan.evaluation.false_alarms_report import PAGE, false_alarm_table, gate_line
    from mrigan.scoring.runs import track_false_alarms
    from mrigan.terminal import Console

    results = evaluate_false_alarms(models, paths, out, options, gate, force=force)
    for result in results:
        Console().print(f"{result['model']}:", false_alarm_table(result))
        track_false_alarms(result, paths, out, tracking)
    for result in results:
        if line := gate_line(result):
            echo(f"{result['model']}: {line}")
    echo(f"report: {out / PAGE}")
    if any(result["failures"] for result in results):
        raise typer.Exit(1)


def _print(metrics: dict[str, Any], out: Path) -> None:
    from mrigan.evaluation import data_set_tables, headline, training_lines
    from mrigan.terminal import Console

    Console().print(headline(metrics), *data_set_tables(metrics))
    lines = training_lines((f"{r['model']} on {r['split']}:", r["training"]) for r in metrics["results"])
    for bad, line in lines:
        echo(f"{'warning: ' if bad else ''}{line}")
    echo(f"report: {out / 'index.html'}")


def _folders(shards: list[str], cache: str, split: str) -> list[Path]:
    """The local folders of the shards; shards at a URL are first copied to `cache`."""
    from mrigan.data import local_folders
    from mrigan.errors import ConfigError
    from mrigan.storage import is_remote

    remote = [folder for folder in shards if is_remote(folder)]
    if remote and not cache:
        raise ConfigError("--shards is a URL, but shards are read from a local disk", where=remote[0],
                          fix="give --cache DIR, a folder on a disk of this machine")  # fmt: skip
    return local_folders(shards, cache, (split,))
