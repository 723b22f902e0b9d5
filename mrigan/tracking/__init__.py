"""MLflow runs and the model registry."""

from mrigan.tracking.provenance import code_version, environment
from mrigan.tracking.registry import list_models, promote, register, register_run, resolve
from mrigan.tracking.run import Run, send
from mrigan.tracking.spool import SPOOL
from mrigan.tracking.store import tracking_uri

__all__ = [
    "SPOOL",
    "Run",
    "code_version",
    "environment",
    "list_models",
    "promote",
    "register",
    "register_run",
    "resolve",
    "send",
    "tracking_uri",
]
