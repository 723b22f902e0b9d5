"""Killed at each write in turn, or on a disk that fills there, an evaluation ends in the same bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kills import script

SCRIPT = """
import json, sys
from pathlib import Path
from mrigan.evaluation import evaluate_files, report, write_scores
from mrigan.evaluation.output_folder import EVALUATION, try_folder
from tests.evaluation.tables import random_table
from tests.kills import same_after_each

root = Path(sys.argv[1])
write_scores(random_table(videos=(("val", 6), ("test", 6))), root / "scores.parquet")
measured, drawn = [], {}  # once, in the process that all others are forked from
measure, draw = report.measure, report._figures
report.measure = lambda *given: measured or measured.extend(measure(*given)) or measured
report._figures = lambda some: drawn.get(some[0].split) or drawn.setdefault(some[0].split, draw(some))

def work(folder):
    try_folder(folder, EVALUATION)
    evaluate_files([root / "scores.parquet"], folder)

def see(folder):
    if (folder / "metrics.json").exists():  # the last
        assert json.loads((folder / "metrics.json").read_text())["results"]
        assert (folder / "index.html").exists()

work(root / "loaded")
if sys.argv[2] == "all":
    same_after_each(work, root / "kills", "write", least=60, see=see)
    same_after_each(work, root / "full", "write.begun", least=20, full=True, see=see)
else:  # what is on the disk at the other points is the same, but for one
    same_after_each(work, root / "kills", "write.done", least=20, see=see)
"""


@pytest.mark.parametrize("points", ["some", pytest.param("all", marks=pytest.mark.faults)])
def test_at_each_write_of_an_evaluation(tmp_path: Path, points: str) -> None:
    script(SCRIPT, tmp_path, points)
