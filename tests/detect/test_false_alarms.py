"""`mrigan evaluate --false-alarms`: real files and real shards, judged by the models' own rule and limits."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from mrigan.cli.app import app
from mrigan.config import FacesConfig, ShardsConfig, to_dict
from mrigan.detect import detect
from mrigan.errors import ConfigError
from mrigan.models.bundle import load_bundle, save_bundle
from tests.data.shards import make_samples, write_shards
from tests.detect.conftest import THRESHOLDS


def run(out: Path, model: Path, *paths: Path, limits: tuple[str, ...] = ()) -> Result:
    given = ["--false-alarms", *map(str, paths), "--model", str(model), "--workers", "0", "--no-track", *limits]
    return CliRunner().invoke(app, ["evaluate", *given, "-o", str(out)])


def results_of(out: Path) -> dict:
    [result] = json.loads((out / "false-alarms.json").read_text())["results"]
    return result


@pytest.fixture(scope="module")
def reals(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """phones/ with a video of a face and one without; stills/ with a picture and a damaged one."""
    folder = tmp_path_factory.mktemp("reals")
    for source, names in (("phones", ("short.mp4", "noface.mp4")), ("stills", ("face.png",))):
        (folder / source).mkdir()
        for name in names:
            shutil.copy(clips / name, folder / source)
    with open(os.path.join(os.fsencode(folder), b"stills/caf\xe9.jpg"), "wb") as file:
        file.write(b"\xff\xd8\xff nothing more")
    return folder


def test_a_folder_of_real_files_is_judged_as_detect_judges_it(
    reals: Path, models: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = run(out, models["fake"], reals, limits=("--max-false-alarms", ".1", "--max-undecided", "1"))
    assert done.exit_code == 1, (done.output, done.exception)  # the picture is called fake
    assert "failed: 33.3 % of all reals are called fake; at most 10 % may be" in done.output
    phones, stills = results_of(out)["sources"]
    expected = {v.path: v for v in detect(sorted(reals.glob("*/*")), models["fake"])}
    assert {path: v.reason for path, v in expected.items() if v.reason} == {
        str(reals / "phones/short.mp4"): "too_few_faces", str(reals / "phones/noface.mp4"): "no_face",
        str(reals / "stills/caf\udce9.jpg"): "unreadable",
    }  # fmt: skip
    assert (phones["source"], phones["videos"], phones["fake"], phones["undecided"]) == (
        f"{reals.name}/phones",
        2,
        0,
        2,
    )
    assert phones["reasons"] == {"no_face": 1, "too_few_faces": 1}
    assert (stills["videos"], stills["fake"], stills["undecided"], stills["unreadable"]) == (1, 1, 0, 1)
    assert expected[str(reals / "stills/face.png")].verdict == "fake"
    # The same command again judges nothing again.
    before = (out / "verdicts-fake.jsonl").read_bytes()
    again = run(out, models["fake"], reals)
    assert "4 of 4 files have a verdict from an earlier run" in again.output
    assert (again.exit_code, (out / "verdicts-fake.jsonl").read_bytes()) == (0, before)  # without limits nothing fails


def test_a_release_passes(reals: Path, models: dict[str, Path], tmp_path: Path) -> None:
    done = run(tmp_path, models["real"], reals, limits=("--max-false-alarms", ".1", "--max-undecided", ".7"))
    assert done.exit_code == 0, (done.output, done.exception)
    assert "passed: 0 of 3 called fake, 95 %: 0 to 71 %; at most 10 % may be; 2 of 3 undecided" in done.output.replace(
        "\n", " "
    )


def test_the_reals_of_shards_are_judged_by_rule_and_limits(models: dict[str, Path], tmp_path: Path) -> None:
    size = load_bundle(models["fake"]).faces.size
    samples = make_samples(6, 9, split="test", size=size)
    write_shards(tmp_path / "set", samples)
    (tmp_path / "set/plan.json").write_text(json.dumps({"config": to_dict(ShardsConfig(faces=FacesConfig(size=size)))}))
    videos: dict[str, int] = {}
    for sample in samples:
        if sample.label == "real":
            videos[sample.row["clip"]] = videos.get(sample.row["clip"], 0) + 1
    done = run(tmp_path / "out", models["fake"], tmp_path / "set")
    assert done.exit_code == 0, (done.output, done.exception)
    total = results_of(tmp_path / "out")["total"]
    few = sum(faces < 3 for faces in videos.values())
    assert (total["videos"], total["undecided"], total["fake"]) == (len(videos), few, len(videos) - few)
    # A model that knows sharper faces only has no verdict.
    bundle = load_bundle(models["fake"])
    save_bundle(tmp_path / "sharp", bundle.detector, faces=to_dict(bundle.faces), thresholds=THRESHOLDS,
                doubt={"limits": {"min_sharpness": 1e8, "min_faces": 1}})  # fmt: skip
    assert run(tmp_path / "limited", tmp_path / "sharp", tmp_path / "set").exit_code == 0
    total = results_of(tmp_path / "limited")["total"]
    assert total["reasons"] == {"too_blurred": len(videos)}
    assert np.isclose(total["shares"]["undecided"], 1)


@pytest.mark.parametrize("arguments", [
    ["--false-alarms", "x"], ["--false-alarms", "x", "--model", "m", "--shards", "s"],
    ["--model", "m", "--shards", "s", "--max-false-alarms", ".1"],
    ["--scores", "s", "--linear-probe"],
], ids=["no model", "shards", "limit alone", "a probe of scores"])  # fmt: skip
def test_wrong_use(arguments: list[str], tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["evaluate", *arguments, "-o", str(tmp_path / "out")])
    assert isinstance(done.exception, ConfigError)
    assert not (tmp_path / "out").exists()
