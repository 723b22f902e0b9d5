"""One tar: readable by everyone, indexed as NVIDIA's tool does it, the same bytes each time."""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path

import pytest
import webdataset

from mrigan.shardset.tar import member_header, write_shard

SAMPLES = [(f"{i:012x}-{i:06d}-00", [("face.jpg", bytes([i]) * (500 + i)), ("mri.png", b"m" * 512 * i),
                                     ("json", b"{}")]) for i in range(1, 30)]  # fmt: skip


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    path = tmp_path / "train-fake-000000.tar"
    write_shard(path, SAMPLES, {"plan_hash": "p"})
    return path


def test_gnu_tar_lists_all_members_in_order(shard: Path) -> None:
    listed = subprocess.run(["tar", "tf", shard], check=True, capture_output=True, text=True).stdout.split()
    assert listed == [f"{key}.{extension}" for key, members in SAMPLES for extension, _ in members]


def test_webdataset_groups_members_by_key(shard: Path) -> None:
    read = [(s["__key__"], [(e, s[e]) for e in ("face.jpg", "mri.png", "json")])
            for s in webdataset.WebDataset(str(shard), shardshuffle=False)]  # fmt: skip
    assert read == SAMPLES


def test_places_are_where_tarfile_finds_the_data(tmp_path: Path) -> None:
    path = tmp_path / "s.tar"
    placed = write_shard(path, SAMPLES, {})
    with tarfile.open(path) as tar:
        found = [(m.name, m.offset_data, m.size) for m in tar]
        assert all((m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) == (0, 0, 0, "", "", 0o644) for m in tar)
    assert [(f"{p.key}.{e}", o, n) for p in placed for e, o, n in p.members] == found


def test_index_is_the_one_of_wds2idx(shard: Path, tmp_path: Path) -> None:
    tool = pytest.importorskip("wds2idx", reason="NVIDIA DALI is not installed")
    with tool.IndexCreator(str(shard), str(tmp_path / "oracle.idx"), verbose=False) as oracle:
        oracle.create_index()
    assert shard.with_suffix(".idx").read_text() == (tmp_path / "oracle.idx").read_text()


def test_index_has_the_documented_form(shard: Path) -> None:
    first, *lines = shard.with_suffix(".idx").read_text().splitlines()
    assert first == f"v1.2 {len(SAMPLES)}"
    data = shard.read_bytes()
    for line, (key, members) in zip(lines, SAMPLES, strict=True):
        words = line.split()
        parts = [words[i : i + 4] for i in range(0, len(words), 4)]
        assert [(e, data[int(o) : int(o) + int(n)], name) for e, o, n, name in parts] == \
            [(e, content, f"{key}.{e}") for e, content in members]  # fmt: skip


def test_bytes_are_those_of_tarfile(shard: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "oracle.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        for key, members in SAMPLES:
            for extension, data in members:
                info = tarfile.TarInfo(f"{key}.{extension}")
                info.size = len(data)
                (tmp_path / "member").write_bytes(data)
                with open(tmp_path / "member", "rb") as file:
                    tar.addfile(info, file)
    assert shard.read_bytes() == (tmp_path / "oracle.tar").read_bytes()


def test_header_is_one_block() -> None:
    assert len(member_header(f"{'f' * 12}-999999-999.face.jpg", 10**9)) == 512
