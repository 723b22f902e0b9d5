"""`mrigan shards landmarks`: for a set that was built without, on each clip's own pixels; found again after harm."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from mrigan.catalog import Catalog, read_catalog
from mrigan.cli.app import app
from mrigan.data import ShardSet
from mrigan.data.landmarks import stored_landmarks
from mrigan.errors import ModelError, ShardError
from mrigan.packing import plan_shards
from mrigan.packing.landmark_worker import FINDERS, LandmarkWorker
from mrigan.packing.landmarks import find_landmarks
from mrigan.packing.unit import UnitTask
from mrigan.shardset.plan_file import Plan, load_plan
from mrigan.video.dlib_points import DlibPoints
from mrigan.video.landmarks import GRID, FaceMesh
from tests.kills import script
from tests.packing.conftest import PNG, Built, config, make, two_families
from tests.packing.test_landmarks import frame_of, json_members


@dataclass(frozen=True)
class Old:
    """A set without landmarks, with its clips: two units, a family each."""

    folder: Path
    clips: Catalog

    @property
    def plan(self) -> Plan:
        return load_plan(self.folder)

    def look(self, unit: str) -> tuple[Counter[str], int]:
        """The worker in this process."""
        [unit_of_name] = [each for each in self.plan.units if each.name == unit]
        return LandmarkWorker(self.plan, "mesh")(UnitTask(unit_of_name), lambda note: None)

    def table(self, unit: str) -> Path:
        return self.plan.layout.unit_landmarks("mesh", unit)


@pytest.fixture(scope="module")
def old(built: Built, face_mesh: Path, tmp_path_factory: pytest.TempPathFactory) -> Old:
    folder = tmp_path_factory.mktemp("old")
    catalog = two_families(built, folder)
    make(plan_shards(catalog, config(*PNG, "faces.every=5"), folder / "shards"))
    before = sorted(path.name for path in (folder / "shards").iterdir())
    result = CliRunner().invoke(app, ["shards", "landmarks", str(folder / "shards"), "--workers", "1"])
    assert result.exit_code == 0, result.output
    assert "of 0 samples" not in result.output
    assert sorted(path.name for path in (folder / "shards").iterdir()) == sorted([*before, "landmarks"])
    return Old(folder / "shards", read_catalog(catalog))


@pytest.fixture
def unit(old: Old) -> Iterator[str]:
    """A unit whose table may be harmed: it is put back."""
    name = old.plan.units[0].name
    whole = old.table(name).read_bytes()
    yield name
    old.table(name).write_bytes(whole)


def test_each_clip_has_those_of_its_own_pixels(old: Old) -> None:
    mesh = FaceMesh()
    samples = {label: next(each for each in json_members(old.folder) if each["label"] == label and each["frame"] > 0)
               for label in ("real", "fake")}  # fmt: skip
    points = {label: _stored(old, sample) for label, sample in samples.items()}
    for label, sample in samples.items():
        image = frame_of(old.clips, sample["clip"], sample["frame"])
        expected = mesh(image, sample["box"]).points[:, :2]
        assert np.abs(points[label] - expected).max() <= GRID / 2 + 0.01
        assert (np.mod(points[label], GRID) == 0).all()
    fake = samples["fake"]
    of_original = mesh(frame_of(old.clips, fake["original"], fake["frame"]), fake["box"]).points[:, :2]
    assert np.abs(points["fake"] - of_original).max() > 2 * GRID


def _stored(old: Old, sample: dict) -> np.ndarray:
    opened = ShardSet.open([old.folder], sample["split"])
    clips, frames = (opened.rows[name].to_pylist() for name in ("clip", "frame"))
    i = next(i for i in range(len(opened)) if (clips[i], frames[i]) == (sample["clip"], sample["frame"]))
    found = stored_landmarks(opened)
    assert found.frame_sizes[i].tolist() == sample["frame_size"]
    return found.points[i]


def test_another_call_finds_what_is_missing(old: Old, unit: str) -> None:
    whole = old.table(unit).read_bytes()
    assert old.look(unit)[1] == 0
    assert old.table(unit).read_bytes() == whole
    for harm in (b"", whole[:-30], whole[: len(whole) // 2] + b"\xff" * 40 + whole[len(whole) // 2 + 40 :]):
        old.table(unit).write_bytes(harm)
        counts, looked = old.look(unit)
        assert looked == counts.total() == counts[""] > 0
        assert old.table(unit).read_bytes() == whole


def test_a_clip_that_is_gone_or_another_is_counted_and_looked_at_when_it_is_back(old: Old, unit: str) -> None:
    clip = next(clip for family in old.plan.units[0].families for clip in family.clips)
    path, aside = old.plan.path(clip), old.folder.parent / "aside"
    whole = old.look(unit)[0]
    path.rename(aside)
    try:
        old.table(unit).unlink()
        counts, _ = old.look(unit)
        gone = counts["missing_clip"]
        assert 0 < gone < whole.total()
        path.write_bytes(aside.read_bytes() + b"more")
        assert old.look(unit) == (Counter({"": whole.total() - gone, "changed_clip": gone}), gone)
    finally:
        aside.rename(path)
    assert old.look(unit) == (whole, gone)


def test_a_clip_that_was_too_slow_has_a_reason(old: Old, unit: str) -> None:
    old.table(unit).unlink()
    task = UnitTask(old.plan.units[0])
    clip = task.unit.families[0].clips[0].id
    counts, _ = LandmarkWorker(old.plan, "mesh")(UnitTask(task.unit, slow=((clip, "too slow"),)), lambda note: None)
    assert counts["unreadable: too slow"] > 0


def test_treated_frames_are_in_no_file(old: Old, face_mesh: Path, tmp_path: Path) -> None:
    catalog = old.folder.parent / "catalog.parquet"
    plan = plan_shards(catalog, config(*PNG, "faces.every=10", "recipe.share=1", "pack.splits=[val]"), tmp_path / "set")
    make(plan)
    report = find_landmarks(plan.folder, workers=1)
    assert report.reasons == Counter(treated=report.samples)
    assert report.samples > 0
    with pytest.raises(ShardError, match=r"none of the .* has landmarks .*treated"):
        stored_landmarks(ShardSet.open([plan.folder], "val"))


def test_a_set_that_has_them_or_is_not_finished_is_refused(old: Old, tmp_path: Path) -> None:
    catalog = old.folder.parent / "catalog.parquet"
    plan_shards(catalog, config(*PNG, "pack.splits=[val]"), tmp_path / "planned")
    with pytest.raises(ShardError):
        find_landmarks(tmp_path / "planned")
    with pytest.raises(ShardError, match="in a folder"):
        find_landmarks("s3://bucket/set")
    plan = plan_shards(
        catalog, config(*PNG, "pack.splits=[val]", "faces.landmarks=mesh", "faces.every=10"), tmp_path / "set"
    )
    make(plan)
    with pytest.raises(ShardError, match="hold their landmarks already"):
        find_landmarks(plan.folder)


def test_dlib_is_a_second_source(old: Old) -> None:
    pytest.importorskip("dlib")
    pytest.importorskip("face_recognition_models")
    from mrigan.pose.points import eye_distance, points_68

    sample = next(sample for sample in json_members(old.folder) if sample["label"] == "real")
    image = frame_of(old.clips, sample["clip"], sample["frame"])
    points = DlibPoints()(image, sample["box"])
    beside = points_68(FaceMesh()(image, sample["box"]).points)
    assert np.median(np.linalg.norm(points - beside, axis=1)) < 0.12 * eye_distance(beside)
    assert find_landmarks(old.folder, "dlib", workers=1).found > 0
    assert stored_landmarks(ShardSet.open([old.folder], sample["split"]), "dlib").points.shape[1:] == (68, 2)


def test_dlib_that_is_absent_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "dlib", None)
    with pytest.raises(ModelError, match=r"mrigan\[dlib\]"):
        FINDERS["dlib"]()


KILLS = """
import shutil, sys
from dataclasses import replace
from pathlib import Path
from mrigan.packing.landmark_worker import LandmarkWorker
from mrigan.packing.unit import UnitTask
from mrigan.shardset.leftovers import clean_folders
from mrigan.shardset.plan_file import load_plan
from tests.kills import same_after_each

root, old = Path(sys.argv[1]), Path(sys.argv[2])
plan = load_plan(old)

def start(folder):
    shutil.copytree(old, folder, ignore=shutil.ignore_patterns("landmarks"))

def work(folder):
    clean_folders(folder / "landmarks" / "mesh")
    for unit in plan.units:
        LandmarkWorker(replace(plan, folder=folder), "mesh")(UnitTask(unit), lambda note: None)

LandmarkWorker(plan, "mesh")
same_after_each(work, root / "kills", least=4, start=start)
"""


@pytest.mark.faults
def test_killed_at_each_write_it_ends_in_the_same_bytes(old: Old, tmp_path: Path) -> None:
    script(KILLS, tmp_path, old.folder)
