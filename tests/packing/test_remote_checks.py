"""verify, stats and repair of a set at a URL: over FTP (whole files), and in an object store (ranges)."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from typer.testing import CliRunner

from mrigan.catalog import Catalog, write_catalog
from mrigan.cli.app import app
from mrigan.errors import ShardError
from mrigan.packing import check_shards, plan_shards, repair_shards, shard_stats
from mrigan.storage import Storage
from tests.packing.conftest import PNG, Built, config, make
from tests.packing.test_remote import served, url

__all__ = ["served", "url"]  # fixtures
NAMES = itertools.count()


@pytest.fixture
def store(built: Built) -> Iterator[str]:
    """The built set in fsspec's object store, which lives in this process."""
    address = f"memory://checks/{next(NAMES)}"
    files = Storage(address)
    for path in built.folder.rglob("*"):
        if path.is_file():
            files.put(path, path.relative_to(built.folder).as_posix())
    yield address
    fsspec.filesystem("memory").rm("/checks", recursive=True)


def put(folder: Path, served: Path) -> Path:
    return Path(shutil.copytree(folder, served / "sets" / "one"))


def without(check: dict, *keys: str) -> dict:
    return {key: value for key, value in check.items() if key not in {"seconds", *keys}}


@pytest.mark.parametrize("full", [True, False])
def test_an_object_store_is_checked_as_a_folder_is(built: Built, store: str, tmp_path: Path, full: bool) -> None:
    theirs = check_shards(built.folder, full)
    ours = check_shards(store, full, scratch=tmp_path / "scratch")
    assert ours.ok
    assert ours.looked_at == theirs.looked_at > 0
    assert without(ours.as_dict(), "folder") == without(theirs.as_dict(), "folder")
    assert ours.folder == store
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_sampled_check_fetches_no_whole_shard(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[str] = []
    fetch = Storage.get

    def watched(self: Storage, name: str, path: Path) -> None:
        fetched.append(name)
        fetch(self, name, path)

    monkeypatch.setattr(Storage, "get", watched)
    check_shards(store, full=False)
    assert "manifest.json" in fetched
    assert not [name for name in fetched if name.endswith(".tar")]


@pytest.mark.parametrize("full", [True, False])
def test_damages_in_an_object_store_are_those_of_a_folder(built: Built, store: str, tmp_path: Path, full: bool) -> None:
    """One of each kind: bits, a cut, a lost shard, a lost index, another table, a stranger."""
    folder, files = Path(shutil.copytree(built.folder, tmp_path / "set")), Storage(store)
    tars = sorted(path.name for path in folder.glob("*.tar"))
    flipped = bytearray((folder / tars[0]).read_bytes())
    for place in range(600, len(flipped), 997):
        flipped[place] ^= 1
    (folder / tars[0]).write_bytes(flipped)
    (folder / tars[1]).write_bytes((folder / tars[1]).read_bytes()[:1000])
    (folder / tars[2]).unlink()
    (folder / tars[3]).with_suffix(".idx").unlink()
    (folder / "samples.parquet").write_bytes(b"PAR1")
    shutil.copy(folder / tars[4], folder / "train-fake-000099.tar")
    files.remove(tars[2])
    files.remove(tars[3].replace(".tar", ".idx"))
    for name in (tars[0], tars[1], "samples.parquet", "train-fake-000099.tar"):
        files.put(folder / name, name)
    theirs, ours = check_shards(folder, full), check_shards(store, full)
    assert ours.damages == theirs.damages
    assert len({damage.file for damage in ours.damages}) == 6


def test_stats_of_a_url_are_those_of_the_folder(built: Built, store: str) -> None:
    theirs = shard_stats(built.folder).as_dict()
    ours = shard_stats(store).as_dict()
    assert ours == theirs | {"folder": store}
    files = Storage(store)  # unfinished: unit by unit
    files.remove("manifest.json")
    files.remove("units/val-000000.json")
    part = shard_stats(store)
    assert part.built == theirs["built"] - 1
    assert {group.split for group in part.groups} == {"train"}


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    for call in (check_shards, shard_stats):
        with pytest.raises(ShardError, match="no shard plan"):
            call("memory://checks/nothing")
        with pytest.raises(ShardError, match="cannot be reached"):
            call("ftp://127.0.0.1:1/set")
    with pytest.raises(ShardError, match="no shard plan"):
        check_shards(tmp_path)


def test_checks_over_ftp(built: Built, url: str, served: Path, tmp_path: Path) -> None:
    """By the commands; each thread has a connection of its own, and nothing stays behind."""
    folder, runner, scratch = put(built.folder, served), CliRunner(), tmp_path / "scratch"
    damaged = sorted(path.name for path in folder.glob("*.tar"))[0]
    well = runner.invoke(app, ["shards", "verify", url, "--scratch", str(scratch), "--workers", "3"])
    assert well.exit_code == 0, well.output
    assert "all is well" in well.stdout
    (folder / damaged).write_bytes(b"half")
    for options in ([], ["--sample"]):
        bad = runner.invoke(app, ["shards", "verify", url, "--scratch", str(scratch), "--json", "-", *options])
        assert bad.exit_code == 1
        assert {damage["file"] for damage in json.loads(bad.stdout)["damages"]} == {damaged}
    stats = runner.invoke(app, ["shards", "stats", url, "--figure", str(tmp_path / "stats.png")])
    assert stats.exit_code == 0, stats.output
    assert (tmp_path / "stats.png").stat().st_size > 10_000
    assert list(scratch.iterdir()) == []


def test_repair_over_ftp(built: Built, url: str, served: Path, tmp_path: Path) -> None:
    """A clip that can be read now, a damaged shard, one that its unit had too many: afterwards an undisturbed set's."""
    videos = Path(shutil.copytree(built.clips.root, tmp_path / "videos"))
    whole = (videos / "smith.mp4").read_bytes()
    (videos / "smith.mp4").chmod(0o644)
    (videos / "smith.mp4").write_bytes(b"this is no video" * 100)
    write_catalog(Catalog(videos, built.clips.clips), tmp_path / "catalog.parquet")
    plan = plan_shards(tmp_path / "catalog.parquet", config(*PNG, "pack.splits=[val]"), tmp_path / "local")
    make(plan)
    folder = put(tmp_path / "local", served)
    shutil.copy(folder / "plan.parquet", folder / "val-real-000000-001.tar")  # as if it had given more once
    (folder / "units" / "val-000000.parquet").write_bytes(b"PAR1")
    assert {damage.file for damage in check_shards(url).damages if damage.unit} == {
        "units/val-000000.parquet",
        "val-real-000000-001.tar",
    }
    shutil.copy(tmp_path / "local" / "units" / "val-000000.parquet", folder / "units" / "val-000000.parquet")
    assert check_shards(url).failed == {"val-000000": 1}
    (videos / "smith.mp4").write_bytes(whole)
    repair = repair_shards(url, only_failed=True, workers=1, scratch=tmp_path / "scratch")
    assert repair.ok
    assert repair.merged
    assert [clip.rpartition("/")[2] for clip in repair.read] == ["smith"]
    tars = {path.name: path.read_bytes() for path in folder.glob("*.tar")}
    assert tars == {path.name: path.read_bytes() for path in built.folder.glob("val-*.tar")}
    check = check_shards(url)
    assert (check.ok, check.failed) == (True, {})
    again = repair_shards(url, only_failed=True, workers=1, scratch=tmp_path / "scratch")
    assert (again.rebuilt, again.left, again.merged) == ({}, {}, False)
    assert list((tmp_path / "scratch").iterdir()) == []
