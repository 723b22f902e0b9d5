"""The model registry: versions, aliases, what lies in a registered model, and clear errors."""

from __future__ import annotations

import json
import os
import pickletools
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import mlflow
import numpy as np
import pytest
import yaml
from mlflow import MlflowClient
from safetensors.numpy import save_file
from typer.testing import CliRunner

from mrigan.cli.app import app
from mrigan.config import TrackingConfig
from mrigan.errors import ModelError
from mrigan.tracking import Run, list_models, promote, register, resolve
from mrigan.tracking.lookup import aliased
from tests.tracking.stores import new_store


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that commands are run in; its store has mrigan-face 1 (of a run) and 2 (of none)."""
    folder = tmp_path_factory.mktemp("registry")
    before = os.getcwd()
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    os.chdir(folder)
    model = folder / "model"
    model.mkdir()
    (model / "model.json").write_text(json.dumps({"version": 1}))
    save_file({"weight": np.arange(6, dtype=np.float32)}, model / "detector.safetensors")
    new_store(folder / "mlflow.db")
    with Run.start(TrackingConfig(), "job") as run:
        run.log_artifact(model)
        assert register(model, "mrigan-face", run.id, {"data_hash": "abc"}) == 1
    (model / "model.json").write_text(json.dumps({"version": 2}))
    assert register(model, "mrigan-face") == 2
    yield folder
    os.chdir(before)


def version_of(folder: Path) -> int:
    return json.loads((folder / "model.json").read_text())["version"]


def test_versions_and_aliases(registered: Path) -> None:
    newest, oldest = list_models()
    assert (newest.name, newest.version, newest.aliases, newest.run_id) == ("mrigan-face", 2, ("candidate",), None)
    assert (oldest.version, oldest.aliases, oldest.tags) == (1, (), {"data_hash": "abc"})
    assert oldest.run_id
    promote("mrigan-face", 1)
    client = MlflowClient(f"sqlite:///{registered / 'mlflow.db'}")
    assert client.get_model_version_by_alias("mrigan-face", "champion").version == 1
    assert client.get_model_version_by_alias("mrigan-face", "candidate").version == 2


def test_what_a_reference_means(registered: Path) -> None:
    promote("mrigan-face", 1)
    run_id = list_models()[1].run_id
    for ref, version in (
        ("models:/mrigan-face@champion", 1),
        ("models:/mrigan-face@candidate", 2),
        ("models:/mrigan-face/1", 1),
        (f"runs:/{run_id}/model", 1),
        (registered / "model", 2),
        (registered, 2),
    ):
        folder = resolve(ref)
        assert version_of(folder) == version, ref
        assert (folder / "detector.safetensors").is_file()


def test_an_alias_is_found_without_mlflow(registered: Path, tmp_path: Path) -> None:
    """As MLflow's own client has it; and a store of another form is left to MLflow."""
    promote("mrigan-face", 1)
    client = MlflowClient(f"sqlite:///{registered / 'mlflow.db'}")
    found = aliased()
    assert found is not None
    assert found.keys() == {("mrigan-face", "champion"), ("mrigan-face", "candidate")}
    for (name, alias), folder in found.items():
        number = client.get_model_version_by_alias(name, alias).version
        assert folder.samefile(
            mlflow.artifacts.download_artifacts(f"models:/{name}/{number}", tracking_uri=client.tracking_uri)
        )
    code = (
        "import sys; from mrigan.tracking import resolve; "
        "print(resolve('models:/mrigan-face@champion'), 'mlflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True, cwd=registered)
    assert done.stdout.split() == [str(resolve("models:/mrigan-face@champion")), "False"]
    copy = tmp_path / "other.db"
    shutil.copy(registered / "mlflow.db", copy)
    with closing(sqlite3.connect(copy)) as connection:
        connection.execute("UPDATE model_versions SET storage_location = 's3://elsewhere/model'")
        connection.commit()
        assert aliased(f"sqlite:///{copy}") is None
        connection.execute("ALTER TABLE registered_model_aliases RENAME TO aliases")
        assert aliased(f"sqlite:///{copy}") is None
    assert aliased("http://127.0.0.1:9") is None
    assert aliased(f"sqlite:///{tmp_path / 'none.db'}") is None
    assert not (tmp_path / "none.db").exists()


def test_a_store_given_by_name_stays_out_of_the_environment(registered: Path, tmp_path: Path) -> None:
    store = new_store(tmp_path / "other.db")
    assert register(registered / "model", "mrigan-mri", uri=store) == 1
    promote("mrigan-mri", 1, uri=store)
    assert tmp_path in resolve("models:/mrigan-mri@champion", uri=store).parents
    assert "MLFLOW_TRACKING_URI" not in os.environ
    assert [v.name for v in list_models()] == ["mrigan-face", "mrigan-face"]


@pytest.mark.parametrize(
    "ref",
    [
        "models:/mrigan-face@nobody",
        "models:/mrigan-face/9",
        "models:/mrigan-mri@champion",
        "runs:/" + "f" * 32 + "/model",
        "models:/",
        "no/such/folder",
        "mlruns",
    ],
)
def test_a_reference_to_nothing(registered: Path, ref: str) -> None:
    with pytest.raises(ModelError) as caught:
        resolve(ref)
    assert caught.value.fix


def test_unknown_versions_list_what_exists(registered: Path) -> None:
    for name, version in (("mrigan-face", 9), ("mrigan-mri", 1), ("mrigan-face", "x' or 1")):
        with pytest.raises(ModelError, match="mrigan-face 2, mrigan-face 1"):
            promote(name, version)


def test_only_a_model_can_be_registered(registered: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.json"):
        register(registered / "mlruns", "mrigan-face")
    with pytest.raises(ModelError, match="registry cannot be used"):
        register(registered / "model", "mrigan-face", uri="nonsense://x")


def test_nothing_in_a_registered_model_is_a_pickle(registered: Path) -> None:
    packed = resolve("models:/mrigan-face/1").parents[1]
    described = yaml.safe_load((packed / "MLmodel").read_text())
    assert described["flavors"]["python_function"]["model_code_path"] == "pyfunc.py"
    assert "cloudpickle" not in (packed / "MLmodel").read_text()
    files = [f for f in packed.rglob("*") if f.is_file()]
    assert {f.name for f in files} >= {"MLmodel", "pyfunc.py", "model.json", "detector.safetensors", "requirements.txt"}
    for file in files:
        assert file.suffix not in (".pkl", ".pickle", ".pt", ".pth", ".bin", ".joblib"), file
        assert not is_pickle(file.read_bytes()), file
        assert str(registered).encode() not in file.read_bytes(), file  # no path of the machine it was made on
        if file.suffix != ".py":
            assert b"cloudpickle" not in file.read_bytes(), file


def is_pickle(data: bytes) -> bool:
    """Whether the bytes can be read as one whole pickle program, or are a zip (torch.save)."""
    try:
        *_, last = pickletools.genops(data)
    except Exception:  # noqa: BLE001 (pickletools raises anything on what is no pickle)
        return data[:2] == b"PK"
    return last[0].name == "STOP" and last[2] == len(data) - 1


def test_commands(registered: Path) -> None:
    run = CliRunner()
    done = run.invoke(app, ["models", "promote", "mrigan-face", "2"])
    assert done.exit_code == 0, done.output
    listed = run.invoke(app, ["models", "list"])
    assert listed.exit_code == 0
    line = next(line for line in listed.output.splitlines() if "champion" in line)
    assert "mrigan-face" in line
    assert "2" in line
    failed = run.invoke(app, ["models", "promote", "mrigan-face", "7"])
    assert isinstance(failed.exception, ModelError)


def test_an_empty_registry_says_how_to_fill_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'empty.db'}")
    listed = CliRunner().invoke(app, ["models", "list"])
    assert listed.exit_code == 0
    assert "mrigan train detector" in listed.output
    assert list(tmp_path.iterdir()) == []  # looking makes nothing
