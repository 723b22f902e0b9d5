"""Every command of the users' pages is run, in a folder like a clone, on a sample in place of the public data sets."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from mrigan.cli.app import app
from mrigan.tracking import promote, register
from tests.conftest import ROOT

pytestmark = pytest.mark.timeout(900)  # a machine may be busy

IN_A_CLONE = ("launch", "shards", "configs", "slurm")
STEPS = ["train.batch_size=2", "train.steps=2", "checkpoint.every=2"]
SMALL = {  # what makes a command small, by its beginning
    "mrigan shards build mri-df": ["--workers", "1"],
    "mrigan train gan": [*STEPS, "eval.every=2", "eval.samples=2", "model.width=4"],
    "mrigan train detector": [*STEPS, "data.workers=0"],
    "mrigan evaluate": ["--workers", "0"],
    "mrigan evaluate --robustness": ["--faces", "2"],
    "mrigan doctor": STEPS,
    "torchrun": [*STEPS, "eval.every=2", "eval.samples=2", "model.width=4"],
}


INVENTED = {"mrigan/catalog/readers/my_set.py", "mrigan/mri/ratio.py"}  # what a reader of extending.md writes


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.stem)
def test_the_files_and_constants_that_a_page_names_are_there(page: Path) -> None:
    text = page.read_text()
    folders = "mrigan|tests|launch|benchmarks|examples|slurm"
    files = set(re.findall(rf"(?<![\w/.-])(?:{folders})/[\w/-]+\.(?:py|sbatch|sh)\b", text)) - INVENTED
    assert sorted(file for file in files if not (ROOT / file).is_file()) == []
    constants = re.findall(r"`([A-Z][A-Z_]+)`\s\(?in\s`(mrigan/[\w/]+\.py)`", text)
    assert [name for name, file in constants if not re.search(rf"^{name}\b", (ROOT / file).read_text(), re.M)] == []


def commands(page: str) -> list[str]:
    """The commands before the first section of a page in docs/, a line each, without their comments."""
    text = (ROOT / "docs" / page).read_text().split("\n## ")[0].replace("\\\n", " ")
    lines = [line[4:] for line in text.splitlines() if line.startswith("    ")]
    return [line for line in (re.sub(r"(^|\s+)#.*", "", line).strip() for line in lines) if line]


class Clone:
    """A folder in which a user types the commands."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in IN_A_CLONE:
            (folder / name).symlink_to(ROOT / name)
        self.instead: dict[str, str] = {"--nproc-per-node 8": "--nproc-per-node 2", "--workers 32": "--workers 1"}

    def run(self, line: str) -> str:
        """Run a command as it is written, but for `instead` and what makes it small."""
        more = [words for start, words in SMALL.items() if line.startswith(start)]
        for written, instead in self.instead.items():
            line = line.replace(written, instead)
        words = [*shlex.split(line), *(more[-1] if more else [])]
        if words[0] == "mrigan":
            result = CliRunner().invoke(app, words[1:], catch_exceptions=False)
            assert result.exit_code == 0, (line, result.output)
            return result.output
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
        start = {"python": [], "torchrun": ["-m", "torch.distributed.run"]}[words[0]]
        words = [sys.executable, *start, *words[1:]]
        done = subprocess.run(words, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        return done.stdout


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    folder = tmp_path_factory.mktemp("clone")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.chdir(folder)
        yield Clone(folder)


@pytest.fixture(scope="module")
def researched(clone: Clone) -> Clone:
    """What the page for researchers shows has been done."""
    clone.run("mrigan sample dfdc --people 6 --seconds 0.8")
    clone.instead["/data/dfdc"] = "dfdc"
    backbone = timm.create_model("tf_efficientnet_b0.ns_jft_in1k", pretrained=False)
    save_file(backbone.state_dict(), "efficientnet_b0.safetensors")
    lines = commands("research.md")
    for line in lines:
        if line.startswith("mrigan "):
            clone.run(line)
    python = "\n".join(line for line in lines if not line.startswith("mrigan "))
    pictures = torch.zeros(2, 3, 256, 256, dtype=torch.uint8)
    names: dict[str, Any] = {"original": pictures, "fake": pictures, "faces": pictures.permute(0, 2, 3, 1).numpy()}
    exec(python, names)
    assert names["probs"].shape == (2,)
    assert names["mri"].count_nonzero() == 0
    return clone


def test_a_researcher(researched: Clone) -> None:
    assert (researched.folder / "preview").is_dir()
    for page in ("index.html", "robustness.html", "gan.html"):
        assert (researched.folder / "report" / page).is_file(), page


def test_on_a_cluster(researched: Clone) -> None:
    lines = commands("training.md")
    for line in lines:
        if line.startswith("sbatch"):  # run by the tests of slurm/
            assert (ROOT / "slurm" / "train.sbatch").is_file()
            assert "slurm/train.sbatch gan gan/paper.yaml" in line
        else:
            researched.run(line)
    assert len(lines) == 4
    assert (researched.folder / "runs" / "gan-8" / "model" / "generator.safetensors").is_file()


def test_on_a_storage_node(researched: Clone, tmp_path: Path) -> None:
    researched.instead |= {"/data/shards": str(tmp_path / "node"), "s3://bucket/set": f"file://{tmp_path}/set"}
    researched.run("mrigan shards plan catalog.parquet -o s3://bucket/set")
    lines = [line for line in commands("storage.md") if not line.startswith("sbatch")]
    for line in lines:
        researched.run(line)
    assert (tmp_path / "shards.png").exists() or (researched.folder / "shards.png").is_file()
    assert (tmp_path / "set" / "manifest.json").is_file()


def test_who_has_a_video(researched: Clone, tmp_path: Path) -> None:
    promote("mrigan-face", register("runs/face/model", "mrigan-face"))
    researched.instead["VIDEO"] = "dfdc/unseen/fake.mp4"
    (researched.folder / "clips" / "deep").mkdir(parents=True)
    (researched.folder / "clips" / "deep" / "a.mp4").symlink_to(researched.folder / "dfdc" / "unseen" / "real.mp4")
    (researched.folder / "list.txt").write_text("dfdc/unseen/fake.mp4\n")
    for line in commands("verdicts.md"):
        if line.startswith("mrigan "):
            researched.run(line)
    for made in ("verdict.html", "verdict.json"):
        assert (researched.folder / made).is_file()
    assert len((researched.folder / "verdicts.jsonl").read_text().splitlines()) == 2
