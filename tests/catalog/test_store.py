"""The catalog file and the commands around it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mrigan.catalog import Catalog, Clip, assign_splits, read_catalog, write_catalog
from mrigan.errors import CatalogError


def clips(count: int = 6) -> list[Clip]:
    found = []
    for k in range(count):
        real = Clip(
            "set", "original", "c23", f"r/{k}", f"r/{k}.mp4", "real", targets=(f"p{k}",), official_split="train"
        )
        found += [
            real,
            Clip(
                "set",
                "swap",
                "c23",
                f"f/{k}",
                f"f/{k}.mp4",
                "fake",
                original=real.id,
                targets=(f"p{k}",),
                donors=("ä", "b"),
                group=f"g{k}",
            ),
        ]
    return found


def run(*args: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mrigan.cli", "catalog", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_what_is_written_is_read(tmp_path):
    catalog = assign_splits(Catalog(tmp_path, clips()))
    write_catalog(catalog, tmp_path / "catalog.parquet")
    again = read_catalog(tmp_path / "catalog.parquet")
    assert again.clips == catalog.clips
    assert again.root == tmp_path
    originals = [family.original.id for family in again.families() if family.original]
    assert originals == [clip.id for clip in clips() if clip.label == "real"]
    assert all(family.clips[0] is family.original and len(family.fakes) == 1 for family in again.families())


def test_hash_depends_on_rows_only(tmp_path):
    catalog = assign_splits(Catalog(tmp_path, clips()))
    assert catalog.hash == assign_splits(Catalog(tmp_path / "elsewhere", clips()[::-1])).hash
    for field, value in (("split", "test2"), ("group", "x"), ("targets", ("q",)), ("path", "other.mp4")):
        changed = [replace(catalog.clips[0], **{field: value}), *catalog.clips[1:]]
        assert Catalog(tmp_path, changed).hash != catalog.hash
    for name in ("a.parquet", "b.parquet"):
        write_catalog(catalog, tmp_path / name)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_another_file_is_not_overwritten(tmp_path):
    labels = tmp_path / "metadata.json"
    labels.write_text("{}")
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"x": [1]}), other)
    before = other.read_bytes()
    for path in (labels, other):
        with pytest.raises(CatalogError, match="not changed"):
            write_catalog(Catalog(tmp_path, clips()), path)
    assert (labels.read_text(), other.read_bytes()) == ("{}", before)
    write_catalog(Catalog(tmp_path, clips(2)), tmp_path / "c.parquet")
    write_catalog(Catalog(tmp_path, clips(3)), tmp_path / "c.parquet")  # a catalog is replaced
    assert len(read_catalog(tmp_path / "c.parquet")) == 6
    assert not list(tmp_path.glob(".*.tmp"))


def test_files_that_are_no_catalog(tmp_path):
    path = tmp_path / "c.parquet"
    with pytest.raises(CatalogError, match="no such catalog"):
        read_catalog(path)
    path.write_text("hello")
    with pytest.raises(CatalogError, match="not a Parquet file"):
        read_catalog(path)
    path.unlink()
    write_catalog(Catalog(tmp_path, clips()), path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(CatalogError, match="not a Parquet file"):
        read_catalog(path)
    path.unlink()
    write_catalog(Catalog(tmp_path, clips()), path)
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["family", "group"]), path)
    with pytest.raises(CatalogError, match="lacks column group, family"):
        read_catalog(path)
    pq.write_table(table.replace_schema_metadata(None), path)
    with pytest.raises(CatalogError, match="lacks the root folder"):
        read_catalog(path)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("path", "../x.mp4", "outside the root"),
        ("path", "/etc/passwd", "outside the root"),
        ("label", "FAKE", "label 'FAKE'"),
        ("split", "holdout", "split 'holdout'"),
        ("original", "set/original/-/nobody", "not a real clip"),
        ("name", "r/1", "make the id"),
        ("method", None, "no value in method"),
    ],
)
def test_rows_that_contradict_each_other(tmp_path, column, value, message):
    path = tmp_path / "c.parquet"
    write_catalog(Catalog(tmp_path, clips()), path)
    table = pq.read_table(path)
    rows = table.to_pylist()
    rows[0][column] = value
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    with pytest.raises(CatalogError, match=message):
        read_catalog(path)


def test_commands(tmp_path):
    """Scan and audit as a person runs them: summary, exit codes, the listing of a planted leak."""
    for number in range(4):
        folder = tmp_path / "set" / f"dfdc_train_part_{number}"
        folder.mkdir(parents=True)
        entries = {
            f"{number}.mp4": {"label": "REAL", "split": "train"},
            f"{number}f.mp4": {"label": "FAKE", "split": "train", "original": f"{number}.mp4"},
        }
        (folder / "metadata.json").write_text(json.dumps(entries))
        for name in entries:
            (folder / name).write_bytes(b"")
    out = tmp_path / "catalog.parquet"
    scan = run("scan", "dfdc", tmp_path / "set", "-o", out, "--val", ".25", "--test", ".25", "--seed", "3")
    assert scan.returncode == 0, scan.stderr
    assert "4 parts" in scan.stdout
    assert "separable groups" in scan.stdout
    clean = run("audit", out)
    assert (clean.returncode, "8 clips, no leak" in clean.stdout) == (0, True)

    catalog = read_catalog(out)
    moved = next(clip for clip in catalog.clips if clip.label == "fake" and clip.split == "train")
    torn = [replace(clip, split="test") if clip is moved else clip for clip in catalog.clips]
    write_catalog(Catalog(catalog.root, torn), out)
    leak = run("audit", out)
    assert leak.returncode == 1
    assert f"leak: group dfdc: {moved.group} is in train" in leak.stdout

    empty = run("scan", "dfdc", tmp_path / "nothing", "-o", tmp_path / "no.parquet")
    assert (empty.returncode, (tmp_path / "no.parquet").exists()) == (1, False)
    assert "no such folder" in empty.stderr
    assert run("scan", "dfdc", tmp_path / "set", "-o", out, "--val", ".9", "--test", ".9").returncode == 2
    assert run("scan", "celeb", tmp_path / "set", "-o", out).returncode == 2
