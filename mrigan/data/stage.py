"""Shards from a URL or from shared storage to node-local disk: once a node, checked, and continued where it broke off.

`<cache>/<name>-<hash>/` holds what a shard folder holds; the hash is that of its samples, so that another set has
another folder. A tar appears whole, its `.json` after it; a second run takes what is there. The tars of the splits that
are asked for are fetched, and no others.
"""

from __future__ import annotations

import hashlib
import logging
import re
import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow.compute as pc
import pyarrow.parquet as pq

from mrigan.data.node_lock import one_on_the_node
from mrigan.errors import ConfigError, ShardError
from mrigan.files import atomic_write
from mrigan.progress import bar
from mrigan.shardset.layout import parse_json
from mrigan.shardset.plan_file import parse_plan
from mrigan.storage import Storage, fetch, partial_path, read_patiently

log = logging.getLogger(__name__)
AT_ONCE = 4  # tars under way
SPARE = 64 << 20  # bytes that stay free on the disk


def local_folders(shards: Sequence[str | Path], cache: str | Path = "", splits: Sequence[str] = ()) -> list[Path]:
    """Folders of this machine that hold `shards`: themselves, or what is staged of them in `cache`.

    Args:
        shards: shard folders, or URLs of them: http(s)://, s3://, file:// and what else fsspec knows.
        cache: a folder on a local disk, for staging; "" = none. Every process of a node may call this at once.
        splits: whose tars to stage; none = tables only.

    Raises:
        ConfigError: a URL and no cache, a protocol that cannot be read, a cache that is itself a shard folder.
        ShardError: nothing there, the connection is lost for good, wrong bytes, no room, foreign files in the cache.
    """
    if cache:
        return [_staged(str(folder), Path(cache), splits) for folder in shards]
    folders = []
    for folder in map(str, shards):
        if "://" in folder and not folder.startswith("file://"):
            raise ConfigError(
                "data.shards is a URL, and shards are read from a local disk",
                where=folder,
                fix="give data.cache=DIR, a folder on a disk of this node",
            )
        folders.append(Path(unquote(urlsplit(folder).path)) if "://" in folder else Path(folder))
    return folders


def _staged(url: str, cache: Path, splits: Sequence[str]) -> Path:
    if (cache / "manifest.json").exists():
        raise ConfigError("data.cache is itself a shard folder", where=cache, fix="give a folder of its own")
    source = Storage(url)
    manifest = _manifest(source)
    name = re.sub(r"[^\w.-]", "_", source.url.rpartition("/")[2]) or "shards"
    folder = cache / f"{name}-{manifest['samples_sha256'][:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    with one_on_the_node(folder) as beat:
        for left in folder.glob(".*.tmp"):  # of a stager that was killed: there is but one
            left.unlink()
        _refuse_strangers(folder, manifest)
        if not (folder / "samples.parquet").exists():
            _copy(source, "samples.parquet", folder, partial(_check_sha256, manifest["samples_sha256"]))
        if not (folder / "plan.json").exists():
            _copy(source, "plan.json", folder, parse_plan)
        wanted = _shards_of(folder, splits)
        missing = [shard for shard in manifest["shards"] if shard["shard"] in wanted and not _done(folder, shard)]
        if missing:
            _check_space(folder, missing)
            done = sum(size for shard in missing if (size := _partial(folder, shard)))
            total = sum(shard["bytes"] for shard in missing)
            with bar(f"staging {name}", total >> 20, "MB", done=done >> 20) as advance:
                came, lock = [done], threading.Lock()

                def told(count: int) -> None:
                    with lock:
                        before, came[0] = came[0], came[0] + count
                        if whole := (came[0] >> 20) - (before >> 20):
                            advance(whole)
                        beat()

                _fetch_all(source, folder, manifest, missing, told)
            log.info("%d shards of %s are staged in %s", len(missing), url, folder)
        if not (folder / "manifest.json").exists():  # last: with it the folder is a shard set
            _copy(source, "manifest.json", folder, partial(_check_same, manifest))
    return folder


