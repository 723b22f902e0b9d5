"""New sqlite stores for tests, copied from one that was made once: MLflow needs a second to make its tables."""

from __future__ import annotations

import functools
import json
import shutil
import tempfile
from pathlib import Path

from safetensors.numpy import save_file

from mrigan.tracking.store import open_store


@functools.cache
def _made() -> Path:
    path = Path(tempfile.mkdtemp(prefix="mrigan-store-")) / "mlflow.db"
    open_store(f"sqlite:///{path}").search_experiments()
    return path


def new_store(path: Path) -> str:
    """Put an empty store at `path`; returns its uri."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(_made(), path)
    return f"sqlite:///{path}"


def model_folder(folder: Path) -> Path:
    """The least that may be registered."""
    folder.mkdir(parents=True)
    (folder / "model.json").write_text(json.dumps({"version": 1}))
    save_file({}, folder / "detector.safetensors")
    return folder
