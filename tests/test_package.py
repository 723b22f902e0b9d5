"""`pip install .` gives a whole product: the command, the library, the configs and the launch scripts."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.training.runs import write_tiny_shards


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run([sys.executable, "-m", "pip", *command], check=True)
    return next(folder.glob("mrigan-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of a new environment that holds our wheel, and sees the packages installed here but not our clone."""
    folder = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    command = ["install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), *command], check=True)
    # A .pth file adds the folder behind our own, and does not read the .pth of our editable install in it.
    site = next(folder.glob("lib/python*/site-packages"))
    (site / "others.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return folder / "bin"


def test_the_wheel_holds_one_package_and_its_data(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"mrigan", next(top for top in tops if top.endswith(".dist-info"))}
    ours = [path for path in (ROOT / "mrigan").rglob("*") if path.suffix in (".py", ".html", ".css")]
    sources = [path.relative_to(ROOT).as_posix() for path in ours]
    beside = [*(ROOT / "configs").rglob("*.yaml"), *(ROOT / "launch").glob("*.py"), *(ROOT / "shards").glob("*.py")]
    beside += [path for path in (ROOT / "slurm").iterdir() if path.is_file()]
    moved = [f"mrigan/{path.relative_to(ROOT).as_posix()}" for path in beside]
    assert not {*sources, *moved, "mrigan/py.typed"} - set(names)


def run(command: list[str | Path], folder: Path) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    words = [str(word) for word in command]
    result = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("by", ["command", "launch page"])
def test_what_is_installed_trains_outside_the_clone(installed: Path, by: str, tmp_path: Path) -> None:
    where = run([installed / "python", "-c", "import mrigan; print(mrigan.__file__)"], tmp_path)
    assert where.startswith(str(installed.parent))
    start: dict[str, list[str | Path]] = {
        "command": [installed / "mrigan", "train", "gan"],
        "launch page": [installed / "python", "-m", "mrigan.launch.train_gan"],
    }
    shards = write_tiny_shards(tmp_path / "shards")
    options = [f"data.shards={shards}", "run.dir=run", "train.steps=2", "checkpoint.every=2", "tracking.enabled=false"]
    run([*start[by], "gan/cpu-smoke.yaml", *options], tmp_path)
    assert (tmp_path / "run" / "checkpoints" / "step-000002" / "generator.safetensors").is_file()


def test_help_is_light(tmp_path: Path) -> None:
    code = "import sys, mrigan.cli; print([m for m in ('torch', 'mlflow', 'timm', 'cv2', 'av') if m in sys.modules])"
    assert run([sys.executable, "-c", code], tmp_path).strip() == "[]"
