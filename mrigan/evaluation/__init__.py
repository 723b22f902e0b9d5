"""Scores in, figures out: metrics of faces and videos, the threshold search, and the report. Never touches a model."""

from mrigan.evaluation.metrics import frame_metrics, numbers
from mrigan.evaluation.scores import SCORES_SCHEMA, check_scores, read_scores, write_scores
from mrigan.evaluation.thresholds import search_thresholds
from mrigan.evaluation.videos import DEFAULT_THRESHOLDS, video_metrics, video_table, video_verdict

__all__ = [
    "DEFAULT_THRESHOLDS",
    "SCORES_SCHEMA",
    "check_scores",
    "frame_metrics",
    "numbers",
    "read_scores",
    "search_thresholds",
    "video_metrics",
    "video_table",
    "video_verdict",
    "write_scores",
]
