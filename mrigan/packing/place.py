"""Where a build puts its units, and what is there already: a folder here, a URL in `mrigan.packing.remote`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from mrigan.catalog import LABELS, Clip
from mrigan.config import ShardsConfig
from mrigan.files import failpoint
from mrigan.packing.inputs import record_inputs
from mrigan.packing.journal import UnitReport, write_report
from mrigan.packing.plan import plan_shards
from mrigan.packing.unit import UnitMaker, is_done
from mrigan.shardset.leftovers import clean, refuse_special_files
from mrigan.shardset.manifest import write_manifest
from mrigan.shardset.plan_file import Plan, Unit, load_plan, unit_names
from mrigan.storage import folder_of, is_url
from mrigan.workers.pool import Setup

ALL = slice(None)


class Place(Protocol):
    """What a build must know of the place that it builds in.

    Attributes:
        plan: of that place, as a folder of this machine has it.
        where: as a person calls it.
        worker: what a worker is made with, see `run_tasks`.
    """

    plan: Plan
    where: str
    worker: tuple[Setup, tuple[Any, ...]]

    def missing(self) -> list[Unit]:
        """The units of the plan that are not there, or not whole."""

    def keep(self, report: UnitReport) -> None:
        """Keep the report of a unit that was given up, for those who watch."""

    def finish(self) -> None:
        """Merge the rows of all units and write the manifest. Needs every unit done; again, it changes nothing."""

    def bring(self, units: Sequence[str]) -> None:
        """Have the markers and tables of these units, as they are there now, in the plan's folder."""

    def forget(self, unit: Unit) -> None:
        """Remove a unit's marker: it is to be made again."""

    def shards_of(self, unit: Unit) -> list[str]:
        """The names of the shards of a unit that are there."""

    def remove(self, shard: str) -> None:
        """Remove a shard, its index and its sidecar."""

    def remove_faces(self, table: str) -> None:
        """Remove a table of detections."""

    def record(self, clips: Sequence[Clip] | None, made_of: Mapping[str, str | None] | None = None) -> None:
        """`record_inputs`, there too."""


class Folder:
    """A shard folder on this machine, or one that it shares with others."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.where = plan, str(plan.folder)
        self.worker: tuple[Setup, tuple[Any, ...]] = UnitMaker, (replace(plan, units=()),)  # it gets them one by one

    def missing(self) -> list[Unit]:
        return [unit for unit in self.plan.units if not is_done(self.plan, unit)]

    def keep(self, report: UnitReport) -> None:
        write_report(self.plan.layout, report)

    def finish(self) -> None:
        write_manifest(self.plan)

    def bring(self, units: Sequence[str]) -> None: ...

    def forget(self, unit: Unit) -> None:
        self.plan.layout.unit_marker(unit.name).unlink(missing_ok=True)
        failpoint("unit.forgotten", unit.name)

    def shards_of(self, unit: Unit) -> list[str]:
        layout = self.plan.layout
        return [path.name for label in LABELS for path in layout.shards_of(unit.split, label, unit.number)]

    def remove(self, shard: str) -> None:
        layout = self.plan.layout
        for path in (
            layout.index(shard),
            layout.sidecar(shard),
            layout.shard(shard),
        ):  # verify finds the last
            path.unlink(missing_ok=True)
            failpoint("shard.removed", path.name)

    def remove_faces(self, table: str) -> None:
        (self.plan.faces / table).unlink(missing_ok=True)

    def record(self, clips: Sequence[Clip] | None, made_of: Mapping[str, str | None] | None = None) -> None:
        record_inputs(self.plan, clips, made_of)


def load_slice(folder: str | Path, only: slice) -> Plan:
    """The plan in a folder with some of its units; of a large plan, few of them are read in milliseconds."""
    return load_plan(folder) if only == ALL else load_plan(folder, unit_names(folder)[only])


@contextmanager
def open_place(out: str | Path, scratch: str | Path = "", only: slice = ALL) -> Iterator[Place]:
    """The place that a folder or a URL names. What dead builders left on this machine goes, before and after.

    Args:
        scratch: folder of this machine for what goes to a URL, "" = the system's.
        only: which units of the plan.

    Raises:
        ShardError: there is no plan.
        ConfigError: fsspec does not know the URL, or a package is missing for it.
    """
    if is_url(out):
        from mrigan.packing.remote import open_remote

        with open_remote(str(out), scratch, only) as remote:
            yield remote
        return
    plan = load_slice(folder_of(out), only)
    refuse_special_files(plan.layout)
    clean(plan.layout)
    try:
        yield Folder(plan)
    finally:
        clean(plan.layout)


@contextmanager
def planned(catalog: str | Path, config: ShardsConfig, out: str | Path) -> Iterator[Plan]:
    """`plan_shards` in the folder or at the URL that `out` names; its files can be read within the block."""
    if is_url(out):
        from mrigan.packing.remote import planned_at

        with planned_at(catalog, config, str(out)) as plan:
            yield plan
        return
    yield plan_shards(catalog, config, folder_of(out))
