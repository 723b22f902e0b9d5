"""Staging from a real HTTP server that dies, cuts and lies; by one process a node; and what is refused."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import shutil
import signal
from pathlib import Path

import pytest

from mrigan.data import EpochPlan, ShardSet, local_folders
from mrigan.errors import ConfigError, ShardError
from mrigan.files import sha256_file
from mrigan.storage import fetching
from tests.builders import train_loader
from tests.data.serving import Serve
from tests.data.shards import SIZE

TAR = "train-real-000001.tar"
BEYOND, WHOLE = "train-fake-000000.tar", "train-fake-000001.tar"
CONTEXT = multiprocessing.get_context("spawn")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "FIRST_PAUSE", 0.001)


def stage(url: str, cache: Path, *splits: str) -> Path:
    (folder,) = local_folders([url], cache, splits or ("train",))
    return folder


def same(folder: Path, source: Path, split: str = "train") -> None:
    tars = sorted(path.name for path in source.glob(f"{split}-*"))
    assert sorted(path.name for path in folder.glob(f"{split}-*")) == tars
    for name in (*tars, "samples.parquet", "manifest.json", "plan.json"):
        assert sha256_file(folder / name) == sha256_file(source / name)
    assert not list(folder.glob(".*.part")) + list(folder.glob(".*.tmp"))


def test_a_url_is_staged_and_read(serve: Serve, pairs: Path, tmp_path: Path) -> None:
    server = serve()
    folder = stage(server.url, tmp_path / "cache")
    same(folder, pairs)
    assert not list(folder.glob("val-*"))  # of the splits asked for
    staged, direct = ShardSet.open([folder], "train"), ShardSet.open([pairs], "train")
    assert staged.hash == direct.hash
    plan = EpochPlan(staged.labels, 0)
    options = {"global_batch": 12, "start_step": 0, "stop_step": 3, "size": SIZE}
    with train_loader(staged, plan, **options) as mine, train_loader(direct, plan, **options) as theirs:
        assert all((a.face == b.face).all() for a, b in zip(mine, theirs, strict=True))
    for _ in range(2):  # again, and then for another split too
        assert stage(server.url, tmp_path / "cache", "train", "val") == folder
        same(folder, pairs)
        same(folder, pairs, "val")
    assert server.requests(TAR) == [0]
    assert server.requests("val-real-000000.tar") == [0]
    assert server.requests("val-real-000000.idx") == [0]


def test_folders_and_file_urls_need_no_cache_and_can_have_one(pairs: Path, tmp_path: Path) -> None:
    assert local_folders([str(pairs), f"file://{pairs}"]) == [pairs, pairs]
    for url in (str(pairs), f"file://{pairs}"):
        same(stage(url, tmp_path / "cache"), pairs)
    assert len(list((tmp_path / "cache").iterdir())) == 1
    with pytest.raises(ConfigError, match=r"is not a folder of this machine(.|\n)*data.cache=DIR"):
        local_folders(["http://127.0.0.1:1/x"])


def test_tables_alone(serve: Serve, pairs: Path, tmp_path: Path) -> None:
    (folder,) = local_folders([serve().url], tmp_path / "cache")
    assert sorted(p.name for p in folder.glob("[!.]*")) == ["manifest.json", "plan.json", "samples.parquet"]
    same(stage(str(pairs), tmp_path / "cache"), pairs)  # the same set from elsewhere goes on in the same folder


def test_a_connection_that_breaks_goes_on_where_it_was(serve: Serve, pairs: Path, tmp_path: Path) -> None:
    size = (pairs / TAR).stat().st_size
    server = serve(**{TAR: [{"cut": 3000}, {"cut": 0}, {"cut": 1000}]})
    same(stage(server.url, tmp_path / "cache"), pairs)
    starts = server.requests(TAR)
    assert starts == [0, 3000, 3000, 4000]
    assert size > 4000


def test_a_server_without_ranges_starts_again(serve: Serve, pairs: Path, tmp_path: Path) -> None:
    server = serve(ranges=False, **{TAR: [{"cut": 3000}]})
    same(stage(server.url, tmp_path / "cache"), pairs)
    assert set(server.requests(TAR)) == {0}


def test_a_server_that_dies_leaves_what_came_and_the_next_goes_on(serve: Serve, pairs: Path, tmp_path: Path) -> None:
    server = serve(**{TAR: [{"die": 5000}]})
    with pytest.raises(ShardError, match=r"cannot be fetched, after 5 tries(.|\n)*start again") as caught:
        stage(server.url, tmp_path / "cache")
    assert "train-" in str(caught.value.where)
    (folder,) = (tmp_path / "cache").iterdir()
    have = (folder / f".{TAR}.part").stat().st_size
    assert have == 5000
    with pytest.raises(ShardError, match="the shard set is not finished"):  # half a set is none
        ShardSet.open([folder], "train")
    again = serve()
    same(stage(again.url, tmp_path / "cache"), pairs)
    assert again.requests(TAR) == [have]


def test_wrong_bytes_are_fetched_again_and_then_refused(
    serve: Serve, pairs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(**{TAR: [{"flip": 700}]})
    same(stage(server.url, tmp_path / "once"), pairs)
    assert server.requests(TAR) == [0, 0]
    assert f"{TAR} arrived damaged" in caplog.text
    server = serve(**{TAR: [{"flip": 700}, {"flip": 701}]})
    with pytest.raises(ShardError, match=r"not what the manifest promises(.|\n)*shards verify") as caught:
        stage(server.url, tmp_path / "twice")
    assert caught.value.where == f"{server.url}/{TAR}"
    assert not list((tmp_path / "twice").glob(f"*/*{TAR}*"))
    same(stage(serve().url, tmp_path / "twice"), pairs)


def test_a_damaged_partial_file_is_found_at_the_end(serve: Serve, pairs: Path, tmp_path: Path) -> None:
    server = serve()
    (folder,) = local_folders([server.url], tmp_path / "cache")
    (folder / f".{TAR}.part").write_bytes(bytes(4000))
    (folder / f".{BEYOND}.part").write_bytes(bytes(10**6))  # longer than the whole
    (folder / f".{WHOLE}.part").write_bytes((pairs / WHOLE).read_bytes())  # killed just before it had its name
    same(stage(server.url, tmp_path / "cache"), pairs)
    assert server.requests(TAR) == [4000, 0]
    assert server.requests(BEYOND) == [0]
    assert server.requests(WHOLE) == []


def test_a_table_of_another_set_is_refused(serve: Serve, pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(ShardError, match=r"not the one that manifest\.json describes"):
        stage(serve(**{"samples.parquet": [{"flip": 99}]}).url, tmp_path / "cache")


def test_foreign_and_changed_files_in_the_cache_are_refused(serve: Serve, pairs: Path, tmp_path: Path) -> None:
    server = serve()
    folder = stage(server.url, tmp_path / "cache")
    (folder / "train-real-000009.tar").write_bytes(b"mine")
    with pytest.raises(ShardError, match="is not of this set"):
        stage(server.url, tmp_path / "cache")
    (folder / "train-real-000009.tar").unlink()
    with open(folder / TAR, "ab") as file:
        file.write(b"x")
    with pytest.raises(ShardError, match=rf"has \d+ bytes, not \d+(.|\n)*{TAR}"):
        stage(server.url, tmp_path / "cache")
    (folder / TAR).unlink()
    same(stage(server.url, tmp_path / "cache"), pairs)
    with pytest.raises(ConfigError, match="is itself a shard folder"):
        stage(server.url, folder)


def test_a_set_that_was_built_anew_has_a_folder_of_its_own(serve: Serve, pairs: Path, tmp_path: Path) -> None:
    server = serve()
    first = stage(server.url, tmp_path / "cache")
    other = Path(shutil.copytree(pairs, tmp_path / "other" / pairs.name))
    manifest = json.loads((other / "manifest.json").read_text())
    with open(other / "samples.parquet", "ab") as file:
        file.write(b" ")
    manifest["samples_sha256"] = sha256_file(other / "samples.parquet")
    (other / "manifest.json").write_text(json.dumps(manifest))
    assert local_folders([serve(other).url], tmp_path / "cache")[0] != first


@pytest.mark.parametrize("name", ["../../x.tar", "a/b.tar", ".hidden.tar", "x.zip"])
def test_a_manifest_cannot_write_elsewhere(pairs: Path, tmp_path: Path, name: str) -> None:
    folder = Path(shutil.copytree(pairs, tmp_path / "pairs"))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["shards"][0]["shard"] = name
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ShardError, match="is no manifest of a shard set"):
        stage(str(folder), tmp_path / "cache")


@pytest.mark.parametrize(("url", "words"), [("nfs://host/x", "nfs"), ("s3://bucket/x", "s3")])
def test_protocols_that_cannot_be_read_are_named(url: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"{words}:// cannot be read here"):
        stage(url, tmp_path / "cache")


@pytest.mark.parametrize("name", ["manifest.json", "samples.parquet", "plan.json"])
def test_a_pipe_in_place_of_a_file_is_not_waited_for(pairs: Path, tmp_path: Path, name: str) -> None:
    folder = Path(shutil.copytree(pairs, tmp_path / "shards"))
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(ShardError, match="named pipe"):
        local_folders([f"file://{folder}"], tmp_path / "cache", ["train"])


def test_nothing_there(serve: Serve, tmp_path: Path) -> None:
    with pytest.raises(ShardError, match=r"no such file(.|\n)*manifest.json"):
        stage(serve().url + "s", tmp_path / "cache")
    with pytest.raises(ShardError, match=r"no such file(.|\n)*manifest.json"):
        stage(str(tmp_path / "nowhere"), tmp_path / "cache")


def test_room_is_looked_for_first(serve: Serve, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve()
    (tmp_path / "cache" / "older-set").mkdir(parents=True)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=60_000_000))
    with pytest.raises(ShardError, match=r"0.1 GB are needed to stage 9 shards(.|\n)*older-set(.|\n)*window"):
        stage(server.url, tmp_path / "cache")
    assert server.requests(TAR) == []
    monkeypatch.undo()
    same(stage(server.url, tmp_path / "cache"), pairs)


def test_the_bar_counts_bytes(
    serve: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mrigan.data import stage as stage_module

    shown: list[int] = []
    bar = stage_module.bar

    def watched(*args, **options):
        assert args[0] == "staging pairs"
        shown.append(args[1])
        return bar(*args, **options)

    monkeypatch.setattr(stage_module, "bar", watched)
    stage(serve().url, tmp_path / "cache")
    stage(serve().url, tmp_path / "cache")
    assert len(shown) == 1  # nothing to show where nothing is to do


def _stage(url: str, cache: str, results: multiprocessing.Queue) -> None:
    fetching.FIRST_PAUSE = 0.001
    try:
        results.put(str(stage(url, Path(cache))))
    except ShardError as error:
        results.put(error.what)


def test_another_process_takes_over_from_one_that_is_killed(serve: Serve, pairs: Path, tmp_path: Path) -> None:
    server = serve(**{TAR: [{"hang": 4096}]})
    results = CONTEXT.Queue()
    ranks = [CONTEXT.Process(target=_stage, args=(server.url, str(tmp_path / "cache"), results)) for _ in range(2)]
    for rank in ranks:
        rank.start()
    parts: list[Path] = []
    while not (parts and parts[0].stat().st_size):  # one is in the middle: its request is the one that hangs
        parts = list((tmp_path / "cache").glob(f"*/.{TAR}.part"))
        ranks[0].join(0.05)
        assert all(rank.is_alive() for rank in ranks)
    holder = int((parts[0].parent / ".lock").read_text())
    os.kill(holder, signal.SIGKILL)
    folder = results.get(timeout=60)
    for rank in ranks:
        rank.join()
    assert sorted(rank.exitcode or 0 for rank in ranks) == [-signal.SIGKILL, 0]
    same(Path(folder), pairs)
    assert len(server.requests(TAR)) == 2
    assert max(len(server.requests(tar.name)) for tar in pairs.glob("train-*.tar")) == 2


def test_logging_says_where_the_shards_are(serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    folder = stage(serve().url, tmp_path / "cache")
    assert "9 shards of http://127.0.0.1" in caplog.text
    assert f"are staged in {folder}" in caplog.text
