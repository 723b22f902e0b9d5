"""The shard folder that a build writes into; a set at a URL is in `mrigan.packing.url_store`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mrigan.catalog import LABELS, Clip
from mrigan.files import failpoint
from mrigan.packing.journal import UnitReport, write_report
from mrigan.packing.record import record_inputs
from mrigan.packing.unit import UnitMaker, is_done
from mrigan.shardset.manifest import write_manifest
from mrigan.shardset.plan_file import Plan, Unit
from mrigan.workers.pool import Setup


class ShardStore:
    """A shard folder on this machine, or one that it shares with other machines.

    Attributes:
        plan: of the set, in a folder of this machine.
        where: the folder or URL of the set, for messages.
        worker: what a worker is set up with; see `mrigan.workers.pool.run_tasks`.
    """

    worker: tuple[Setup, tuple[Any, ...]]

    def __init__(self, plan: Plan) -> None:
        self.plan, self.where = plan, str(plan.folder)
        self.worker = UnitMaker, (replace(plan, units=()),)  # each task brings its unit

    def missing(self) -> list[Unit]:
        """The units of the plan that are missing or incomplete."""
        return [unit for unit in self.plan.units if not is_done(self.plan, unit)]

    def keep(self, report: UnitReport) -> None:
        """Keep the report of a unit that was given up, for `mrigan shards watch`."""
        write_report(self.plan.layout, report)

    def finish(self) -> None:
        """Merge the rows of all units and write the manifest. Needs every unit; a second call changes nothing."""
        write_manifest(self.plan)

    def bring(self, units: Sequence[str]) -> None:
        """Have the current markers and tables of these units in the plan's folder."""

    def forget(self, unit: Unit) -> None:
        """Remove a unit's marker, so that the unit is built again."""
        self.plan.layout.unit_marker(unit.name).unlink(missing_ok=True)
        failpoint("unit.forgotten", unit.name)

    def shards_of(self, unit: Unit) -> list[str]:
        """The names of the existing shards of a unit."""
        layout = self.plan.layout
        return [path.name for label in LABELS for path in layout.shards_of(unit.split, label, unit.number)]

    def remove_shard(self, shard: str) -> None:
        """Remove a shard, its index and its sidecar; the tar last, because `verify` finds it."""
        layout = self.plan.layout
        for path in (layout.index(shard), layout.sidecar(shard), layout.shard(shard)):
            self._remove(path)
            failpoint("shard.removed", path.name)

    def remove_faces(self, table: str) -> None:
        """Remove a table of detections."""
        self._remove(self.plan.faces / table)

    def record(self, clips: Sequence[Clip] | None, made_of: Mapping[str, str | None] | None = None) -> None:
        """`record_inputs` in the plan's folder, and in the set."""
        record_inputs(self.plan, clips, made_of)

    def _remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)
