"""The small files of a run, each value and each byte of them changed: noticed, or without meaning."""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from mrigan.checked_json import read_checked_json, write_checked_json
from mrigan.engine.checkpoint import CheckpointStore
from mrigan.engine.tensor_file import TensorFile
from mrigan.errors import CheckpointError
from mrigan.files import write_json
from mrigan.health.status import read_status
from mrigan.training.resume_check import check_position
from mrigan.training.run_folder import RunFolder
from tests.training.runs import STEPS, gan_config, hashes, logged, run_gan, status

BATCH, EPOCH = 8, 42  # see `write_tiny_shards`
MARKER = Path("checkpoints", f"step-{STEPS:06d}", "state.json")


def copied(run: Path, folder: Path) -> Path:
    return Path(shutil.copytree(run, folder))


def edit(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_bytes()) | values))


def other_values(value: Any) -> list[Any]:
    """What a leaf may be changed to: another one of its kind, one of another kind, nothing at all."""
    near = {bool: lambda: not value, int: lambda: value + 1, float: lambda: value + 0.5, str: lambda: value + "x"}
    return [near.get(type(value), lambda: 0)(), [], None] if value is not None else [0]


def changed(data: Any) -> Iterator[Any]:
    """`data`, with one of its values changed or removed: every one of them in turn."""
    items = data.items() if isinstance(data, dict) else enumerate(data)
    for key, value in items:
        if isinstance(value, dict | list):
            for inner in changed(value):
                yield _with(data, key, inner)
            if value:
                yield _with(data, key, type(value)())
        else:
            for other in other_values(value):
                yield _with(data, key, other)
        if isinstance(data, dict):
            yield {k: v for k, v in data.items() if k != key}


def _with(data: Any, key: Any, value: Any) -> Any:
    data = copy.copy(data)
    data[key] = value
    return data


def test_every_value_of_a_checkpoint_is_bound(undisturbed: Path, tmp_path: Path) -> None:
    folder = copied(undisturbed / "checkpoints", tmp_path / "checkpoints")
    store, marker = CheckpointStore(folder), folder / MARKER.relative_to("checkpoints")
    state = json.loads(marker.read_bytes())
    count = 0
    for other in changed(state):
        marker.write_text(json.dumps(other))
        with pytest.raises(CheckpointError):
            store.load(STEPS, verify=False)
        count += 1
    assert count > 200


def small_checkpoint(folder: Path) -> Path:
    state = {"epoch": 3, "left_out": 0, "config": {"data": {"shards": "é"}}, "meter": {"totals": {"loss": [0.25, 2.0]}}}
    files = {"net": TensorFile({"w": torch.zeros(3)})}
    return CheckpointStore(folder).save(16, files, state, 0.5) / "state.json"


def small_status(folder: Path) -> Path:
    RunFolder(folder).set_status("stopped", step=16, error=None, retry=False, mlflow_run_id="0ab")
    return folder / "status.json"


