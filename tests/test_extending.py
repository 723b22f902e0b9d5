"""The code of docs/extending.md works as it stands there, from outside the package."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

import mrigan
from mrigan.catalog import audit, scan_catalog
from mrigan.catalog.readers import READERS
from mrigan.cli.fields import with_options
from mrigan.config import load_config
from mrigan.config.engines import ENGINES
from mrigan.detect import Judged
from mrigan.detect.inputs import Input
from mrigan.detect.sinks.fan_out import FanOut
from mrigan.detect.verdict import Verdict
from mrigan.errors import ConfigError, OutputError
from mrigan.evaluation.aggregation import STRATEGIES, aggregate
from mrigan.imaging.augmentation import AUGMENTATIONS
from mrigan.imaging.corruptions import CORRUPTIONS, corrupt
from mrigan.imaging.methods import Die
from mrigan.imaging.picture import to_device, to_host
from mrigan.imaging.recipe import draw_step
from mrigan.imaging.treatment import Treatment
from mrigan.mri import METRICS, stored_mri
from mrigan.training.tasks import TASKS, TaskEntry
from mrigan.training.train import train
from tests.documented import code
from tests.imaging.records import treatment_of
from tests.training import test_another_task as another
from tests.training.runs import hashes, logged, run_gan, status, write_tiny_shards

TABLES = (READERS, METRICS, CORRUPTIONS, AUGMENTATIONS, STRATEGIES, ENGINES, TASKS)


@pytest.fixture(autouse=True)
def tables() -> Iterator[None]:
    """What a test adds to a table goes when the test ends."""
    before = [dict(table) for table in TABLES]
    yield
    for table, entries in zip(TABLES, before, strict=True):
        table.clear()
        table.update(entries)


def test_a_data_set(tmp_path: Path) -> None:
    READERS["my-set"] = code("A data set").read_my_set
    for name in ("real/ann.mp4", "real/bob.mp4", "real/x1.mp4", "fake/ann_bob.mp4", "fake/eve_joe.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    catalog, result = scan_catalog("my-set", tmp_path)
    clips = {clip.name: clip for clip in catalog.clips}
    assert clips.keys() == {"ann", "bob", "ann_bob", "eve_joe"}
    assert clips["ann_bob"].original == clips["ann"].id
    assert clips["eve_joe"].original is None
    assert {clips[name].split for name in ("ann", "bob", "ann_bob")} == {clips["ann"].split}  # the donor ties bob
    skipped = {problem.examples for problem in result.problems if "not named" in problem.reason}
    assert skipped == {("real/x1.mp4",)}
    assert not audit(catalog)


def test_a_perceptual_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mrigan.mri.ratio", code("A perceptual function"))
    METRICS["log-ratio"] = "ratio.ratio_mri"
    a, b = torch.randint(0, 256, (2, 1, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    expected = np.abs(np.log2((a.numpy() + 1.0) / (b.numpy() + 1.0))) * 255 / 8
    np.testing.assert_allclose(mrigan.mri_image(a, b, "log-ratio").numpy(), expected, atol=1e-3)
    assert np.abs(stored_mri(a, b, "log-ratio").numpy() - expected).max() < 0.501


def test_a_corruption() -> None:
    code("A corruption")
    faces = [np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)]
    (worst,) = corrupt(faces, "posterize", 5, np.random.default_rng(0))
    assert np.unique(worst).tolist() == [0, 64, 128, 192]


def test_an_augmentation() -> None:
    code("An augmentation")
    step = draw_step("augmentation", "detail", Die(0, "family"))
    assert step.settings["factor"] in (2, 3, 4)
    treatment = treatment_of(Treatment(0, "family", (step,)).record(5))
    stripes = np.zeros((48, 48, 3), np.uint8)
    stripes[:, ::2] = 200
    blurred = treatment.apply(stripes, 5)
    assert blurred.std() < 50 < stripes.std()
    assert treatment.matrix((48, 48))[1] == (48, 48)
    assert np.abs(to_host(treatment.apply(to_device(stripes, "cpu"), 5)).astype(int) - blurred).max() <= 1


def test_a_rule() -> None:
    code("A rule")
    scores = aggregate("highest", [0.2, 0.9, 0.4], [0, 0, 1], 2)
    assert scores.tolist() == [0.9, 0.4]


def test_an_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = code("An output of `mrigan detect`")
    monkeypatch.setitem(sys.modules, "my_package.my_table", module)
    item, verdict = Input("a.mp4", False), Verdict("a.mp4", None, "real", None)
    out = FanOut([item], module.MyOutputs(csv=tmp_path / "out.csv"))
    out.add(item, Judged(verdict, False))
    out.finish([])
    assert out.written == [str(tmp_path / "out.csv")]
    assert (tmp_path / "out.csv").read_text().split() == ["path,verdict", "a.mp4,real"]
    with pytest.raises(OutputError):  # before the first video
        FanOut([item], module.MyOutputs(csv=tmp_path))


def test_a_field_is_an_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = code("An output of `mrigan detect`").MyOutputs
    given: list[object] = []

    def command(*, outputs, path: str = "") -> None:  # type: ignore[no-untyped-def]
        given.append((outputs, path))

    command.__annotations__["outputs"] = outputs
    app = typer.Typer()
    app.command()(with_options(command))
    assert CliRunner().invoke(app, ["--csv", "a.csv", "--path", "b", "--force"]).exit_code == 0
    assert given == [(outputs(csv=Path("a.csv"), force=True), "b")]


def test_an_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On one rank; tests/distributed/engines.py has it on two."""
    monkeypatch.setitem(sys.modules, "my_package.flat", code("An engine"))
    shards, parts = write_tiny_shards(tmp_path / "shards"), tmp_path / "parts"
    run_gan(shards, tmp_path / "whole", "data.workers=0", "engine.name=single", "train.steps=9")
    run_gan(shards, parts, "data.workers=0", "engine.name=flat", "train.steps=4")
    run_gan(shards, parts, "data.workers=0", "engine.name=flat", "train.steps=7")
    run_gan(shards, parts, "data.workers=0", "engine.name=single", "train.steps=9")
    assert hashes(parts, 9) == hashes(tmp_path / "whole", 9)
    assert status(parts)["state"] == "finished"
    with pytest.raises(ConfigError, match=r"use one of: ddp, .*, zero3, flat"):
        run_gan(shards, parts, "engine.name=flatt")


def test_a_callback(tmp_path: Path) -> None:
    """Its state is in the checkpoint: a run that was stopped has the values of one that was not."""
    callback = code("A callback").LargestGradient
    TASKS["colour"] = TaskEntry(another.ColourConfig, f"{another.__name__}:ColourTask", "a colour")
    shards = write_tiny_shards(tmp_path / "shards")
    norms: dict[str, dict[int, float]] = {}
    for name, lengths in (("whole", [8]), ("parts", [3, 8])):
        for steps in lengths:
            words = another.words(shards, tmp_path / name, steps)
            train("colour", load_config(another.ColourConfig, None, words), callbacks=[callback])
        norms[name] = logged(tmp_path / name, "largest_gradient/colour")
    each = logged(tmp_path / "whole", "grad_norm/colour")
    assert norms["parts"] == norms["whole"]
    assert norms["whole"] == {step: max(each[i] for i in range(1, step + 1)) for step in range(1, 9)}
