"""What a run logs, MLflow, and the model registry."""

from mrigan.tracking.provenance import code_version, environment
from mrigan.tracking.registry import list_models, promote, register, register_run, resolve
from mrigan.tracking.run import Run, is_tracked, send
from mrigan.tracking.store import tracking_uri

__all__ = [
    "Run",
    "code_version",
    "environment",
    "is_tracked",
    "list_models",
    "promote",
    "register",
    "register_run",
    "resolve",
    "send",
    "tracking_uri",
]
