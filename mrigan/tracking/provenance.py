"""What a result depends on besides its config: the code and the packages."""

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

# What a model needs to judge a video, and what its training needs besides.
MODEL_PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "facenet-pytorch",
    "av",
    "numpy",
    "opencv-python-headless",
    "safetensors",
    "mlflow",
)
PACKAGES = (*MODEL_PACKAGES, "pyarrow", "scikit-image", "deepspeed")


@functools.cache
def code_version() -> str:
    """`git describe` of the clone that this package lies in (`-dirty` when files differ), or the package's version."""
    return _git("describe", "--always", "--dirty", "--abbrev=12") or f"mrigan {__version__}"


@functools.cache
def source_tags() -> dict[str, str]:
    """The tags by which MLflow shows where a run comes from: command, commit and user; what is unknown is left out."""
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    commit = _git("rev-parse", "HEAD")
    tags = {"mlflow.source.name": command, "mlflow.source.type": "LOCAL", "mlflow.source.git.commit": commit}
    with contextlib.suppress(OSError, KeyError):  # a container's user may have no name
        tags["mlflow.user"] = getpass.getuser()
    return {key: value for key, value in tags.items() if value}


def _git(*words: str) -> str:
    """What git says of the clone that this package lies in; "" where there is no clone, or no git."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return ""
    try:
        return subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, timeout=20, check=True
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):  # no git here, or a clone that git refuses
        return ""


@functools.cache
def environment() -> dict[str, str]:
    """Python, the platform and the versions of the packages that a result may depend on; absent ones are left out."""
    found = {"python": platform.python_version(), "platform": platform.platform(), "mrigan": __version__}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
