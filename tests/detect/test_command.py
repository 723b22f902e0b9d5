"""`mrigan detect` as a person runs it: real processes, exit codes, files; and which model judges when none is named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mrigan.cli.app import app
from mrigan.config import TrackingConfig
from mrigan.detect.choice import choose_model
from mrigan.detect.sinks.json_list import as_json
from mrigan.errors import ConfigError, InputError
from mrigan.tracking import Run, promote, register
from tests.detect.schema import check
from tests.detect.test_page import checked
from tests.tracking.stores import new_store


def mrigan(*arguments: str | bytes | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mrigan.cli", "detect", *arguments]
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"} | {"PYTHONUTF8": "1"}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_some_unreadable(clips: Path, models: dict[str, Path], tmp_path: Path) -> None:
    odd = os.path.join(os.fsencode(tmp_path), b"caf\xe9.mp4")
    with open(odd, "wb") as file:
        file.write((clips / "one.mp4").read_bytes())
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile 'one.mp4'\n")
    done = mrigan(
        odd,
        clips,
        tmp_path / "list.mp4",
        "--model",
        models["fake"],
        "--json",
        "out.json",
        "--html",
        "out/page.html",
        cwd=tmp_path,
    )
    assert done.returncode == 3, done.stderr
    verdicts = json.loads((tmp_path / "out.json").read_text())
    check(verdicts)
    assert os.fsencode(verdicts[0]["path"]) == odd
    said = {os.path.basename(v["path"]): v["reason"] or v["verdict"] for v in verdicts[1:]}
    assert said == {"face.png": "fake", "noface.mp4": "no_face", "one.mp4": "fake", "short.mp4": "too_few_faces",
                    "two.mp4": "fake", "list.mp4": "unreadable"}  # fmt: skip
    assert sorted(line.split()[0] for line in done.stdout.splitlines()) == sorted(v["verdict"] for v in verdicts)
    assert "Traceback" not in done.stderr
    checked((tmp_path / "out" / "page.html").read_text())


def test_all_answered_and_json_to_standard_output(clips: Path, models: dict[str, Path], tmp_path: Path) -> None:
    done = mrigan(clips / "noface.mp4", clips / "face.png", "--model", models["real"], "--json", "-", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    verdicts = json.loads(done.stdout)
    check(verdicts)
    assert [v["verdict"] for v in verdicts] == ["undecided", "real"]
    assert list(tmp_path.iterdir()) == []


def test_nothing_could_be_done(tmp_path: Path, models: dict[str, Path]) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    done = mrigan("text.mp4", "gone.mp4", "--model", models["fake"], cwd=tmp_path)
    assert done.returncode == 1
    assert "text.mp4: Not a readable video" in done.stdout
    assert "gone.mp4: No such file" in done.stdout


def test_wrong_use() -> None:
    run = CliRunner()
    assert run.invoke(app, ["detect"]).exit_code == 2
    assert run.invoke(app, ["detect", "a.mp4", "--every", "x"]).exit_code == 2
    assert run.invoke(app, ["detect", "a.mp4", "--no-such-option"]).exit_code == 2


def test_an_empty_folder_and_an_output_over_an_input(clips: Path, models: dict[str, Path], tmp_path: Path) -> None:
    run = CliRunner()
    empty = run.invoke(app, ["detect", str(tmp_path), "--model", str(models["fake"])])
    assert isinstance(empty.exception, InputError)
    assert empty.exception.exit_code == 1
    assert str(tmp_path) in str(empty.exception)
    video = tmp_path / "v.mp4"
    video.write_bytes((clips / "one.mp4").read_bytes())
    over = run.invoke(app, ["detect", str(video), "--model", str(models["fake"]), "--json", str(video)])
    assert isinstance(over.exception, ConfigError)
    assert video.read_bytes() == (clips / "one.mp4").read_bytes()


def test_json_refuses_what_is_no_json() -> None:
    with pytest.raises(ValueError, match="JSON"):
        as_json([{"probability": float("nan")}])


def test_which_model_when_none_is_named(
    models: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def says() -> tuple[str, str]:
        folder, name = choose_model()
        return name, json.loads((folder / "model.json").read_text())["input"]

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert says() == ("shipped", "face")
    assert list(tmp_path.iterdir()) == []  # looking makes nothing
    new_store(tmp_path / "mlflow.db")
    assert says() == ("shipped", "face")
    assert caplog.text == ""
    register(models["mri"], "mrigan-mri")
    assert says() == ("shipped", "face")  # a candidate is no champion
    assert "mrigan models promote mrigan-mri" in caplog.text
    caplog.clear()
    promote("mrigan-mri", 1)
    assert says() == ("models:/mrigan-mri@champion", "mri")
    register(models["fake"], "mrigan-face")
    assert says() == ("models:/mrigan-mri@champion", "mri")
    promote("mrigan-face", 1)
    assert says() == ("models:/mrigan-face@champion", "face")
    assert caplog.text == ""
    assert choose_model(models["mri"]) == (models["mri"], str(models["mri"]))


PROGRAM = """
import json, sys
import mlflow, numpy as np, pandas as pd
from mrigan.errors import MriganError
model = mlflow.pyfunc.load_model("models:/mrigan-face@champion")
table = model.predict(pd.DataFrame({"path": sys.argv[1:]}))
assert list(table.columns) == ["path", "verdict", "probability", "fraction", "faces", "json"], table
assert model.predict(sys.argv[1:2])["verdict"].tolist() == table["verdict"].tolist()[:1]
assert model.predict(sys.argv[1])["path"].tolist() == sys.argv[1:2]
# Names are names: no list is read, no pattern looked for, no folder opened.
for name in ("@mlflow.db", "*.db", ".", "https://a.b/c.mp4"):
    assert model.predict(pd.DataFrame({"path": [name]}))[["path", "verdict"]].values.tolist() == [[name, "undecided"]]
faces = np.random.default_rng(0).integers(0, 256, (3, 80, 60, 3), np.uint8)
probs = model.predict(faces)
assert list(probs.columns) == ["prob"] and len(probs) == 3 and probs["prob"].between(0.9, 1).all(), probs
for same in (list(faces), pd.DataFrame({"face": list(faces)}), faces.astype("int64"), faces.tolist()):
    assert np.allclose(model.predict(same), probs), type(same)
assert len(model.predict(faces[0])) == 1
for wrong in (faces / 255.0, faces.astype("int64") - 300, [*faces, "a.mp4"]):
    try:
        model.predict(wrong)
    except MriganError:
        continue
    raise AssertionError(wrong)
print(table.to_json(orient="records"))
"""


def test_mlflow_alone_gives_verdicts(
    clips: Path, models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    new_store(tmp_path / "mlflow.db")
    with Run.start(TrackingConfig(), "job") as run:
        promote("mrigan-face", register(models["fake"], "mrigan-face", run.id))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, clips / "face.png", clips / "noface.mp4", "gone.mp4"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [(row["verdict"], row["faces"]) for row in rows] == [("fake", 1), ("undecided", 0), ("undecided", 0)]
    assert [row["probability"] is None for row in rows] == [False, True, True]
    check([json.loads(row["json"]) for row in rows])
    assert "Warning" not in done.stderr
