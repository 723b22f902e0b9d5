"""A name that looks like markup, an emoji code, a formula or a line of ours, through each command that prints names."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from mrigan.cli.app import app
from mrigan.text import printable
from mrigan.tracking.registry import Version
from tests.evaluation.tables import random_table
from tests.packing.videos import portraits

WORD = "=c|[/x][b]:smile:\u202eg"  # of a data set or method: no control character is let in there
FOLDER = "[x]\x1b[31m\u202e:smile:\nerror: forged"  # anything but a slash


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder; in `FOLDER` a real and a fake face."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/none.db")
    folder = tmp_path / FOLDER
    folder.mkdir()
    rows = [["path", "label", "dataset", "method", "split"]]
    for number, (label, portrait) in enumerate(zip(("real", "fake"), portraits(), strict=True)):
        (x0, y0, x1, y1), name = portrait.face, f"{number}{WORD.replace('/', '')}.png"
        cv2.imwrite(str(folder / "a.png"), portrait.image[y0:y1, x0:x1, ::-1])
        (folder / "a.png").rename(folder / name)
        rows.append([name, label, WORD, WORD, "train"])
    with open(folder / "m.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows)
    return tmp_path


def shown(*words: str, code: int = 0, names: tuple[str, ...] = (WORD,)) -> str:
    """What a command prints: each of the names, and nothing that steers a terminal or begins a line of its own."""
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == code, done.output + repr(done.exception)
    text = done.output
    assert printable(text, keep="\n") == text
    assert not any(line.startswith("error: forged") for line in text.splitlines())
    for name in names:
        assert printable(name) in text
    return text


def test_from_a_catalog_to_shards(root: Path) -> None:
    folder, catalog, shards = f"{root}/{FOLDER}", f"{root}/{FOLDER}/c.parquet", f"{root}/{FOLDER}/shards"
    both = (WORD, FOLDER)
    shown("catalog", "scan", "manifest", f"{folder}/m.csv", "-o", catalog, names=both)
    shown("catalog", "show", catalog, names=both)
    shown("catalog", "audit", catalog, names=(FOLDER,))
    settings = ("--config", "shards/faces.yaml", "faces.cropped=true")
    shown("shards", "plan", catalog, *settings, "-o", shards, names=(FOLDER,))
    shown("shards", "build", shards, "--workers", "1", names=())
    shown("shards", "watch", shards, "--once", names=())
    shown("shards", "stats", shards)
    assert json.loads(shown("shards", "stats", shards, "--json", "-"))
    next(Path(shards).rglob("*.tar")).write_bytes(b"x")
    shown("shards", "verify", shards, code=1, names=())
    shown("shards", "repair", shards, "--workers", "1", names=())
    shown("shards", "preview", catalog, "--families", "1", "-o", f"{folder}/preview", names=(FOLDER,))


def test_tables_of_an_evaluation(root: Path) -> None:
    scores = random_table(models=[WORD], videos=[("test", 4)])
    for name in ("dataset", "method"):
        scores = scores.set_column(scores.column_names.index(name), name, [[WORD] * len(scores)])
    pq.write_table(scores, root / "scores.parquet")
    words = ("--scores", "scores.parquet", "-o", FOLDER)
    shown("evaluate", *words, names=(WORD, FOLDER))
    page = (root / FOLDER / "index.html").read_text()
    assert printable(page, keep="\n") == page
    assert "=c|[/x][b]:smile:\\u202eg" in page
    with open(root / FOLDER / "tables" / "test" / "sources.csv", newline="") as file:
        sources = list(csv.reader(file))
    assert {row[0] for row in sources[1:]} == {f"'{WORD}"}  # a spreadsheet would run it


def test_registered_models(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    version = Version(f"{WORD}\n", 1, (f"{WORD}\x1b",), None, 0.0, {})
    monkeypatch.setattr("mrigan.tracking.list_models", lambda: [version])
    shown("models", "list", names=(version.name, *version.aliases))
