"""`mrigan catalog` as a person uses it: what it says, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mrigan.catalog import read_catalog
from mrigan.catalog.readers import READERS
from mrigan.cli.app import app
from mrigan.cli.catalog import READER
from mrigan.errors import CatalogError, ConfigError

from . import trees


def run(*args: str | Path):
    return CliRunner().invoke(app, ["catalog", *map(str, args)])


@pytest.fixture
def preview(tmp_path) -> Path:
    trees.dfdc_preview(tmp_path / "preview", people=30, reals=60, fakes=120)
    return tmp_path / "preview"


def test_scan_says_what_is_missing(preview, tmp_path):
    out = tmp_path / "p.parquet"
    done = run("scan", "dfdc-preview", preview, "--splits", preview / "dataset.json", "-o", out)
    assert done.exit_code == 0, done.output
    assert "this copy differs from the published data set:" in done.output
    assert "- 1,071 of the 1,131 published real clips are missing" in done.output
    assert "split as published" in done.output
    assert run("audit", out).exit_code == 0
    trees.uadfv(tmp_path / "uadfv")
    done = run("scan", "uadfv", tmp_path / "uadfv", "-o", tmp_path / "u.parquet")
    assert "this copy is complete" in done.output


def test_merge_show_and_move(preview, tmp_path):
    trees.uadfv(tmp_path / "uadfv")
    a, b, out = tmp_path / "a.parquet", tmp_path / "b.parquet", tmp_path / "c.parquet"
    assert run("scan", "dfdc-preview", preview, "-o", a, "--take", "0.5").exit_code == 0
    assert run("scan", "uadfv", tmp_path / "uadfv", "-o", b).exit_code == 0
    done = run("merge", a, b, "-o", out, "--take", "uadfv=0.5", "--seed", "3")
    assert done.exit_code == 0, done.output
    merged = read_catalog(out)
    assert len(merged) - len(read_catalog(a)) == pytest.approx(49, abs=3)  # half of 98, in pairs, split by split
    assert "a fraction of 0.5 kept, by whole families (seed 3)" in done.output
    shown = run("show", out)
    assert f"{len(merged)} clips, hash {merged.hash[:12]}" in shown.output
    assert "not there" not in shown.output
    (tmp_path / "uadfv").rename(tmp_path / "moved")
    assert f"{len(merged) - len(read_catalog(a))} of {len(merged)} files are missing" in run("show", out).output
    assert run("merge", out, "-o", out, "--root", f"uadfv={tmp_path / 'moved'}").exit_code == 0
    assert "not there" not in run("show", out).output
    assert read_catalog(out).hash == merged.hash


def test_audit_counts_leaks_by_kind_and_allows_relaxed_donors(preview, tmp_path):
    out = tmp_path / "p.parquet"
    rows = json.loads((preview / "dataset.json").read_text())
    fake = next(path for path, row in rows.items() if row["label"] == "fake" and row["set"] == "train")
    rows[fake]["set"] = "test"
    (tmp_path / "other.json").write_text(json.dumps(rows))
    assert run("scan", "dfdc-preview", preview, "--splits", tmp_path / "other.json", "-o", out).exit_code == 0
    done = run("audit", out)
    assert done.exit_code == 1
    assert "1 family, 1 original, 1 target person, 1 donor person" in done.output
    assert run("scan", "dfdc-preview", preview, "--relax-donors", "-o", out).exit_code == 0
    done = run("audit", out)
    assert done.exit_code == 0, done.output
    assert "allowed: donor person" in done.output
    assert "allowed, since the scan had --relax-donors" in done.output


def test_equal_files_fail_the_audit(tmp_path):
    root = tmp_path / "set"
    root.mkdir()
    for name in "abcdefgh":
        (root / f"{name}.mp4").write_bytes(b"same" if name in "ah" else name.encode() * 9)
    splits = dict(zip("abcdefgh", ["train"] * 6 + ["val", "test"], strict=True))
    (root / "m.csv").write_text("path,label,split\n" + "".join(f"{n}.mp4,real,{s}\n" for n, s in splits.items()))
    assert run("scan", "manifest", root / "m.csv", "-o", tmp_path / "m.parquet").exit_code == 0
    done = run("audit", tmp_path / "m.parquet")
    assert done.exit_code == 1
    assert "leak: content sha256" in done.output
    assert "1 leak: 1 content" in done.output


def test_sets_that_are_split_by_themselves(tmp_path):
    trees.dfdc_test(tmp_path / "test", 6)
    out = tmp_path / "t.parquet"
    assert run("scan", "dfdc-test", tmp_path / "test", "-o", out).exit_code == 0
    assert {clip.split for clip in read_catalog(out).clips} == {"test"}
    done = run("scan", "dfdc-test", tmp_path / "test", "-o", out, "--test", "0.5")
    assert "give every clip a split" in str(done.exception)


@pytest.mark.parametrize(
    ("args", "error", "message"),
    [
        (["scan", "celebdf", "."], ConfigError, "did you mean celeb-df"),
        (["scan", "uadfv", ".", "--splits", "."], ConfigError, "uadfv has no official lists"),
        (["scan", "celeb-df", ".", "--splits", "nowhere"], CatalogError, "no such list"),
        (["scan", "ffhq", ".", "--val", "0.7", "--test", "0.7"], ConfigError, "cannot split by"),
        (["scan", "uadfv", "uadfv", "--take", "0"], ConfigError, "cannot take 0"),
        (["merge", "u.parquet", "--take", "0.5"], ConfigError, "not DATASET=VALUE"),
        (["merge", "u.parquet", "--take", "uadfv=half"], ConfigError, "is not a number"),
        (["merge", "u.parquet", "--take", "dfdc=0.5"], ConfigError, "the catalog holds uadfv"),
        (["merge", "u.parquet", "u.parquet"], CatalogError, "is in two of the catalogs"),
        (["merge", "nowhere.parquet"], CatalogError, "no such catalog"),
    ],
)
def test_wrong_use(tmp_path, monkeypatch, args, error, message):
    monkeypatch.chdir(tmp_path)
    trees.uadfv(tmp_path / "uadfv")
    assert run("scan", "uadfv", "uadfv", "-o", "u.parquet").exit_code == 0
    done = run(*args, "-o", "out.parquet")
    assert isinstance(done.exception, error)
    assert message in str(done.exception)
    assert not Path("out.parquet").exists()


def test_help_names_every_reader():
    assert set(READER.split("|")) == set(READERS)
