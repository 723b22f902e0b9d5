"""`mrigan evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mrigan.cli.options import ForceOption
from mrigan.terminal import echo


def evaluate(
    *,
    more: Annotated[
        list[str] | None, typer.Argument(metavar="[...]", help="More shard folders or score files.")
    ] = None,
    model: Annotated[list[str] | None, typer.Option(help="Folder or models:/NAME@ALIAS; repeatable.")] = None,
    shards: Annotated[list[str] | None, typer.Option(help="Shard folders to score, or their URLs.")] = None,
    cache: Annotated[str, typer.Option(help="A folder on a local disk for shards at a URL.")] = "",
    scores: Annotated[list[Path] | None, typer.Option(help="Score files to make a report of.")] = None,
    split: Annotated[str, typer.Option(help="The split of the shards to score.")] = "test",
    thresholds: Annotated[
        str, typer.Option(metavar="FRAME,FRACTION", help="Use these instead of the models' thresholds.")
    ] = "",
    batch_size: Annotated[int, typer.Option(min=1, help="Faces per forward pass.")] = 64,
    workers: Annotated[int, typer.Option(min=0, help="Loader processes.")] = 2,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    gan: Annotated[list[Path] | None, typer.Option(help="run.dir of `mrigan train gan`; repeatable.")] = None,
    robustness: Annotated[
        bool, typer.Option("--robustness", help="Score degraded faces: 10 corruptions, 5 severities.")
    ] = False,
    faces: Annotated[int, typer.Option(min=1, help="--robustness: number of faces, rounded to whole videos.")] = 500,
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
    """
    from mrigan.config import TrackingConfig
    from mrigan.errors import ConfigError
    from mrigan.evaluation import data_set_tables, evaluate_files, headline, parse_thresholds, training_lines
    from mrigan.evaluation.output_folder import EVALUATION, GANS, ROBUSTNESS, try_folder
    from mrigan.terminal import Console

    tracking = TrackingConfig(enabled=track)
    given = parse_thresholds(thresholds) if thresholds else None
    if scores or shards:
        try_folder(out, ROBUSTNESS if robustness else GANS if gan else EVALUATION, force)
    if scores and not (model or shards):
        metrics = evaluate_files([*scores, *map(Path, more or [])], out, given)
    elif gan and shards and not (model or scores):
        from mrigan.scoring.gan_report import report_gans
        from mrigan.scoring.runs import track_report

        folders = _folders([*shards, *(more or [])], cache, split)
        page = report_gans(gan, folders, out, split=split, device=device)
        track_report(
            "gan-report", [str(run) for run in gan], split, folders, files=[page, out / "figures"], config=tracking
        )
        echo(f"report: {page}")
        return
    elif model and shards and not scores:
        from mrigan.scoring.evaluate import evaluate_models
        from mrigan.scoring.robustness import evaluate_robustness
        from mrigan.scoring.runs import track_report

        folders = _folders([*shards, *(more or [])], cache, split)
        if robustness:
            evaluate_robustness(model, folders, out, split=split, thresholds=given, faces=faces, device=device)
            track_report("robustness", model, split, folders, files=[out / "robustness.html"], config=tracking)
            echo(f"report: {out / 'robustness.html'}")
            return
        metrics = evaluate_models(
            model,
            folders,
            out,
            split=split,
            thresholds=given,
            batch_size=batch_size,
            workers=workers,
            device=device,
            tracking=tracking,
        )
    else:
        raise ConfigError(
            "evaluate takes --model and --shards, or --gan and --shards, or --scores", fix="mrigan evaluate --help"
        )
    Console().print(headline(metrics), *data_set_tables(metrics))
    lines = training_lines((f"{r['model']} on {r['split']}:", r["training"]) for r in metrics["results"])
    for bad, line in lines:
        echo(f"{'warning: ' if bad else ''}{line}")
    echo(f"report: {out / 'index.html'}")


def _folders(shards: list[str], cache: str, split: str) -> list[Path]:
    """The local folders of the shards; shards at a URL are first copied to `cache`."""
    from mrigan.data import local_folders
    from mrigan.errors import ConfigError

    remote = [folder for folder in shards if "://" in folder and not folder.startswith("file://")]
    if remote and not cache:
        raise ConfigError("--shards is a URL, but shards are read from a local disk", where=remote[0],
                          fix="give --cache DIR, a folder on a disk of this machine")  # fmt: skip
    return local_folders(shards, cache, (split,))
