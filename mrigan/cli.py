"""The `mrigan` command: one sub-command a job, each thin.

Exit codes: 0 done, 1 nothing could be done, 2 wrong use, 3 some inputs unreadable.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from mrigan import __version__
from mrigan.errors import MriganError
from mrigan.progress import console


class _InOrder(TyperGroup):
    """Lists the commands in the order in which they are used, not groups after single ones."""

    def list_commands(self, ctx: Any) -> list[str]:
        order = ("demo", "sample", "catalog", "shards", "train", "models", "evaluate", "detect")
        return sorted(super().list_commands(ctx), key=order.index)


app = typer.Typer(
    cls=_InOrder,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Train and run DeepFake-video detectors.",
)
catalog_app = typer.Typer(no_args_is_help=True, help="What videos exist: scan a data set, split by family, audit.")
shards_app = typer.Typer(no_args_is_help=True, help="Faces and MRIs in WebDataset tar shards: plan, build, verify.")
train_app = typer.Typer(no_args_is_help=True, help="Train MRI-GAN or a detector (many processes: torchrun launch/…).")
models_app = typer.Typer(no_args_is_help=True, help="The model registry, and published weights.")
app.add_typer(catalog_app, name="catalog")
app.add_typer(shards_app, name="shards")
app.add_typer(train_app, name="train")
app.add_typer(models_app, name="models")


def _version(show: bool) -> None:
    if show:
        typer.echo(f"mrigan {__version__}")
        raise typer.Exit


VersionOption = Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")]


@app.callback()
def _root(version: VersionOption = False) -> None:
    pass


# ------------------------------------------------------------------------------------------------------------- sample


@app.command("sample")
def sample(
    *,
    out: Annotated[Path, typer.Argument(metavar="DIR", help="A new or an empty folder.")],
    people: Annotated[int, typer.Option(help="Invented people, two a part, five clips each.")] = 14,
    seconds: Annotated[float, typer.Option(help="Length of a clip, at 25 frames/s.")] = 2.0,
    seed: Annotated[int, typer.Option(help="Draws everything; one seed, the same bytes.")] = 0,
    workers: Annotated[int, typer.Option(help="Processes; 0 = one for each core.")] = 0,
) -> None:
    """Make a small data set of invented people and their fakes, in DFDC's layout; no download. No benchmark."""
    from mrigan.sample import make_sample

    folder = make_sample(out, people=people, seed=seed, seconds=seconds, workers=workers)
    typer.echo(f"{folder}: next, mrigan catalog scan dfdc {folder} -o catalog.parquet")


# ------------------------------------------------------------------------------------------------------------ catalog


