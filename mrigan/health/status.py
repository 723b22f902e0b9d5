"""`run.dir/status.json`: the state of a run, for scripts and people. The checkpoints do not depend on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mrigan.checked_json import read_checked_json, write_checked_json
from mrigan.errors import CheckpointError

NAME = "status.json"
TYPES: dict[str, type | tuple[type, ...]] = {
    "state": str,
    "step": int,
    "error": (str, type(None)),
    "retry": bool,
    "mlflow_run_id": (str, type(None)),
}


def write_status(run: Path, status: dict[str, Any]) -> None:
    """Replace the file atomically; it contains a checksum of its values."""
    write_checked_json(run / NAME, status)


def read_status(run: Path) -> dict[str, Any]:
    """The values of the file; {} if there is none.

    Raises:
        CheckpointError: the file is damaged.
    """
    try:
        status, _ = read_checked_json(run / NAME)
        for key, expected in TYPES.items():
            if key in status and (not isinstance(status[key], expected) or (status[key] is True and expected is int)):
                raise ValueError(f"{key} is {status[key]!r}")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{NAME} cannot be read: {error}", where=run, fix="remove it; the checkpoints do not depend on it"
        ) from None
    return status
