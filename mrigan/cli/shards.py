"""`mrigan shards`."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from mrigan.cli.options import ForceOption
from mrigan.terminal import echo, echo_json

if TYPE_CHECKING:
    from mrigan.files import Output

INPUTS = ("size", "content")
app = typer.Typer(no_args_is_help=True, help="Faces and MRIs in WebDataset tar shards: plan, build, verify.")


ShardFolder = Annotated[str, typer.Argument(metavar="DIR|URL", help="The shard set.")]
ScratchOption = Annotated[str, typer.Option(help="Local folder for copies from a URL; default: the system's.")]
SecondsOption = Annotated[
    float | None,
    typer.Option(
        min=0,
        metavar="SECONDS",
        help="A clip that takes longer is a failed row; 0 = no limit; default: as planned.",
    ),
]
WorkersOption = Annotated[int, typer.Option(min=0, help="0 = one per CPU core.")]
JsonOption = Annotated[
    str | None, typer.Option("--json", metavar="OUT", help="Write the result as JSON; - = print it.")
]


@app.command("plan")
def shards_plan(
    catalog: Annotated[Path, typer.Argument(help="Made by `mrigan catalog scan`.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Settings, such as pack.kind=faces."),
    ] = None,
    *,
    out: Annotated[str, typer.Option("--out", "-o", metavar="DIR|URL", help="The shard folder.")],
    config: Annotated[str, typer.Option(help="A YAML file, or a shipped one by name.")] = "shards/pairs.yaml",
) -> None:
    """Decide which families go into which shard. The same plan again changes nothing; another plan is refused."""
    from mrigan.config import ShardsConfig, load_config
    from mrigan.packing.open_store import planned
    from mrigan.packing.record import absent_inputs

    with planned(catalog, load_config(ShardsConfig, config, overrides), out) as plan:
        for line in plan.lines():
            echo(line)
        absent = absent_inputs(plan)
    if absent:
        echo(f"{absent} clips are missing now; they become failed rows unless they exist when the set is built")
    echo(f"next: mrigan shards build {out}")


@app.command("preview")
def shards_preview(
    catalog: Annotated[str, typer.Argument(help="Made by `mrigan catalog scan`; or `sample`, the embedded one.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Settings, such as recipe.share=0.3.")
    ] = None,
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder for the pictures.")],
    config: Annotated[str, typer.Option(help="A YAML file, or a shipped one by name.")] = "shards/mri-df.yaml",
    families: Annotated[int, typer.Option(min=1, help="Number of families shown with their pairs.")] = 4,
    force: ForceOption = False,
) -> None:
    """Contact sheets of a set before it is built: noise, augmentation, distraction, pairs, self-blends."""
    from mrigan.catalog import read_catalog, scan_catalog
    from mrigan.config import ShardsConfig, load_config
    from mrigan.packing.preview import write_preview
    from mrigan.sample import make_sample

    settings = load_config(ShardsConfig, config, overrides)
    with TemporaryDirectory() as folder:
        if catalog == "sample":
            clips, _ = scan_catalog("dfdc", make_sample(Path(folder) / "sample", people=4, seconds=1.0))
        else:
            clips = read_catalog(catalog)
        for path in write_preview(clips, settings, out, families, force):
            echo(path)


@app.command("build")
def shards_build(
    out: Annotated[str, typer.Argument(metavar="DIR|URL", help="Where the plan is.")],
    *,
    workers: WorkersOption = 0,
    task: Annotated[int | None, typer.Option(min=0, help="Build one slice of the plan, without a manifest.")] = None,
    of: Annotated[int, typer.Option(min=1, help="Number of slices for --task.")] = 1,
    distributor: Annotated[str, typer.Option(help="pool: processes of this machine. ray: a Ray cluster.")] = "pool",
    ray_address: Annotated[str, typer.Option(metavar="HOST:PORT", help="Of Ray; default: the cluster it finds.")] = "",
    skip_deadly: Annotated[
        bool, typer.Option("--skip-deadly", help="A family that kills every worker becomes failed rows.")
    ] = False,
    seconds_per_file: SecondsOption = None,
    scratch: Annotated[str, typer.Option(help="Local folder for files that go to a URL; default: the system's.")] = "",
    metric: Annotated[
        str, typer.Option(metavar="NAME", help="Build DIR-NAME beside DIR: the same faces with MRIs of this metric.")
    ] = "",
    weights: Annotated[Path | None, typer.Option(metavar="FILE", help="Weights of that metric (lpips, dists).")] = None,
) -> None:
    """Build what is missing of a plan. Exit code 75: stopped by a signal; the same command continues."""
    from mrigan.packing import WorkerPool, build_shards, build_slice, plan_from
    from mrigan.packing.log import show_log

    if task is None and of > 1:
        raise typer.BadParameter("--of needs --task, the number of the slice")
    if weights and not metric:
        raise typer.BadParameter("--weights needs --metric")
    show_log()
    if metric:
        settings = [f"mri.metric={metric}", *([f"mri.weights={weights.resolve()}"] if weights else [])]
        folder = Path(out)
        out = str(plan_from(folder, settings, folder.with_name(f"{folder.resolve().name}-{metric}")).folder)
        echo(f"building {out}")
    pool = WorkerPool(distributor, workers, ray_address, skip_deadly, seconds_per_file)
    if task is None:
        lines = build_shards(out, pool=pool, scratch=scratch).lines()
    else:
        lines = build_slice(out, task, of, pool=pool, scratch=scratch).lines()
    for line in lines:
        echo(line)


@app.command("watch")
def shards_watch(
    out: Annotated[str, typer.Argument(metavar="DIR|URL", help="Where the plan is.")],
    *,
    once: Annotated[bool, typer.Option("--once", help="Print the progress once, and exit.")] = False,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two views.")] = 5.0,
) -> None:
    """Follow a build over all its workers and nodes. Ends with the build, or by Ctrl-C."""
    from mrigan.packing.watch import Watch
    from mrigan.packing.watch_view import follow

    watch = Watch(out)
    for line in (watch.look() if once else follow(watch, every)).lines():
        echo(line)


class _VerifyCommand(TyperCommand):
    """Takes `--inputs` without a value as `--inputs=size`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        following = [*args[1:], ""]
        alone = (word == "--inputs" and after not in INPUTS for word, after in zip(args, following, strict=True))
        return super().parse_args(
            ctx, ["--inputs=size" if one else word for word, one in zip(args, alone, strict=True)]
        )


