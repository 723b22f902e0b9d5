"""New sqlite stores for tests, copied from one that was made once: MLflow needs a second to make its tables."""

from __future__ import annotations

import functools
import shutil
import tempfile
from pathlib import Path

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
