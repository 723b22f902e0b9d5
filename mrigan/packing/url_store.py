"""A shard set at a URL: units are built in a folder of this machine and sent when they are whole, the marker last.

No machine needs a folder that other machines see. The plan is at the URL, as in a shard folder, and each builder
fetches it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from mrigan.catalog import LABELS, Clip
from mrigan.files import temporary_path
from mrigan.packing.journal import KEPT, UnitReport
from mrigan.packing.libraries import refuse_other_libraries
from mrigan.packing.store import ShardStore
from mrigan.packing.tools import Tools
from mrigan.packing.unit import UnitTask, build_unit, is_whole, use_one_thread
from mrigan.shardset.layout import NAMES, shard_name
from mrigan.shardset.plan_file import Plan, Unit
from mrigan.storage import Storage


class UrlStore(ShardStore):
    """A `ShardStore` at a URL, with its plan in a folder of this machine."""

    def __init__(self, storage: Storage, plan: Plan, scratch: Path) -> None:
        self.plan, self.where, self.storage = plan, storage.url, storage
        self.worker = UnitSender, (replace(plan, units=()), storage.url, str(scratch))

    def missing(self) -> list[Unit]:
        return missing_units(self.storage, self.plan, self.plan.units)

    def keep(self, report: UnitReport) -> None:
        super().keep(report)
        self._put(NAMES.unit_log(report.unit))

    def finish(self) -> None:
        self.bring([unit.name for unit in self.plan.units])
        super().finish()
        self._put(NAMES.samples, NAMES.manifest)

    def bring(self, units: Sequence[str]) -> None:
        existing = self.storage.sizes(NAMES.units.as_posix())
        for path in chain.from_iterable((NAMES.unit_marker(unit), NAMES.unit_rows(unit)) for unit in units):
            (self.plan.folder / path).unlink(missing_ok=True)
            if path.as_posix() in existing:
                self.storage.get(path.as_posix(), self.plan.folder / path)

    def forget(self, unit: Unit) -> None:
        self._remove(self.plan.layout.unit_marker(unit.name))

    def shards_of(self, unit: Unit) -> list[str]:
        stems = tuple(shard_name(unit.split, label, unit.number).removesuffix(".tar") for label in LABELS)
        return sorted(name for name in self.storage.sizes() if name.endswith(".tar") and name.startswith(stems))

    def record(self, clips: Sequence[Clip] | None, made_of: Mapping[str, str | None] | None = None) -> None:
        super().record(clips, made_of)
        self._put(NAMES.inputs)

    def _put(self, *paths: Path) -> None:
        for path in paths:
            self.storage.put(self.plan.folder / path, path.as_posix())

    def _remove(self, path: Path) -> None:
        super()._remove(path)
        if path.is_relative_to(self.plan.folder):  # else detections in a folder that sets share
            self.storage.remove(path.relative_to(self.plan.folder).as_posix())


class UnitSender:
    """A worker that builds units on its own machine and sends them."""

    def __init__(self, plan: Plan, url: str, scratch: str) -> None:
        use_one_thread()
        refuse_other_libraries(plan)
        self.storage = Storage(url)
        self.folder = temporary_path(Path(scratch) / "mrigan-unit")
        self.plan = replace(plan, folder=self.folder)
        self.tools = Tools(self.plan)

    def __call__(self, task: UnitTask, report: Callable[[Any], None]) -> UnitReport:
        if not missing_units(self.storage, self.plan, [task.unit]):  # built by another builder since this one began
            return UnitReport(task.name, KEPT)
        self.folder.mkdir(parents=True)
        try:
            built = build_unit(self.plan, task, self.tools, report)
            marker = self.plan.layout.unit_marker(task.name)
            others = [path for path in sorted(self.folder.rglob("*")) if path.is_file() and path != marker]
            for path in (*others, marker):
                self.storage.put(path, path.relative_to(self.folder).as_posix())
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)
        return built


def missing_units(storage: Storage, plan: Plan, units: Sequence[Unit]) -> list[Unit]:
    """Those of `units` that are missing or incomplete at the URL."""
    sizes = storage.sizes() | storage.sizes(NAMES.units.as_posix())
    markers = {NAMES.unit_marker(unit.name).as_posix() for unit in units}
    texts = storage.read(sorted(markers & sizes.keys()))

    def read(path: Path) -> bytes:
        return texts[path.as_posix()]

    def size(path: Path) -> int:
        return sizes[path.as_posix()]

    return [unit for unit in units if not is_whole(plan, unit.name, NAMES, read, size)]
