"""The `ShardStore` of a folder or a URL, and a plan made in either."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mrigan.config import ShardsConfig
from mrigan.errors import ConfigError
from mrigan.packing.plan import plan_shards
from mrigan.packing.store import ShardStore
from mrigan.packing.url_store import UrlStore
from mrigan.shardset.layout import FOLDERS, NAMES
from mrigan.shardset.leftovers import clean, refuse_special_files
from mrigan.shardset.mirror import PLAN, mirror, require_plan
from mrigan.shardset.plan_file import Plan, load_plan, unit_names
from mrigan.storage import Storage, folder_of, is_url

ALL = slice(None)


@contextmanager
def open_store(out: str | Path, scratch: str | Path = "", only: slice = ALL) -> Iterator[ShardStore]:
    """The store at a folder or a URL. What killed builders left on this machine is removed, before and after.

    Args:
        scratch: folder of this machine for files that go to a URL, "" = the system's.
        only: which units of the plan.

    Raises:
        ShardError: there is no plan.
        ConfigError: fsspec does not know the URL, or a package is missing for it.
    """
    if not is_url(out):
        plan = _load_slice(folder_of(out), only)
        refuse_special_files(plan.layout)
        clean(plan.layout)
        try:
            yield ShardStore(plan)
        finally:
            clean(plan.layout)
        return
    url, storage = str(out), Storage(str(out))
    if storage.in_this_process:
        what = "workers cannot write to memory://, which is of one process"
        raise ConfigError(what, where=url, fix="give a folder or another URL")
    with mirror(storage, scratch) as folder:
        require_plan(folder, url)
        storage.clean(*FOLDERS)
        yield UrlStore(storage, _load_slice(folder, only), folder.parent)


@contextmanager
def planned(catalog: str | Path, config: ShardsConfig, out: str | Path) -> Iterator[Plan]:
    """`plan_shards` into a folder or to a URL; the files of the plan can be read within the block.

    Raises:
        ShardError, CatalogError, ConfigError: as `plan_shards`; or fsspec does not know the URL.
    """
    if not is_url(out):
        yield plan_shards(catalog, config, folder_of(out))
        return
    storage = Storage(str(out))
    with mirror(storage, "") as folder:
        for name in storage.sizes(NAMES.units.as_posix()):  # `plan_shards` looks at what is built already
            if name.endswith(".json"):
                storage.get(name, folder / name)
        plan = plan_shards(catalog, config, folder)
        for name in PLAN:
            storage.put(folder / name, name)
        yield plan


def _load_slice(folder: Path, only: slice) -> Plan:
    """The plan with some of its units; a few units of a large plan are read in milliseconds."""
    return load_plan(folder) if only == ALL else load_plan(folder, unit_names(folder)[only])
