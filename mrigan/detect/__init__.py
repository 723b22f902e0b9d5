"""A video in, a verdict out: JSON, report page, the MLflow pyfunc."""

from mrigan.detect.judge import Judge, Judged, Options, detect_paths
from mrigan.detect.verdict import SCHEMA_VERSION

__all__ = ["SCHEMA_VERSION", "Judge", "Judged", "Options", "detect_paths"]
