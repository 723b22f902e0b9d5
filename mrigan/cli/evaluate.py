"""`mrigan evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mrigan.cli.options import ForceOption
from mrigan.terminal import echo


def evaluate(
    *,
    more: Annotated[list[str] | None, typer.Argument(metavar="[...]", help="More of --shards or --scores.")] = None,
    model: Annotated[list[str] | None, typer.Option(help="Folder or models:/NAME@ALIAS; repeatable.")] = None,
    shards: Annotated[list[str] | None, typer.Option(help="Shard folders to score, or URLs of them.")] = None,
    cache: Annotated[str, typer.Option(help="A folder on a local disk, to stage the shards in; for URLs.")] = "",
    scores: Annotated[list[Path] | None, typer.Option(help="Score files, to make the report again.")] = None,
    split: Annotated[str, typer.Option(help="The split of the shards to score.")] = "test",
    thresholds: Annotated[str, typer.Option(metavar="FRAME,FRACTION", help="Instead of the models' own.")] = "",
    batch_size: Annotated[int, typer.Option(min=1, help="Faces a forward pass.")] = 64,
    workers: Annotated[int, typer.Option(min=0, help="Loader processes.")] = 2,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    gan: Annotated[list[Path] | None, typer.Option(help="run.dir of `mrigan train gan`; repeatable.")] = None,
    robustness: Annotated[bool, typer.Option("--robustness", help="Score the faces made worse, in 50 ways.")] = False,
    faces: Annotated[int, typer.Option(min=1, help="--robustness: about so many faces, of whole videos.")] = 500,
    track: Annotated[bool, typer.Option(help="Log a run a model in MLflow (mlflow.db or MLFLOW_TRACKING_URI).")] = True,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the report.")],
    force: ForceOption = False,
) -> None:
    """Score models on shards, or take score files, and write scores.parquet, metrics.json and index.html.

    Several score files or shard folders become one report; of several data sets it compares the figures on each.

    With --robustness instead: robustness.html, a table and curves; stopped, the same command goes on.

    With --gan and --shards: gan.html, the curves of these trainings and what their generators draw.
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
        from mrigan.training.evaluation_runs import track_report
        from mrigan.training.gan_report import report_gans

        folders = _folders([*shards, *(more or [])], cache, split)
        page = report_gans(gan, folders, out, split=split, device=device)
        track_report(
            "gan-report", [str(run) for run in gan], split, folders, files=[page, out / "figures"], config=tracking
        )
        echo(f"report: {page}")
        return
    elif model and shards and not scores:
        from mrigan.training.evaluate import evaluate_models
        from mrigan.training.evaluation_runs import track_report
        from mrigan.training.robustness import evaluate_robustness

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
    said = training_lines((f"{r['model']} on {r['split']}:", r["training"]) for r in metrics["results"])
    for bad, line in said:
        echo(f"{'warning: ' if bad else ''}{line}")
    echo(f"report: {out / 'index.html'}")


def _folders(shards: list[str], cache: str, split: str) -> list[Path]:
    """The folders on this machine that hold the shards; those at a URL are staged in `cache` first."""
    from mrigan.data import local_folders
    from mrigan.errors import ConfigError

    away = [folder for folder in shards if "://" in folder and not folder.startswith("file://")]
    if away and not cache:
        raise ConfigError("--shards is a URL, and shards are read from a local disk", where=away[0],
                          fix="give --cache DIR, a folder on a disk of this machine")  # fmt: skip
    return local_folders(shards, cache, (split,))
