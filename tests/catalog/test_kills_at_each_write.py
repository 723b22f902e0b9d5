"""Killed at each write in turn, or on a disk that fills there, catalogs end in the same bytes."""

from __future__ import annotations

from pathlib import Path

from tests.kills import script

SCRIPT = """
import sys
from pathlib import Path
from mrigan.catalog import read_catalog
from mrigan.cli.catalog import catalog_merge, catalog_scan
from tests.kills import same_after_each

root = Path(sys.argv[1])
for name in "ab":
    (root / f"{name}.csv").write_text("path,label,dataset\\n" + "".join(
        f"{name}{n}.mp4,{('real', 'fake')[n % 2]},{name}\\n" for n in range(8)))
    for n in range(8):
        (root / f"{name}{n}.mp4").touch()

def work(folder):
    for name in "ab":
        catalog_scan(reader="manifest", root=root / f"{name}.csv", out=folder / f"{name}.parquet")
    catalog_merge(catalogs=[folder / "a.parquet", folder / "b.parquet"], out=folder / "all.parquet")

def see(folder):
    for path in folder.glob("*.parquet"):
        read_catalog(path)

def start(folder):  # in place of another
    catalog_scan(reader="manifest", root=root / "b.csv", out=folder / "all.parquet")

same_after_each(work, root / "kills", least=12, start=start, see=see)
for name in ("try.begun", "write.begun"):
    same_after_each(work, root / name, name, least=3, full=True, start=start, see=see)
"""


def test_at_each_write_of_catalogs(tmp_path: Path) -> None:
    script(SCRIPT, tmp_path)
