"""`mrigan demo`: the whole job on the embedded sample, stage by stage, each by the call that its own command makes.

Every stage decides from its own folder whether it is done, so that a second demo reuses the first, and one that was
interrupted goes on.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from mrigan.config import DetectorConfig, GanConfig, ShardsConfig, TrackingConfig, load_config
from mrigan.detect.options import Options, Outputs
from mrigan.terminal import console, say
from mrigan.tracking import list_models, promote
from mrigan.tracking.registry import SHIPPED

NAMES = {"face": "mrigan-face", "mri": "mrigan-mri"}  # a detector's input, and its name in the registry
SHOWN = {"face": "faces", "mri": "MRIs"}
SECONDS = 1.2  # of a clip: three faces; more people teach more than more of the same
SPLIT = {"train": 0.6, "val": 0.15, "test": 0.25}


def run_demo(folder: Path, people: int = 28, seed: int = 0) -> None:
    """Run all stages in `folder`, then print a table and where to look further.

    The demo has its own MLflow store in the folder: a toy must not become the champion of a real registry.
    """
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder / 'mlflow.db'}"
    say(f"$ export MLFLOW_TRACKING_URI={os.environ['MLFLOW_TRACKING_URI']}", style="dim")
    _Demo(folder, people, seed).run()


class _Demo:
    def __init__(self, folder: Path, people: int, seed: int) -> None:
        self.folder, self.people, self.seed = folder, people, seed
        self.rows: list[tuple[str, float, str]] = []
        self.shards = folder / "shards"
        self.generator = folder / "gan" / "model" / "generator.safetensors"
        self.models = {name: folder / name / "model" for name in NAMES}
        self.unseen = [folder / "sample" / "unseen" / f"{label}.mp4" for label in ("real", "fake")]

    def run(self) -> None:
        here, shards = self.folder, self.shards
        sample = f"mrigan sample {here}/sample --people {self.people} --seconds {SECONDS} --seed {self.seed}"
        self.stage("sample", sample, self.sample)
        split = f"--val {SPLIT['val']} --test {SPLIT['test']}"
        self.stage("catalog", f"mrigan catalog scan dfdc {here}/sample -o {here}/catalog.parquet {split}", self.catalog)
        plan = f"mrigan shards plan {here}/catalog.parquet -o {shards} --config shards/demo.yaml"
        self.stage("faces, MRIs, shards", f"{plan} && mrigan shards build {shards}", self.build)
        self.stage("MRI-GAN", f"mrigan train gan gan/demo.yaml {' '.join(self.gan_options())}", self.gan)
        for name in NAMES:
            command = f"mrigan train detector detector/demo.yaml {' '.join(self.detector_options(name))}"
            self.stage(f"detector on {SHOWN[name]}", command, lambda name=name: self.detector(name))  # type: ignore[misc]
        models = " ".join(f"--model {model}" for model in self.models.values())
        self.stage("evaluation", f"mrigan evaluate {models} --shards {shards} -o {here}/evaluation", self.evaluate)
        commands = [f"mrigan models promote {name} {version.version}" for name, version in self.newest().items()]
        self.stage("registry", " && ".join(commands) or "mrigan models list", self.promote)
        options = f"--model {self.judge()} --html {here}/verdict.html --json {here}/verdict.json"
        clips = " ".join(map(str, self.unseen))
        self.stage("verdict", f"mrigan detect {clips} {options}", self.verdict)
        options = f"--model {SHIPPED} --html {here}/verdict-shipped.html"
        self.stage("verdict of the shipped model", f"mrigan detect {clips} {options}", self.shipped_verdict)
        self.summary()

    def stage(self, name: str, command: str, work: Callable[[], str]) -> None:
        """Run one stage under a heading that says how to run it by hand."""
        console.rule(Text(f"{len(self.rows) + 1}. {name}", style="bold"), align="left")
        say(f"$ {command}", style="dim")
        start = time.monotonic()
        result = work()
        self.rows.append((name, time.monotonic() - start, result))

    # The stages, in the order that data flows; each returns a line for the table.

    def sample(self) -> str:
        from mrigan.sample import make_sample

        make_sample(self.folder / "sample", people=self.people, seed=self.seed, seconds=SECONDS)
        return f"{self.people} invented people"

    def catalog(self) -> str:
        from mrigan.catalog import audit, scan_catalog, summary_table, write_catalog

        catalog, _ = scan_catalog("dfdc", self.folder / "sample", fractions=SPLIT)
        write_catalog(catalog, self.folder / "catalog.parquet")
        console.print(summary_table(catalog))
        return f"{len(catalog.clips)} clips, {len(catalog.families())} families, leaks: {len(audit(catalog))}"

    def build(self) -> str:
        from mrigan.packing import build_shards, plan_shards

        plan_shards(self.folder / "catalog.parquet", load_config(ShardsConfig, "shards/demo.yaml"), self.shards)
        summary = build_shards(self.shards)
        return f"{summary.stored} faces stored, {summary.dropped.total()} dropped, {len(summary.failed)} clips failed"

    def gan_options(self) -> list[str]:
        return [f"data.shards={self.shards}", f"run.dir={self.folder / 'gan'}"]

    def gan(self) -> str:
        from mrigan.models import generator_info
        from mrigan.training.train import train

        train("gan", load_config(GanConfig, "gan/demo.yaml", self.gan_options()))
        info = generator_info(self.generator)
        return f"SSIM of held-out MRIs {float(info['ssim']):.3f}, at step {info['step']}"

    def detector_options(self, name: str) -> list[str]:
        return [f"data.input={name}", f"model.generator={self.generator}", f"data.shards={self.shards}",
                f"run.dir={self.folder / name}"]  # fmt: skip

    def detector(self, name: str) -> str:
        from mrigan.training.train import train

        train("detector", load_config(DetectorConfig, "detector/demo.yaml", self.detector_options(name)))
        thresholds = json.loads((self.models[name] / "model.json").read_text())["thresholds"]
        return f"fake when {thresholds['fraction']:.0%} of the faces are above {thresholds['frame']}"

    def evaluate(self) -> str:
        from mrigan.evaluation import headline
        from mrigan.scoring.evaluate import evaluate_models

        report = self.folder / "evaluation" / "metrics.json"
        if _newer(report, [model / "model.json" for model in self.models.values()]):
            metrics = json.loads(report.read_text())
        else:
            models = list(self.models.values())
            metrics = evaluate_models(models, [self.shards], report.parent, tracking=TrackingConfig())
        console.print(headline(metrics))
        found = {result["model"]: result for result in metrics["results"]}
        parts = [
            f"{name} {found[name]['video']['auc']:.2f} (faces {found[name]['frame']['auc']:.2f})" for name in NAMES
        ]
        return f"AUC of test videos: {', '.join(parts)}"

    def newest(self) -> dict[str, Any]:
        """The newest registered version of each detector, by its name in the registry."""
        return {version.name: version for version in reversed(list_models()) if version.name in NAMES.values()}

    def promote(self) -> str:
        for name, version in self.newest().items():
            if "champion" not in version.aliases:
                promote(name, version.version)
        registered = self.newest()
        left = [name for name in NAMES.values() if name not in registered]
        parts = [f"{name} {version.version} is champion" for name, version in registered.items()]
        return ", ".join(parts + [f"{name} is not registered: not shown to be better than chance" for name in left])

    def judge(self) -> str:
        """The model of the verdict, the detector of MRIs: from the registry, or its folder if it is not registered."""
        return f"models:/{NAMES['mri']}@champion" if NAMES["mri"] in self.newest() else str(self.models["mri"])

    def verdict(self) -> str:
        from mrigan.detect.command import run

        page, answers = self.folder / "verdict.html", self.folder / "verdict.json"
        if not _newer(page, [*self.unseen, self.models["mri"] / "model.json"]) or not answers.exists():
            paths = [str(path) for path in self.unseen]
            run(paths, self.judge(), Options(), Outputs(json=str(answers), html=page))
        said = [verdict["verdict"] for verdict in json.loads(answers.read_text())]
        return f"the unseen real clip: {said[0]}; the unseen fake: {said[1]}"

    def shipped_verdict(self) -> str:
        from mrigan.detect.command import run

        run([str(path) for path in self.unseen], SHIPPED, Options(), Outputs(html=self.folder / "verdict-shipped.html"))
        return "it learned from photographs of real people, and these are drawn"

    def summary(self) -> None:
        table = Table("stage", "seconds", "result", title="from videos to a verdict")
        table.columns[1].justify = "right"
        for name, seconds, result in self.rows:
            table.add_row(name, f"{seconds:.0f}", result)
        table.add_section()
        table.add_row("in all", f"{sum(seconds for _, seconds, _ in self.rows):.0f}", "invented people: no benchmark")
        console.print(table)
        newest = max((self.folder / "gan" / "pictures").glob("*.png"))
        for what, where in {
            "the verdict": self.folder / "verdict.html",
            "the evaluation": self.folder / "evaluation" / "index.html",
            "faces, true and predicted MRIs": newest,
            "all runs": f"mlflow ui --backend-store-uri {os.environ['MLFLOW_TRACKING_URI']}",
            "your own video": "mrigan detect VIDEO --html verdict.html",
        }.items():
            say(f"{what:>32}: {where}")


def _newer(result: Path, sources: list[Path]) -> bool:
    """Whether `result` is there and was made after all `sources`."""
    return result.exists() and all(result.stat().st_mtime_ns > source.stat().st_mtime_ns for source in sources)
