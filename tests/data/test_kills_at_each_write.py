"""Killed at each write in turn, or on a disk that fills there, a file that is staged ends in the same bytes."""

from __future__ import annotations

from pathlib import Path

from tests.kills import script

SCRIPT = """
import hashlib, sys
from pathlib import Path
from mrigan.storage import Storage, fetch, urls
from tests.kills import same_after_each

root = Path(sys.argv[1])
urls.CHUNK_BYTES = 1000
data = bytes(range(250)) * 14
(root / "there").mkdir()
(root / "there" / "a.tar").write_bytes(data)

def work(folder):
    fetch(Storage(str(root / "there")), "a.tar", folder / "a.tar", size=len(data),
          sha256=hashlib.sha256(data).hexdigest())

def start(folder):
    folder.mkdir(parents=True)

same_after_each(work, root / "kills", least=6, start=start)
same_after_each(work, root / "full", "fetch.part", least=4, full=True, start=start)
"""


def test_at_each_write_of_a_staged_file(tmp_path: Path) -> None:
    script(SCRIPT, tmp_path)
