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

import pyarrow.compute as pc

from mrigan.data.node_lock import one_on_the_node
from mrigan.errors import ConfigError, ShardError
from mrigan.files import atomic_write
from mrigan.progress import bar
from mrigan.shardset.layout import NAMES, Layout, parse_json
from mrigan.shardset.manifest import Manifest, ShardEntry
from mrigan.shardset.plan_file import parse_plan
from mrigan.shardset.rows import select_rows
from mrigan.storage import PIPE, Readable, fetch, folder_of, is_remote, open_storage, partial_path, read_patiently

log = logging.getLogger(__name__)
MAX_FETCHES = 4  # tars at a time
MIN_FREE_BYTES = 64 << 20  # that stay free on the disk


def local_folders(shards: Sequence[str | Path], cache: str | Path = "", splits: Sequence[str] = ()) -> list[Path]:
    """Folders of this machine that hold `shards`: themselves, or what is staged of them in `cache`.

    Args:
        shards: shard folders, or URLs of them: http(s)://, s3://, file:// and what else fsspec knows; or
            `pipe:COMMAND`, see `mrigan.storage.PipeStorage`.
        cache: a folder on a local disk, for staging; "" = none. Every process of a node may call this at once.
        splits: whose tars to stage; none = tables only.

    Raises:
        ConfigError: a URL or a command without a cache, an unknown protocol, a cache that is itself a shard folder.
        ShardError: nothing there, the connection is lost for good, wrong bytes, no room, foreign files in the cache.
    """
    if cache:
        return [_staged(str(folder), Path(cache), splits) for folder in shards]
    for folder in shards:
        if is_remote(folder):
            raise ConfigError(
                "data.shards is not a folder of this machine, and shards are read from a local disk",
                where=folder,
                fix="give data.cache=DIR, a folder on a disk of this node",
            )
    return [folder_of(folder) for folder in shards]


def _staged(url: str, cache: Path, splits: Sequence[str]) -> Path:
    if Layout(cache).manifest.exists():
        raise ConfigError("data.cache is itself a shard folder", where=cache, fix="give a folder of its own")
    source = open_storage(url)
    manifest = _manifest(source)
    name = "pipe" if url.startswith(PIPE) else re.sub(r"[^\w.-]", "_", source.url.rpartition("/")[2]) or "shards"
    layout = Layout(cache / f"{name}-{manifest.samples_sha256[:16]}")
    layout.root.mkdir(parents=True, exist_ok=True)
    with one_on_the_node(layout.root) as beat:
        for leftover in layout.root.glob(".*.tmp"):  # of a killed process: only one stages at a time
            leftover.unlink()
        _refuse_strangers(layout, manifest)
        if not layout.samples.exists():
            _copy(source, layout.samples, partial(_check_sha256, manifest.samples_sha256))
        if not layout.plan.exists():
            _copy(source, layout.plan, parse_plan)
        needed = _shards_of(layout, splits)
        missing = [shard for shard in manifest.shards.values() if shard.shard in needed and not _done(layout, shard)]
        if missing:
            _check_space(layout, missing)
            done = sum(size for shard in missing if (size := _partial(layout, shard)))
            total = sum(shard.bytes for shard in missing)
            with bar(f"staging {name}", total >> 20, "MB", done=done >> 20) as advance:
                arrived, lock = [done], threading.Lock()

                def report(count: int) -> None:
                    with lock:
                        before, arrived[0] = arrived[0], arrived[0] + count
                        if whole := (arrived[0] >> 20) - (before >> 20):
                            advance(whole)
                        beat()

                _fetch_all(source, layout, manifest.format, missing, report)
            log.info("%d shards of %s are staged in %s", len(missing), url, layout.root)
        if not layout.manifest.exists():  # last: with it the folder is a shard set
            _copy(source, layout.manifest, partial(_check_same, manifest))
    return layout.root


def _fetch_all(
    source: Readable, layout: Layout, format: int, shards: Sequence[ShardEntry], report: Callable[[int], None]
) -> None:
    def bring(shard: ShardEntry) -> None:
        tar = layout.shard(shard.shard)
        if not tar.exists():
            fetch(source, tar.name, tar, size=shard.bytes, sha256=shard.sha256, advance=report)
        _copy(source, layout.index(tar.name))
        _copy(source, layout.sidecar(tar.name), partial(parse_json, format=format))  # last: the shard is done

    pool = ThreadPoolExecutor(MAX_FETCHES, thread_name_prefix="stage")
    try:
        for _ in pool.map(bring, shards):
            pass
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _manifest(source: Readable) -> Manifest:
    name = NAMES.manifest.name
    try:
        return Manifest.of(parse_json(read_patiently(source, name)))
    except ValueError as error:
        fix = "give the folder that `mrigan shards build` finished"
        raise ShardError(f"is no manifest of a shard set: {error}", where=source.where(name), fix=fix) from None


def _copy(source: Readable, path: Path, check: Callable[[bytes], object] = bytes) -> None:
    """Copy a small file of the set to `path`, whole or not at all; not if `check` raises ValueError."""
    data = read_patiently(source, path.name)
    try:
        check(data)
    except ValueError as error:
        raise ShardError(
            f"{path.name} is damaged: {error}",
            where=source.where(path.name),
            fix="verify the set at its source; start again if it was being built just now",
        ) from None
    with atomic_write(path) as file:
        file.write(data)


def _check_sha256(sha256: str, data: bytes) -> None:
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ValueError("it is not the one that manifest.json describes")


def _check_same(manifest: Manifest, data: bytes) -> None:
    if Manifest.of(parse_json(data)) != manifest:
        raise ValueError("it changed in the meantime")


def _refuse_strangers(layout: Layout, manifest: Manifest) -> None:
    """Raise ShardError for a tar in the cache folder that is not of this set, or has another size."""
    for tar in sorted(layout.root.glob("*.tar")):
        size, entry = tar.stat().st_size, manifest.shards.get(tar.name)
        if entry is None or size != entry.bytes:
            what = "is not of this set" if entry is None else f"has {size} bytes, not {entry.bytes}"
            raise ShardError(f"a file in the cache {what}", where=tar, fix="remove it, and find out who writes there")


def _shards_of(layout: Layout, splits: Sequence[str]) -> set[str]:
    if not splits:
        return set()
    return set(pc.unique(select_rows(layout.samples, ["shard"], splits=splits, stored=True)["shard"]).to_pylist())


def _done(layout: Layout, shard: ShardEntry) -> bool:
    return layout.shard(shard.shard).exists() and layout.sidecar(shard.shard).exists()


def _partial(layout: Layout, shard: ShardEntry) -> int:
    """Bytes of a missing shard that are there already."""
    tar = layout.shard(shard.shard)
    return next((path.stat().st_size for path in (tar, partial_path(tar)) if path.exists()), 0)


def _check_space(layout: Layout, missing: Sequence[ShardEntry]) -> None:
    folder = layout.root
    needed = sum(shard.bytes - _partial(layout, shard) for shard in missing) + MIN_FREE_BYTES
    free = shutil.disk_usage(folder).free
    if free < needed:
        others = [other.name for other in sorted(folder.parent.iterdir()) if other.is_dir() and other != folder]
        older = f"remove older sets there ({', '.join(others)}), or " if others else ""
        raise ShardError(
            f"{needed / 1e9:.1f} GB are needed to stage {len(missing)} shards, {free / 1e9:.1f} are free",
            where=folder,
            fix=f"{older}give another data.cache, or read from where the shards are: data.shuffle=window and no cache",
        )
