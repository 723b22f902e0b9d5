"""`mrigan evaluate --gan`: Figures 5 to 10 from run folders of two τ."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from mrigan.cli.app import app
from mrigan.config import GanConfig, to_dict
from mrigan.data import ShardSet
from mrigan.errors import InputError
from mrigan.evaluation.training_curves import PANELS, read_run
from mrigan.models import Generator, save_generator
from mrigan.scoring.originals import find_originals
from tests.data.shards import make_samples, write_shards
from tests.training.runs import write_tiny_shards


def write_run(folder: Path, tau: float) -> Path:
    (folder / "model").mkdir(parents=True)
    config = GanConfig()
    config.loss.tau = tau
    (folder / "config.json").write_text(json.dumps(to_dict(config)))
    lines = [{"step": 10 * i, **{key: 1 / i for _, key in PANELS.values()}} for i in range(1, 200)]
    (folder / "metrics.jsonl").write_text("\n".join(json.dumps(line) for line in lines) + '\n{"step": 19')
    torch.manual_seed(int(10 * tau))
    save_generator(folder / "model" / "generator.safetensors", Generator(size=64, width=8))
    return folder


def test_the_report(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / f"tau-{tau}", tau) for tau in (0.3, 0.7)]
    shards = write_tiny_shards(tmp_path / "shards")
    command = ["evaluate", "--gan", str(runs[0]), "--gan", str(runs[1]), "--shards", str(shards), "--no-track",
               "--split", "val", "-o", str(tmp_path / "out")]  # fmt: skip
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, (result.output, result.exception)
    page = (tmp_path / "out/gan.html").read_text()
    assert all(f"(Fig. {number})" in page for number in PANELS)
    assert "tau-0.3 (tau 0.3): 1,990 steps" in page
    sheet = np.asarray(Image.open(tmp_path / "out/figures/mri-samples.png").convert("RGB"))
    faces, originals, true, first, second = (sheet[18 + 146 * i :][:128, 120:] for i in range(5))
    assert (originals[:, -128:] == faces[:, -128:]).all()  # a real face is its own original
    assert originals[:, :128].mean() > 240  # "not in these shards" on white
    assert "Fig. 7 repeats its Fig. 6" in page
    assert not true[:, -128:].any()  # a real face, on the right: its true MRI is black
    assert true[:, :128].any()
    assert faces.std() > 10
    assert np.abs(first.astype(int) - second).mean() > 0  # two generators draw differently
    assert Image.open(tmp_path / "out/figures/gan-curves.png").width > 1000


def test_originals_are_found_again_by_clip_person_frame_and_box(tmp_path: Path) -> None:
    """Of six fakes: the same frame, two frames late, another place, another person, an unknown clip, and no json."""
    samples = make_samples(3, 6, split="val", size=64)
    reals, fakes = samples[:3], samples[3:]
    at = {"person": 0, "frame_size": [640, 360], "original": None}
    for i, real in enumerate(reals):  # one clip, frames 0, 10 and 20, the face goes to the right
        real.row |= {"clip": "toy/original/-/a", "frame": 10 * i, "person": 0}
        real.about = {**at, "frame": 10 * i, "box": [100 * i, 0, 100 * i + 90, 90]}
    changes = [
        {"frame": 10, "box": [100, 0, 190, 90]},
        {"frame": 22, "box": [205, 0, 295, 90]},
        {"frame": 10, "box": [400, 200, 490, 290]},
        {"frame": 10, "box": [100, 0, 190, 90], "person": 1},
        {"frame": 10, "box": [100, 0, 190, 90], "original": "toy/original/-/b"},
    ]
    for fake, change in zip(fakes, changes, strict=False):
        fake.about = {**at, "original": "toy/original/-/a", **change}
    write_shards(tmp_path / "shards", samples)
    shards = ShardSet.open([str(tmp_path / "shards")], "val")
    place = {key.decode(): i for i, key in enumerate(shards.keys)}
    found = find_originals(shards, [place[sample.key] for sample in [*fakes, reals[2]]])
    there = [place[reals[1].key], place[reals[2].key]]
    assert found == [*there, None, None, None, None, place[reals[2].key]]


def test_the_curves_are_those_of_the_run(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "run", 0.3))
    steps, values = run.series("train/generator")
    assert steps.tolist() == list(range(10, 2000, 10))
    assert values == pytest.approx(10 / steps)
    with pytest.raises(InputError, match=r"run\.dir"):
        read_run(tmp_path)
