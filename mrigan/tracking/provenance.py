"""The versions of the code and the packages that a result depends on."""

from __future__ import annotations

import contextlib
import functools
import getpass
import platform
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from mrigan import __version__

MODEL_PACKAGES = ("torch", "torchvision", "timm", "facenet-pytorch", "av", "numpy", "opencv-python-headless",
                  "safetensors", "mlflow")  # fmt: skip  # a model needs them to judge a video
PACKAGES = (*MODEL_PACKAGES, "pyarrow", "scikit-image", "deepspeed")


@functools.cache
def code_version() -> str:
    """`git describe` of the clone of this package (`-dirty` if files differ), or the package's version."""
    return _git("describe", "--always", "--dirty", "--abbrev=12") or f"mrigan {__version__}"


@functools.cache
def source_tags() -> dict[str, str]:
    """MLflow's tags for the origin of a run: command, commit and user; unknown values are left out."""
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    commit = _git("rev-parse", "HEAD")
    tags = {"mlflow.source.name": command, "mlflow.source.type": "LOCAL", "mlflow.source.git.commit": commit}
    with contextlib.suppress(OSError, KeyError):  # a container's user may have no name
        tags["mlflow.user"] = getpass.getuser()
    return {key: value for key, value in tags.items() if value}


def _git(*words: str) -> str:
    """The output of a git command in the clone of this package; "" without a clone or without git."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return ""
    try:
        return subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, timeout=20, check=True
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):  # no git, or git refuses the clone
        return ""


@functools.cache
def environment() -> dict[str, str]:
    """The versions of Python, the platform and the packages that a result may depend on, without missing packages."""
    versions = {"python": platform.python_version(), "platform": platform.platform(), "mrigan": __version__}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions
