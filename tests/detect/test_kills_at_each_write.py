"""Killed at each write in turn, or on a disk that fills there, a run of `mrigan detect` judges each file once, and its
results end in the same bytes."""

from __future__ import annotations

from pathlib import Path

from tests.kills import script

SCRIPT = """
import errno, json, sys
from pathlib import Path
import cv2
from skimage import data
from mrigan.detect import Options, judge
from mrigan.detect.command import NOT_WRITTEN, run
from mrigan.detect.options import Outputs
from tests.kills import same_after_each

model, root = sys.argv[1], Path(sys.argv[2])
(root / "faces").mkdir()
for n in range(3):
    cv2.imwrite(str(root / "faces" / f"{n}.png"), data.astronaut()[n : 256 + n, 96:352, ::-1])
loaded = judge.Judge(model, Options(cropped=True))

class Loaded(judge.Judge):
    def __init__(self, model, options):
        self.__dict__.update(loaded.__dict__)

import mrigan.detect.command
mrigan.detect.command.Judge = Loaded

def work(folder):
    out, journal = folder / "all.json", folder / "all.jsonl"
    code = run([str(root / "faces")], model, Options(cropped=True), Outputs(json=str(out), jsonl=journal), workers=1)
    if code == NOT_WRITTEN:
        raise OSError(errno.ENOSPC, "as was said")
    paths = [json.loads(line)["path"] for line in journal.read_text().splitlines()]
    assert code == 0 and sorted(paths) == sorted(str(path) for path in (root / "faces").iterdir()), (code, paths)

same_after_each(work, root / "kills", least=11)
for name in ("try.begun", "journal", "write.begun"):
    same_after_each(work, root / name, name, least=1, full=True)
"""


def test_at_each_write_of_verdicts(models: dict[str, Path], tmp_path: Path) -> None:
    script(SCRIPT, models["plain"], tmp_path)