@app.command("verify", cls=_VerifyCommand)
def shards_verify(
    out: ShardFolder,
    *,
    sample: Annotated[bool, typer.Option("--sample", help="Check only sizes and some samples of each shard.")] = False,
    inputs: Annotated[
        str,
        typer.Option(
            "--inputs",
            metavar="[size|content]",
            help="Check also that the clips are still those of the samples. size (also without a value): the "
            "contents of clips whose size or time changed. content: every byte of every clip.",
        ),
    ] = "",
    workers: WorkersOption = 0,
    scratch: ScratchOption = "",
    json_out: JsonOption = None,
    force: ForceOption = False,
) -> None:
    """Check every shard and sample against what was written; exit code 1 and a list if something is wrong."""
    from mrigan.packing import check_shards

    json_to = _json_output(json_out, force)
    check = check_shards(out, full=not sample, workers=workers, inputs=inputs, scratch=scratch)
    _report(check.as_dict(), check.lines(), json_to)
    if not check.ok:
        raise typer.Exit(1)


@app.command("repair")
def shards_repair(
    out: ShardFolder,
    *,
    only_failed: Annotated[
        bool, typer.Option("--only-failed", help="Leave units alone that no build has made yet.")
    ] = False,
    sample: Annotated[bool, typer.Option("--sample", help="Look for damage as verify --sample does.")] = False,
    workers: WorkersOption = 0,
    seconds_per_file: SecondsOption = None,
    scratch: ScratchOption = "",
    json_out: JsonOption = None,
    force: ForceOption = False,
) -> None:
    """Rebuild the units with damaged or missing files, or with clips that could not be read; nothing else.

    Exit code 1: something damaged is left. 75: stopped by a signal; the same command continues.
    """
    from mrigan.packing import repair_shards
    from mrigan.packing.log import show_log

    show_log()
    json_to = _json_output(json_out, force)
    repair = repair_shards(
        out, only_failed=only_failed, full=not sample, workers=workers, scratch=scratch,
        seconds_per_file=seconds_per_file,
    )  # fmt: skip
    _report(repair.as_dict(), repair.lines(), json_to)
    if not repair.ok:
        raise typer.Exit(1)


@app.command("landmarks")
def shards_landmarks(
    out: Annotated[str, typer.Argument(metavar="DIR", help="A finished shard set, whose clips still exist.")],
    *,
    source: Annotated[
        str, typer.Option(help="mesh: 468 points. dlib: 68 points, for research only (pip install mrigan[dlib]).")
    ] = "mesh",
    workers: WorkersOption = 0,
) -> None:
    """Find landmarks for a set that was built without them, as tables beside its shards.

    Another call finds what is missing. Exit code 1: some units were given up. 75: stopped by a signal; the same command
    continues.
    """
    from mrigan.packing.landmark_worker import FINDERS
    from mrigan.packing.landmarks import find_landmarks
    from mrigan.packing.log import show_log

    if source not in FINDERS:
        raise typer.BadParameter(f"no source {source!r}; one of: {', '.join(FINDERS)}")
    show_log()
    report = find_landmarks(out, source, workers)
    for line in report.lines():
        echo(line)
    if not report.ok:
        raise typer.Exit(1)


@app.command("stats")
def shards_stats(
    out: ShardFolder,
    *,
    figure: Annotated[Path | None, typer.Option(metavar="PNG", help="Draw a figure.")] = None,
    scratch: ScratchOption = "",
    json_out: JsonOption = None,
    force: ForceOption = False,
) -> None:
    """What a set holds by data set, method, compression, split and label, and what gives the label away."""
    from mrigan.outputs import PICTURE, own_output
    from mrigan.packing import shard_stats
    from mrigan.packing.stats_view import draw, show

    json_to = _json_output(json_out, force)
    figure_to = own_output(figure, PICTURE, force) if figure is not None else None
    stats = shard_stats(out, scratch)
    if figure_to is not None:
        with figure_to.writing() as file:
            file.write(draw(stats))
    _report(stats.as_dict(), show(stats), json_to)


def _json_output(json_out: str | None, force: bool) -> Output | str | None:
    """The destination of the JSON, checked before the work starts; `-` is returned as it is."""
    from mrigan.outputs import REPORT, own_output

    return json_out if json_out is None or json_out == "-" else own_output(json_out, REPORT, force)


def _report(data: dict[str, Any], lines: list[str], json_to: Output | str | None) -> None:
    """Lines for a person, and JSON into a file; `-` prints the JSON instead of the lines."""
    from mrigan.files import write_json

    if json_to == "-":
        echo_json(data)
        return
    if json_to is not None:
        write_json(json_to, data)
    for line in lines:
        echo(line)