def _fetch_all(
    source: Storage, folder: Path, manifest: dict[str, Any], shards: list[dict[str, Any]], told: Callable[[int], None]
) -> None:
    def bring(shard: dict[str, Any]) -> None:
        tar = folder / shard["shard"]
        if not tar.exists():
            fetch(source, tar.name, tar, size=shard["bytes"], sha256=shard["sha256"], advance=told)
        _copy(source, tar.with_suffix(".idx").name, folder)
        check = partial(parse_json, format=manifest.get("format", 0))
        _copy(source, tar.with_suffix(".json").name, folder, check)  # the done marker, last

    pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="stage")
    try:
        for _ in pool.map(bring, shards):
            pass
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _manifest(source: Storage) -> dict[str, Any]:
    where = source.where("manifest.json")
    try:
        manifest = parse_json(read_patiently(source, "manifest.json"))
        if not re.fullmatch("[0-9a-f]{64}", manifest["samples_sha256"]):
            raise ValueError(f"samples_sha256 is {manifest['samples_sha256']!r}")
        for shard in manifest["shards"]:
            if not re.fullmatch(r"[\w-]+\.tar", shard["shard"]):  # it becomes a path here
                raise ValueError(f"a shard is called {shard['shard']!r}")
            if not isinstance(shard["bytes"], int) or not isinstance(shard["sha256"], str):
                raise ValueError(f"{shard['shard']} is without size or hash")
    except (ValueError, KeyError, TypeError) as error:
        fix = "give the folder that `mrigan shards build` finished"
        raise ShardError(f"is no manifest of a shard set: {error!r}", where=where, fix=fix) from None
    return manifest


def _copy(source: Storage, name: str, folder: Path, check: Callable[[bytes], object] = bytes) -> None:
    """A small file, whole or not at all, unless `check` raises ValueError for it."""
    data = read_patiently(source, name)
    try:
        check(data)
    except ValueError as error:
        raise ShardError(
            f"{name} is damaged: {error}",
            where=source.where(name),
            fix="verify the set at its source, or start again if it was being built just now",
        ) from None
    with atomic_write(folder / name) as file:
        file.write(data)


def _check_sha256(sha256: str, data: bytes) -> None:
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ValueError("it is not the one that manifest.json describes")


def _check_same(manifest: dict[str, Any], data: bytes) -> None:
    if parse_json(data) != manifest:
        raise ValueError("it changed in the meantime")


def _refuse_strangers(folder: Path, manifest: dict[str, Any]) -> None:
    """Nothing in the folder but what this set staged there; a tar of another size was changed since."""
    known = {shard["shard"]: shard["bytes"] for shard in manifest["shards"]}
    for tar in sorted(folder.glob("*.tar")):
        size = tar.stat().st_size
        if size != known.get(tar.name):
            what = "is not of this set" if tar.name not in known else f"has {size} bytes, not {known[tar.name]}"
            raise ShardError(f"a file in the cache {what}", where=tar, fix="remove it, and see who writes there")


def _shards_of(folder: Path, splits: Sequence[str]) -> set[str]:
    if not splits:
        return set()
    rows = pq.read_table(
        folder / "samples.parquet", columns=["shard"], filters=[("status", "=", "ok"), ("split", "in", list(splits))]
    )
    return set(pc.unique(rows["shard"]).to_pylist())


def _done(folder: Path, shard: dict[str, Any]) -> bool:
    tar = folder / shard["shard"]
    return tar.exists() and tar.with_suffix(".json").exists()


def _partial(folder: Path, shard: dict[str, Any]) -> int:
    """Bytes of a missing shard that are there already."""
    tar = folder / shard["shard"]
    for path in (tar, partial_path(tar)):
        if path.exists():
            return path.stat().st_size
    return 0


def _check_space(folder: Path, missing: list[dict[str, Any]]) -> None:
    needed = sum(shard["bytes"] - _partial(folder, shard) for shard in missing) + SPARE
    free = shutil.disk_usage(folder).free
    if free < needed:
        others = [other.name for other in sorted(folder.parent.iterdir()) if other.is_dir() and other != folder]
        older = f"remove older sets there ({', '.join(others)}), or " if others else ""
        raise ShardError(
            f"{needed / 1e9:.1f} GB are needed to stage {len(missing)} shards, {free / 1e9:.1f} are free",
            where=folder,
            fix=f"{older}give another data.cache, or read from where the shards are: data.shuffle=window and no cache",
        )
