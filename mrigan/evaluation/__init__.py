"""Scores in, figures out: metrics of faces and videos, the threshold search, and the report. Never touches a model."""

from mrigan.evaluation.headline import data_set_tables, headline, training_lines
from mrigan.evaluation.metrics import frame_metrics, numbers
from mrigan.evaluation.report import evaluate, evaluate_files
from mrigan.evaluation.schema import SCORES_SCHEMA
from mrigan.evaluation.scores import check_scores, read_scores, write_scores
from mrigan.evaluation.thresholds import parse_thresholds, search_thresholds
from mrigan.evaluation.videos import DEFAULT_THRESHOLDS, video_metrics, video_table, video_verdict

__all__ = [
    "DEFAULT_THRESHOLDS",
    "SCORES_SCHEMA",
    "check_scores",
    "data_set_tables",
    "evaluate",
    "evaluate_files",
    "frame_metrics",
    "headline",
    "numbers",
    "parse_thresholds",
    "read_scores",
    "search_thresholds",
    "training_lines",
    "video_metrics",
    "video_table",
    "video_verdict",
    "write_scores",
]
