"""`pip install .` gives a whole product: the command, the library, the configs and the launch scripts."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
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


def environment(folder: Path, *what: str) -> Path:
    """The `bin` of a new environment that holds `what`, and sees the packages installed here but not our clone."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    # A .pth file adds folders behind our own, and does not read the .pth of our editable install in them.
    site = next(folder.glob("lib/python*/site-packages"))
    (site / "others.pth").write_text("\n".join(path for path in sys.path if Path(path).name == "site-packages"))
    command = ["install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--ignore-installed", *what]
    subprocess.run([sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), *command], check=True)
    return folder / "bin"


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return environment(tmp_path_factory.mktemp("venv"), str(wheel))


def test_the_wheel_holds_one_package_and_its_data(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"mrigan", next(top for top in tops if top.endswith(".dist-info"))}
    ours = [path for path in (ROOT / "mrigan").rglob("*") if path.suffix in (".py", ".pyi", ".html", ".css")]
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


def test_a_clone_is_imported_from_the_folder_above_it(tmp_path: Path) -> None:
    """There, Python finds a folder `mrigan` first, and would take it for an empty package."""
    clone = tmp_path / "mrigan"
    clone.mkdir()
    for name in ("mrigan", "configs", "launch", "shards", "slurm"):
        shutil.copytree(ROOT / name, clone / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, clone / name)
    python = environment(tmp_path / "venv", "--editable", str(clone)) / "python"
    code = (
        "import mrigan, mrigan.launch.train_gan; from mrigan.config import config_path; "
        "print(mrigan.__file__, config_path('gan/paper.yaml'))"
    )
    for folder in (tmp_path, clone, clone / "mrigan"):
        module, config = run([python, "-c", code], folder).split()
        assert Path(module) == clone / "mrigan" / "__init__.py"
        assert Path(config).resolve() == clone / "configs" / "gan" / "paper.yaml"


def test_help_is_light(tmp_path: Path) -> None:
    code = "import sys, mrigan.cli; print([m for m in ('torch', 'mlflow', 'timm', 'cv2', 'av') if m in sys.modules])"
    assert run([sys.executable, "-c", code], tmp_path).strip() == "[]"
