"""A shard set at a URL: units are made in a folder of this machine and sent when they are whole, the marker last.

No machine needs a folder that the others see. The plan lies at the URL as in a shard folder; each builder fetches it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from mrigan.catalog import LABELS, Clip
from mrigan.config import ShardsConfig
from mrigan.errors import ConfigError, ShardError
from mrigan.files import temporary_path
from mrigan.packing.inputs import record_inputs, refuse_other_libraries
from mrigan.packing.journal import KEPT, UnitReport, write_report
from mrigan.packing.place import load_slice
from mrigan.packing.plan import plan_shards
from mrigan.packing.tools import Tools
from mrigan.packing.unit import Job, build_unit, is_whole, use_one_thread
from mrigan.shardset.layout import FOLDERS, NAMES, shard_name
from mrigan.shardset.manifest import write_manifest
from mrigan.shardset.mirror import PLAN, mirror
from mrigan.shardset.plan_file import Plan, Unit
from mrigan.storage import RemoteFiles, reaching
from mrigan.workers.pool import Setup


class Remote:
    """A `Place` at a URL, with its plan in a folder of this machine."""

    def __init__(self, files: RemoteFiles, plan: Plan, scratch: Path) -> None:
        self.files, self.plan, self.where = files, plan, files.url
        self.worker: tuple[Setup, tuple[Any, ...]] = UnitSender, (replace(plan, units=()), files.url, str(scratch))

    def missing(self) -> list[Unit]:
        with reaching(self.where):
            return missing_units(self.files, self.plan, self.plan.units)

    def keep(self, report: UnitReport) -> None:
        write_report(self.plan.layout, report)
        name = NAMES.unit_log(report.unit).as_posix()
        with reaching(self.where):
            self.files.send(self.plan.folder / name, name)

    def finish(self) -> None:
        units = [(NAMES.unit_rows(unit.name), NAMES.unit_marker(unit.name)) for unit in self.plan.units]
        with reaching(self.where):
            for path in chain.from_iterable(units):
                self.files.fetch(path.as_posix(), self.plan.folder / path)
        write_manifest(self.plan)
        with reaching(self.where):
            for path in (NAMES.samples, NAMES.manifest):
                self.files.send(self.plan.folder / path, path.as_posix())

    def bring(self, units: Sequence[str]) -> None:
        with reaching(self.where):
            there = self.files.sizes("units")
            for path in chain.from_iterable((NAMES.unit_marker(unit), NAMES.unit_rows(unit)) for unit in units):
                (self.plan.folder / path).unlink(missing_ok=True)
                if path.as_posix() in there:
                    self.files.fetch(path.as_posix(), self.plan.folder / path)

    def forget(self, unit: Unit) -> None:
        with reaching(self.where):
            self.files.remove(NAMES.unit_marker(unit.name).as_posix())

    def shards_of(self, unit: Unit) -> list[str]:
        with reaching(self.where):
            there = self.files.sizes()
        stems = tuple(shard_name(unit.split, label, unit.number).removesuffix(".tar") for label in LABELS)
        return sorted(name for name in there if name.endswith(".tar") and name.startswith(stems))

    def remove(self, shard: str) -> None:
        with reaching(self.where):
            for path in (NAMES.index(shard), NAMES.sidecar(shard), NAMES.shard(shard)):  # as in a folder
                self.files.remove(path.as_posix())

    def remove_faces(self, table: str) -> None:
        if self.plan.config.pack.faces_dir:
            (self.plan.faces / table).unlink(missing_ok=True)
        else:
            with reaching(self.where):
                self.files.remove((NAMES.faces / table).as_posix())

    def record(self, clips: Sequence[Clip] | None, made_of: Mapping[str, str | None] | None = None) -> None:
        record_inputs(self.plan, clips, made_of)
        with reaching(self.where):
            self.files.send(self.plan.layout.inputs, NAMES.inputs.as_posix())


class UnitSender:
    """A worker that makes units on its own machine and sends them."""

    def __init__(self, plan: Plan, url: str, scratch: str) -> None:
        use_one_thread()
        refuse_other_libraries(plan)
        self.files = RemoteFiles(url)
        self.folder = temporary_path(Path(scratch) / "mrigan-unit")
        self.plan = replace(plan, folder=self.folder)
        self.tools = Tools(self.plan)

    def __call__(self, job: Job, report: Callable[[Any], None]) -> UnitReport:
        if not missing_units(self.files, self.plan, [job.unit]):  # by another builder, since this one began
            return UnitReport(job.name, KEPT)
        self.folder.mkdir(parents=True)
        try:
            made = build_unit(self.plan, job, self.tools, report)
            marker = self.plan.layout.unit_marker(job.name)
            others = [path for path in sorted(self.folder.rglob("*")) if path.is_file() and path != marker]
            for path in (*others, marker):
                self.files.send(path, path.relative_to(self.folder).as_posix())
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)
        return made


def missing_units(files: RemoteFiles, plan: Plan, units: Sequence[Unit]) -> list[Unit]:
    """Those of `units` that are not at the URL, or not whole."""
    sizes = files.sizes() | files.sizes("units")
    markers = {NAMES.unit_marker(unit.name).as_posix() for unit in units}
    texts = files.read(sorted(markers & sizes.keys()))

    def read(path: Path) -> bytes:
        return texts[path.as_posix()]

    def size(path: Path) -> int:
        return sizes[path.as_posix()]

    return [unit for unit in units if not is_whole(plan, unit.name, NAMES, read, size)]


@contextmanager
def open_remote(url: str, scratch: str | Path, only: slice) -> Iterator[Remote]:
    """The set at a URL; see `mrigan.packing.place.open_place`."""
    files = RemoteFiles(url)
    if files.one_process:
        raise ConfigError(
            "what workers write to memory:// ends with their process", where=url, fix="give a folder or another URL"
        )
    with mirror(files, scratch) as folder:
        if not (folder / NAMES.plan).is_file():
            raise ShardError("no shard plan there", where=url, fix=f"make one: mrigan shards plan CATALOG -o {url}")
        with reaching(url):
            files.clean(*FOLDERS)
        yield Remote(files, load_slice(folder, only), folder.parent)


@contextmanager
def planned_at(catalog: str | Path, config: ShardsConfig, url: str) -> Iterator[Plan]:
    """`plan_shards` to a URL; the folder of the plan, which is of this machine, goes with the block.

    Raises:
        ShardError, CatalogError, ConfigError: as `plan_shards`; or the URL is of a kind that fsspec does not know.
    """
    files = RemoteFiles(url)
    with mirror(files, "") as folder:
        with reaching(url):
            for name in files.sizes("units"):  # `plan_shards` looks at what is built already
                if name.endswith(".json"):
                    files.fetch(name, folder / name)
        plan = plan_shards(catalog, config, folder)
        with reaching(url):
            for name in PLAN:
                files.send(folder / name, name)
        yield plan
