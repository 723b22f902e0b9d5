"""What a result depends on besides its config: the code and the packages."""

from __future__ import annotations

import functools
import platform
import subprocess
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
    root = Path(__file__).parents[2]
    if (root / ".git").exists():
        command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
        try:
            return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.strip()
        except (OSError, subprocess.SubprocessError):  # no git here, or a clone that git refuses
            pass
    return f"mrigan {__version__}"


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