@pytest.mark.parametrize("write", [small_checkpoint, small_status])
def test_every_byte_is_bound_or_means_nothing(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    path = write(tmp_path)
    data, whole = path.read_bytes(), read_checked_json(path)
    assert whole[1]
    missed = []
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        try:
            found = read_checked_json(path)
        except ValueError:
            continue
        if found != whole and found[1]:
            missed.append((place, found))
    assert not missed
    for length in range(len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(ValueError, match=r"."):
            read_checked_json(path)


def format_1(marker: Path) -> dict[str, Any]:
    """Rewrite a checkpoint as earlier versions wrote it."""
    state = json.loads(marker.read_bytes())
    del state["checksum"]
    state["format"] = 1
    marker.write_text(json.dumps(state))
    return state


def test_where_a_checkpoint_of_format_1_stands_is_checked(undisturbed: Path, tmp_path: Path) -> None:
    folder = copied(undisturbed / "checkpoints", tmp_path / "checkpoints")
    store, marker = CheckpointStore(folder), folder / MARKER.relative_to("checkpoints")
    state = format_1(marker)
    check_position(store.load(STEPS), BATCH, EPOCH)
    for key in ("step", "left_out", "roll_backs", "epoch", "sample", "world_size", "files", "config", "depends",
                "precision", "meter", "divergence", "format"):  # fmt: skip
        for value in (-1, 1.5, "1", None, [], {"x": 1}, *([state[key] + 1] if key not in FREE_COUNTS else [])):
            if isinstance(value, dict) and isinstance(state[key], dict) and key != "files":
                continue  # what they hold is checked where it is loaded
            marker.write_text(json.dumps(state | {key: value}))
            with pytest.raises(CheckpointError):
                check_position(store.load(STEPS, verify=False), BATCH, EPOCH)


FREE_COUNTS = ("roll_backs", "world_size", "files", "config", "depends", "precision", "meter", "divergence")


def rename(run: Path) -> None:
    os.rename(run / MARKER.parent, run / "checkpoints" / f"step-{STEPS + 5:06d}")


DAMAGES: dict[str, Callable[[Path], None]] = {
    "left_out": lambda run: edit(run / MARKER, left_out=3),
    "no files": lambda run: edit(run / MARKER, files={}),
    "step": lambda run: edit(run / MARKER, step=STEPS + 5),
    "renamed": rename,
    "cut": lambda run: (run / MARKER).write_bytes((run / MARKER).read_bytes()[:-9]),
    "deep": lambda run: (run / MARKER).write_text("[" * 100_000),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("old", [False, True], ids=["format 2", "format 1"])
def test_a_damaged_state_falls_back(undisturbed: Path, tmp_path: Path, damage: str, old: bool) -> None:
    run = copied(undisturbed, tmp_path / "run")
    if old:
        format_1(run / MARKER)
    DAMAGES[damage](run)
    found = CheckpointStore(run / "checkpoints").recover(lambda found: check_position(found, BATCH, EPOCH))
    assert found is not None
    assert found.step == 15
    assert len(list((run / "checkpoints").glob("damaged-*"))) == 1


def test_a_run_with_damaged_files_ends_in_the_same_bytes(
    shards: Path, undisturbed: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = copied(undisturbed, tmp_path / "run")
    edit(run / MARKER, left_out=3)
    (run / "status.json").write_text("{")
    format_1(run / "checkpoints" / "step-000015" / "state.json")  # and one of today's is still read
    run_gan(shards, run)
    assert "status.json cannot be read" in caplog.text
    assert f"step-{STEPS:06d}" in caplog.text
    assert hashes(run) == hashes(undisturbed)
    assert logged(run) == logged(undisturbed)
    assert status(run)["state"] == "finished"


def test_a_run_of_the_version_before_goes_on(shards: Path, undisturbed: Path, tmp_path: Path) -> None:
    """It had two keys more, in config.json and in each checkpoint, whose values a checksum covers."""
    run = copied(undisturbed, tmp_path / "run")
    shutil.rmtree(run / MARKER.parent)  # it was stopped before its last step
    gone = {"data": {"train_split": "train"}, "train": {"deterministic": True}}
    for path in (run / "config.json", *(run / "checkpoints").glob("*/state.json")):
        content = json.loads(path.read_bytes())
        config = content["config"] if path.name == "state.json" else content
        for section, keys in gone.items():
            config[section] |= keys
        write = write_checked_json if path.name == "state.json" else write_json
        write(path, {key: value for key, value in content.items() if key != "checksum"})
    run_gan(shards, run)
    assert not list((run / "checkpoints").glob("damaged-*"))
    assert hashes(run) == hashes(undisturbed)
    assert logged(run) == logged(undisturbed)


@pytest.mark.parametrize("text", ["", "[]", '"x"', "7", "{", '{"a": 1}', "[" * 100_000], ids=lambda t: t[:6])
@pytest.mark.parametrize("name", ["config.json", "run.json"])
def test_other_files_of_a_run_are_refused_in_words(
    shards: Path, undisturbed: Path, tmp_path: Path, name: str, text: str
) -> None:
    run = copied(undisturbed, tmp_path / "run")
    (run / name).write_text(text)
    with pytest.raises(CheckpointError, match=r"cannot be read|other settings"):
        run_gan(shards, run)


def test_settings_that_a_checkpoint_was_not_saved_with_are_refused(
    shards: Path, undisturbed: Path, tmp_path: Path
) -> None:
    """Without its `data.balance`, config.json looks like one of a version before that key."""
    run = copied(undisturbed, tmp_path / "run")
    for name in ("config.json", MARKER):
        path = run / name
        state = format_1(path) if name == MARKER else json.loads(path.read_bytes())
        config = state["config"] if name == MARKER else state
        if name == MARKER:
            config["data"]["balance"] = "none"
        else:
            del config["data"]["balance"]
        path.write_text(json.dumps(state))
    with pytest.raises(CheckpointError, match=r"data.balance: none → classes"):
        run_gan(shards, run)
    assert (run / MARKER).exists()


def test_a_status_of_other_kinds_is_none(tmp_path: Path, shards: Path) -> None:
    folder = RunFolder(gan_config(shards, tmp_path).run.dir)
    folder.set_status("running", step=3, error=None, retry=True, mlflow_run_id="a")
    assert folder.status() == read_status(tmp_path)
    whole = json.loads((tmp_path / "status.json").read_bytes())
    for other in changed(whole):
        (tmp_path / "status.json").write_text(json.dumps(other))
        if "checksum" in other:
            assert folder.status() == {}
        else:  # as earlier versions wrote it
            assert folder.status() == {k: v for k, v in whole.items() if k != "checksum"}
    (tmp_path / "status.json").write_text("[]")
    folder.set_status("stopped", step=4)
    assert read_status(tmp_path) == {"state": "stopped", "step": 4}
