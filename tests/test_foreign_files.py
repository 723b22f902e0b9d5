"""A file that Mrigan did not write is not replaced by a result; its own results and empty files are."""

from __future__ import annotations

from pathlib import Path

import cv2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from mrigan.catalog import scan_catalog, write_catalog
from mrigan.cli.app import app
from mrigan.config import ShardsConfig, load_config
from mrigan.packing import build_shards, plan_shards
from tests.evaluation.tables import random_table
from tests.packing.videos import portraits

FOREIGN = (
    b'{"important": 1}',
    b'{"schema_version": 1, "notes": []}',
    b"<!doctype html><title>mine</title>",
    b"\x89PNG\r\n\x1a\n" + b"x" * 100,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """faces/ with a real and a fake one, c.parquet, and their shards."""
    folder = tmp_path_factory.mktemp("made")
    for label, portrait in zip(("real", "fake"), portraits(), strict=True):
        x0, y0, x1, y1 = portrait.face
        (folder / "faces" / label).mkdir(parents=True)
        cv2.imwrite(str(folder / "faces" / label / "one.png"), portrait.image[y0:y1, x0:x1, ::-1])
    write_catalog(scan_catalog("folder", folder / "faces", fractions={"train": 1})[0], folder / "c.parquet")
    config = load_config(ShardsConfig, "shards/faces.yaml", ["faces.cropped=true"])
    plan_shards(folder / "c.parquet", config, folder / "shards")
    build_shards(folder / "shards", workers=1)
    return folder


@pytest.mark.parametrize(
    "command",
    [
        "catalog scan folder faces -o",
        "catalog merge c.parquet -o",
        "shards stats shards --json",
        "shards stats shards --figure",
        "shards verify shards --json",
        "config docs -o",
    ],
)
def test_only_what_mrigan_wrote_is_replaced(
    command: str, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(made)
    out = tmp_path / "out"
    words = [*command.split(), str(out)]
    for content in FOREIGN:
        out.write_bytes(content)
        refused = CliRunner().invoke(app, words)
        assert refused.exit_code == 1
        assert "--force" in str(refused.exception)
        assert out.read_bytes() == content
    pq.write_table(pa.table({"a": [1]}), out)
    table = out.read_bytes()
    assert CliRunner().invoke(app, words).exit_code == 1
    assert out.read_bytes() == table
    for more in (["--force"], []):  # then it is there by Mrigan
        done = CliRunner().invoke(app, [*words, *more])
        assert done.exit_code == 0, done.output
        assert out.read_bytes() != table
    out.write_bytes(b"")
    assert CliRunner().invoke(app, words).exit_code == 0
    assert len(out.read_bytes()) > 20


def test_a_folder_with_files_of_others_gets_no_report(tmp_path: Path) -> None:
    scores, out = tmp_path / "s.parquet", tmp_path / "site"
    pq.write_table(random_table(models=["a"], videos=[("test", 4)]), scores)
    out.mkdir()
    words = ["evaluate", "--scores", str(scores), "-o", str(out)]
    for name, content in (("index.html", FOREIGN[2]), ("metrics.json", FOREIGN[1]), ("scores.parquet", FOREIGN[0])):
        (out / name).write_bytes(content)
        refused = CliRunner().invoke(app, words)
        assert refused.exit_code == 1
        assert name in str(refused.exception)
        assert [(path.name, path.read_bytes()) for path in out.iterdir()] == [(name, content)]
        (out / name).unlink()
    for _ in range(2):
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.output
