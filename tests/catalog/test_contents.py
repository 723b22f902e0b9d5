"""Equal files on two sides: found by content, whatever they are called, and without reading what cannot be equal."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from mrigan.catalog import Catalog, Clip, audit, contents, file_sizes


def clips(root: Path, files: dict[str, tuple[bytes, str]]) -> Catalog:
    found = []
    for name, (data, split) in files.items():
        (root / name).write_bytes(data)
        found.append(Clip("set", "original", "", name, name, "real", split=split))
    return Catalog(root, found)


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def test_copies_on_two_sides_are_leaks(tmp_path):
    data = noise(50_000)
    one_byte = bytearray(data)
    one_byte[30_000] ^= 1  # between the samples: only the whole file tells
    catalog = clips(tmp_path, {
        "a": (data, "train"), "b": (data, "test"), "c": (data, "train"),
        "same side": (noise(70, 2), "val"), "its copy": (noise(70, 2), "val"),
        "nearly": (bytes(one_byte), "val"), "longer": (data + b"x", "val"),
        "empty": (b"", "train"), "empty too": (b"", "val"),
    })  # fmt: skip
    leaks = audit(catalog, file_sizes(catalog))
    assert [(leak.kind, leak.clips) for leak in leaks] == [
        ("content", {"train": ["set/original/-/a", "set/original/-/c"], "test": ["set/original/-/b"]})
    ]
    assert audit(catalog) == []  # without sizes no file is touched


def test_one_file_under_two_names_is_no_copy(tmp_path):
    catalog = clips(tmp_path, {"a": (noise(99), "train")})
    twice = Catalog(tmp_path, [*catalog.clips, Clip("set", "m", "", "b", "a", "fake", split="test")])
    assert [leak.kind for leak in audit(twice, file_sizes(twice))] == ["file"]


def test_only_files_of_one_size_on_two_sides_are_opened(tmp_path, monkeypatch):
    files = {f"train{k}": (noise(1000 + k, k), "train") for k in range(20)}
    files |= {f"test{k}": (noise(2000 + k, k), "test") for k in range(20)} | {"x": (noise(1003, 99), "test")}
    catalog = clips(tmp_path, files)
    opened = []
    monkeypatch.setattr(contents, "_sample", lambda path: opened.append(Path(path).name) or path)
    assert audit(catalog, file_sizes(catalog)) == []
    assert sorted(opened) == ["train3", "x"]


def test_files_that_are_gone_equal_none(tmp_path):
    data = noise(500)
    catalog = clips(tmp_path, {"a": (data, "train"), "b": (data, "test")})
    (tmp_path / "b").unlink()
    sizes = file_sizes(catalog)
    assert sizes == [500, -1]
    assert audit(catalog, sizes) == []


@pytest.mark.parametrize("split", ["", "train"])
def test_clips_without_a_split_are_on_no_side(tmp_path, split):
    catalog = clips(tmp_path, {"a": (noise(9), "train"), "b": (noise(9), split)})
    assert audit(catalog, file_sizes(catalog)) == []