@catalog_app.command("scan")
def catalog_scan(
    *,
    reader: Annotated[str, typer.Argument(metavar="dfdc|manifest", help="What ROOT is.")],
    root: Annotated[Path, typer.Argument(help="The data set's folder, or the manifest (CSV, JSON lines).")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The catalog to write (Parquet).")],
    val: Annotated[float, typer.Option(min=0, max=1, help="Fraction of the clips for validation.")] = 0.1,
    test: Annotated[float, typer.Option(min=0, max=1, help="Fraction of the clips for the test.")] = 0.1,
    seed: Annotated[int, typer.Option(help="Draws the splits.")] = 0,
    base: Annotated[Path | None, typer.Option("--root", help="Where the manifest's paths start.")] = None,
) -> None:
    """List the clips of a data set, split them by family and people, and write the catalog."""
    from rich.console import Console

    from mrigan.catalog import scan_catalog, summary_table, write_catalog

    fractions = {"train": round(1 - val - test, 9), "val": val, "test": test}
    catalog, result = scan_catalog(reader, root, base=base, fractions=fractions, seed=seed)
    write_catalog(catalog, out)
    Console().print(summary_table(catalog))
    for line in (*result.problems, *result.notes):
        typer.echo(f"- {line}")
    typer.echo(f"{out}: {len(catalog)} clips, hash {catalog.hash[:12]}")


@catalog_app.command("audit")
def catalog_audit(path: Annotated[Path, typer.Argument(metavar="CATALOG", help="Made by `catalog scan`.")]) -> None:
    """Prove that no family, original, person, group or file is on two sides; exit code 1 and a list where one is."""
    from mrigan.catalog import audit, read_catalog
    from mrigan.errors import CatalogError

    catalog = read_catalog(path)
    if not any(clip.split for clip in catalog.clips):
        raise CatalogError("no clip of this catalog has a split", where=path, fix="scan the data set again")
    leaks = audit(catalog)
    for leak in leaks:
        typer.echo(f"leak: {leak}")
    typer.echo(f"{path}: {len(leaks)} leaks" if leaks else f"{path}: {len(catalog)} clips, no leak")
    if leaks:
        raise typer.Exit(1)


# ------------------------------------------------------------------------------------------------------------- shards


ShardFolder = Annotated[Path, typer.Argument(metavar="DIR", help="The shard folder.")]
WorkersOption = Annotated[int, typer.Option(min=0, help="0 = one a CPU core.")]


@shards_app.command("plan")
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


@shards_app.command("build")
def shards_build(out: ShardFolder, workers: WorkersOption = 0) -> None:
    """Build what is missing of a plan. Exit code 75: stopped by a signal; start it again to go on."""
    from mrigan.packing import build_shards
    from mrigan.packing.log import show_log

    show_log()
    for line in build_shards(out, workers).lines():
        typer.echo(line)


@shards_app.command("verify")
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


# -------------------------------------------------------------------------------------------------------------- train


ConfigArgument = Annotated[str, typer.Argument(help="A YAML file, or a shipped one by name: gan/paper.yaml.")]
OverrideArgument = Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE...", help="train.steps=100")]
NewOption = Annotated[bool, typer.Option("--new", help="Start afresh; an earlier run is moved to <run.dir>.old-N.")]


@train_app.command("gan")
def train_gan_command(config: ConfigArgument, overrides: OverrideArgument = None, new: NewOption = False) -> None:
    """Train MRI-GAN, or go on where RUN.DIR stopped. Exit code 75: stopped by a signal, saved, can go on."""
    from mrigan.config import GanConfig
    from mrigan.training import train_gan
    from mrigan.training.launch import launch

    raise typer.Exit(launch(train_gan, GanConfig, config, overrides or [], new))


@train_app.command("detector")
def train_detector_command(config: ConfigArgument, overrides: OverrideArgument = None, new: NewOption = False) -> None:
    """Train a detector on faces or on predicted MRIs, or go on where RUN.DIR stopped. Exit codes as for gan."""
    from mrigan.config import DetectorConfig
    from mrigan.training import train_detector
    from mrigan.training.launch import launch

    raise typer.Exit(launch(train_detector, DetectorConfig, config, overrides or [], new))


# ------------------------------------------------------------------------------------------------------------- models


@models_app.command("list")
def models_list() -> None:
    """List the registered models, the newest version first."""
    from datetime import datetime

    from rich.console import Console
    from rich.table import Table

    from mrigan.tracking import list_models, tracking_uri

    versions = list_models()
    if not versions:
        typer.echo(f"no model is registered in {tracking_uri()}; one is when a training ends: mrigan train detector")
        return
    table = Table("model", "version", "alias", "registered", "run", title=f"models in {tracking_uri()}")
    for v in versions:
        when = datetime.fromtimestamp(v.created).strftime("%Y-%m-%d %H:%M")
        table.add_row(v.name, str(v.version), ", ".join(v.aliases), when, (v.run_id or "")[:8])
    Console().print(table)


@models_app.command("promote")
def models_promote(
    name: Annotated[str, typer.Argument(help="mrigan-face or mrigan-mri.")],
    version: Annotated[str, typer.Argument(help="Its number, as `mrigan models list` shows it.")],
) -> None:
    """Make a version the champion: the one that `mrigan detect` takes."""
    from mrigan.tracking import promote

    promote(name, version)
    typer.echo(f"champion of {name}: version {version}")


@models_app.command("import-reference")
def models_import_reference(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint that MRI-GAN's authors published.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The generator, as safetensors.")],
) -> None:
    """Turn a published MRI-GAN checkpoint into a generator file that Mrigan loads; its pickle is not executed."""
    from mrigan.models import import_reference

    G = import_reference(checkpoint, out)
    typer.echo(f"wrote {out}: a generator for {G.size} px faces, {sum(p.numel() for p in G.parameters()):,} weights")


# ----------------------------------------------------------------------------------------------------------- evaluate


@app.command("evaluate")
def evaluate_command(
    *,
    more: Annotated[list[Path] | None, typer.Argument(metavar="[...]", help="More of --shards or --scores.")] = None,
    model: Annotated[list[str] | None, typer.Option(help="Folder or models:/NAME@ALIAS; repeatable.")] = None,
    shards: Annotated[list[Path] | None, typer.Option(help="Shard folders to score.")] = None,
    scores: Annotated[list[Path] | None, typer.Option(help="Score files, to make the report again.")] = None,
    split: Annotated[str, typer.Option(help="The split of the shards to score.")] = "test",
    thresholds: Annotated[str, typer.Option(metavar="FRAME,FRACTION", help="Instead of the models' own.")] = "",
    batch_size: Annotated[int, typer.Option(min=1, help="Faces a forward pass.")] = 64,
    workers: Annotated[int, typer.Option(min=0, help="Loader processes.")] = 2,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the report.")],
) -> None:
    """Score models on shards, or take score files, and write scores.parquet, metrics.json and index.html."""
    from rich.console import Console

    from mrigan.errors import ConfigError
    from mrigan.evaluation import evaluate_files, headline, parse_thresholds

    given = parse_thresholds(thresholds) if thresholds else None
    if scores and not (model or shards):
        metrics = evaluate_files([*scores, *(more or [])], out, given)
    elif model and shards and not scores:
        from mrigan.training.evaluate import evaluate_models

        folders = [*shards, *(more or [])]
        metrics = evaluate_models(
            model, folders, out, split=split, thresholds=given, batch_size=batch_size, workers=workers, device=device
        )
    else:
        raise ConfigError("evaluate takes either --model and --shards, or --scores", fix="mrigan evaluate --help")
    Console().print(headline(metrics))
    typer.echo(f"report: {out / 'index.html'}")


# ------------------------------------------------------------------------------------------------------------- detect


@app.command("detect")
def detect(  # noqa: PLR0917 (the command's options)
    paths: Annotated[list[str], typer.Argument(metavar="VIDEO...", help="Videos, pictures, or folders of them.")],
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
    html_out: Annotated[Path | None, typer.Option("--html", metavar="OUT", help="Write a page to read.")] = None,
    small_faces: Annotated[bool, typer.Option("--small-faces", help="Look for small faces too; slower.")] = False,
    every: Annotated[int, typer.Option(min=0, help="Look at one frame in so many; 0 = as the model says.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
) -> None:
    """Judge videos: fake, real or undecided. Exit codes: 0 all answered, 3 some unreadable, 1 none, 2 wrong use."""
    from mrigan.detect import Options
    from mrigan.detect.command import run

    options = Options(pictures=image, cropped=cropped, small_faces=small_faces, every=every, device=device)
    raise typer.Exit(run(paths, model, options, json_out=json_out, html_out=html_out))


# --------------------------------------------------------------------------------------------------------------- demo


@app.command("demo")
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of all that the demo makes.")] = Path("demo"),
    people: Annotated[int, typer.Option(help="Invented people in the sample.")] = 14,
    seed: Annotated[int, typer.Option(help="Draws the sample.")] = 0,
) -> None:
    """Run the whole job on an embedded sample, from videos to a verdict; a second run reuses what is done."""
    from mrigan.demo import run_demo

    run_demo(out, people, seed)


def main() -> None:
    """Run the command; print expected errors in one piece, without a traceback."""
    try:
        app()
    except MriganError as error:
        console.print("[bold red]error:[/] ", end="")
        console.print(str(error), markup=False, highlight=False, soft_wrap=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
