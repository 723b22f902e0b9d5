"""A model folder from elsewhere: each value is checked, only regular files are read, and nothing grows or waits."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from mrigan.config import FacesConfig, to_dict
from mrigan.detect import Model
from mrigan.errors import ModelError
from mrigan.models import Detector, Generator, load_bundle, save_bundle
from mrigan.models.bundle import read_card
from mrigan.models.familiarity import fit_familiarity
from mrigan.models.known_faces import fit_known_faces
from mrigan.tracking import register_run

WRONG = {
    "null": None, "true": True, "text": "big", "empty": "", "NaN": float("nan"), "inf": float("inf"),
    "-inf": float("-inf"), "huge": 1e300, "-huge": -1e300, "integer": 2**70, "[]": [], "{}": {}, "list": ["a"],
    "object": {"a": 1}, "variable": "${oc.env:STRANGERS_SECRET}", "escapes": "\x1b[31m[red]\u202e",
}  # fmt: skip
TEXTS = {"text", "empty", "variable", "escapes"}
# Which such values are taken, by key (* = and all in it). Nothing is computed with the first group, and a test below
# judges by it; in the second the value is a possible one, "not known" above all.
NO_MATTER = {
    "provenance.config.*": set(WRONG) - {"NaN", "inf", "-inf", "integer"},
    "provenance.thresholds.source": TEXTS,
    "provenance.code_version": TEXTS | {"null"},
    "data.about": TEXTS,
    "data.datasets*": TEXTS | {"[]", "list"},
    "doubt.uncalibrated": TEXTS,
    "doubt.from_training*": TEXTS | {"[]", "list"},
    "doubt.calibration_log_loss*": {"{}", "object", "huge", "integer"},
}
NOT_KNOWN = {
    "detector.backbone": {"text"},  # refused when it is built: no such network
    "doubt": {"{}"},
    "doubt.calibration": {"null"},
    "doubt.limits": {"{}"},
    "doubt.limits.*": {"null"},
    "doubt.rules": {"{}"},
    "doubt.rules.mean.settings": {"{}"},
    "data": {"{}"},
    "data.training": {"{}"},
    "data.validation": {"{}"},
    "data.training.*": {"null"},
    "data.validation.*": {"null"},
    "faces": {"{}"},
    "faces.cropped": {"true"},
    "files.detector.safetensors.bytes": {"null"},
    "files.generator.safetensors.bytes": {"null"},
    "files.familiarity.safetensors.bytes": {"null"},
    "provenance": {"{}", "object"},
    "provenance.config": {"null", "{}", "object"},
    "provenance.step": {"null"},
    "provenance.thresholds": {"null", "{}", "object"},
    "provenance.thresholds.counts": {"null", "{}", "object"},
    "provenance.thresholds.t*": {"null"},
}
DOUBT = {
    "rules": {"mean": {"threshold": 0.5, "settings": {}}},
    "limits": {"min_faces": 3, "share": 0.5, "min_side": 20.0, "max_distance": 9.0, "min_colour": 0.5},
    "from_training": ["max_distance"], "uncalibrated": "",
    "calibration": {"kind": "platt", "videos": 20, "slope": 1.0, "intercept": 0.1},
    "calibration_log_loss": {"none": 0.5},
}  # fmt: skip
COUNTS = dict.fromkeys(("fakes", "fakes_found", "fake_families", "reals", "reals_called_fake", "real_families"), 2)
PROVENANCE = {"code_version": "1", "step": 3, "config": {"train": {"seed": 1}},
              "thresholds": {"source": "searched", "tpr": 0.5, "tnr": 1.0, "counts": COUNTS}}  # fmt: skip
PART = {"families": 2, "real": 2, "fake": 8, "faces": 30}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    detector = Detector("test_efficientnet.r160_in1k", size=64, hidden=8)
    return save_bundle(tmp_path_factory.mktemp("good") / "model", detector, "face", Generator(16, 4),
                       faces=to_dict(FacesConfig()), thresholds={"frame": 0.7, "fraction": 0.3}, doubt=DOUBT,
                       familiarity=fit_familiarity(torch.randn(40, 8)), provenance=PROVENANCE,
                       data={"about": "x", "datasets": ["dfdc"], "training": PART, "validation": PART})  # fmt: skip


def keys(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every key of nested objects and lists."""
    if path:
        yield path
    items = value if isinstance(value, list) else ()
    for key, inner in value.items() if isinstance(value, dict) else enumerate(items):
        yield from keys(inner, (*path, key))


def changed(meta: Any, path: tuple[Any, ...], value: Any) -> Any:
    meta = copy.deepcopy(meta)
    inner = meta
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return meta


def refusal(folder: Path) -> ModelError | None:
    try:
        read_card(folder)
    except ModelError as error:
        return error
    return None


def allowed(name: str) -> set[str]:
    """The kinds of values that this key takes: by the longest beginning that is listed."""
    listed = {key: kinds for key, kinds in (NO_MATTER | NOT_KNOWN).items()
              if name == key or (key.endswith("*") and name.startswith(key[:-1]))}  # fmt: skip
    return listed[max(listed, key=len)] if listed else set()


def test_every_value_of_model_json_is_refused_or_does_not_matter(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRANGERS_SECRET", "S3CR3T")
    meta = json.loads((good / "model.json").read_text())
    cases, taken = 0, []
    for path in keys(meta):
        name = ".".join(map(str, path))
        for kind, value in WRONG.items():
            cases += 1
            (tmp_path / "model.json").write_text(json.dumps(changed(meta, path, value)))
            error = refusal(tmp_path)
            if error is None:
                taken.append((name, kind))
                continue
            text = str(error)
            assert str(tmp_path / "model.json") in text
            assert error.fix
            assert "S3CR3T" not in text
            assert all(character.isprintable() or character == "\n" for character in text)
            assert path[0] in ("kind", "schema_version") or str(path[-1]) in error.what, (name, kind, error.what)
    unexpected = [f"{name}: {kind}" for name, kind in taken if kind not in allowed(name)]
    assert not unexpected, "\n".join(unexpected)
    assert cases > 1000


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("thresholds.frame", 1, "the same verdict"),
        ("thresholds.fraction", 0, "the same verdict"),
        ("doubt.rules.mean.threshold", 0, "every video with a face fake"),
        ("doubt.calibration", {"kind": "isotonic", "x": [0, 1], "y": [0.9, 0.1]}, "the same length, and ascending"),
        ("doubt.calibration", {"kind": "isotonic", "x": [1, 0], "y": [0.1, 0.9]}, "the same length, and ascending"),
        ("provenance.thresholds.counts.fakes_found", 3, "fakes_found=3 is more than fakes=2"),
        ("provenance.thresholds.counts.real_families", 3, "real_families=3 is more than reals=2"),
        ("schema_version", 10**400, "schema_version 10000000000000000000 is too new"),
    ],
)
def test_values_that_contradict_each_other_are_refused(
    good: Path, tmp_path: Path, key: str, value: Any, said: str
) -> None:
    meta = json.loads((good / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps(changed(meta, tuple(key.split(".")), value)))
    with pytest.raises(ModelError, match=said):
        read_card(tmp_path)


def test_a_limit_of_the_distance_needs_what_measures_it(good: Path, tmp_path: Path) -> None:
    meta = json.loads((good / "model.json").read_text())
    del meta["files"]["familiarity.safetensors"]
    (tmp_path / "model.json").write_text(json.dumps(meta))
    with pytest.raises(ModelError, match="max_distance needs familiarity"):
        read_card(tmp_path)


def test_texts_that_do_not_matter_change_no_verdict(good: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(good, tmp_path / "model")
    meta = json.loads((folder / "model.json").read_text())
    for name in ("provenance.config.train.seed", "provenance.thresholds.source", "provenance.code_version",
                 "data.about", "doubt.uncalibrated"):  # fmt: skip
        meta = changed(meta, tuple(name.split(".")), "${oc.env:HOME}\x1b[31m[red]")
    (folder / "model.json").write_text(json.dumps(meta))
    faces = torch.randint(0, 256, (2, 70, 70, 3), dtype=torch.uint8).numpy()
    assert (
        Model(load_bundle(folder), "x").predict(faces).tolist() == Model(load_bundle(good), "x").predict(faces).tolist()
    )


@pytest.mark.parametrize("missing", ["doubt", "data", "provenance"])
def test_parts_that_earlier_versions_did_not_write_have_defaults(good: Path, tmp_path: Path, missing: str) -> None:
    meta = json.loads((good / "model.json").read_text())
    del meta[missing], meta["faces"]["cropped"], meta["detector"]["drop_path"]
    meta["files"]["detector.safetensors"].pop("bytes")
    (tmp_path / "model.json").write_text(json.dumps(meta))
    card = read_card(tmp_path)
    assert (card.faces.cropped, card.detector.drop_path, card.thresholds.frame) == (False, 0.2, 0.7)
    for required in ("input", "detector", "faces", "thresholds", "files"):
        rest = {key: value for key, value in meta.items() if key != required}
        (tmp_path / "model.json").write_text(json.dumps(rest))
        with pytest.raises(ModelError, match=f"{required} is missing"):
            read_card(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"kind": 1, "kind": 2}', "'kind' stands twice"),
        ('{"a": ' * 40 + "1" + "}" * 40, "nested more than 32 deep"),
        ("[" * 100_000, "nested too deeply"),
        ('{"kind": "\\ud800"}', "UTF-8"),
        ('{"kind": ' + "9" * 5000 + "}", "cannot be read"),
        ("\x00", "cannot be read"),
        (" " * (5 << 20), "at most 4,194,304 are read"),
    ],
)
def test_a_text_that_is_no_plain_json_is_refused(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(ModelError, match=said):
        read_card(tmp_path)


def test_known_faces_of_another_layer_are_refused(good: Path) -> None:
    bundle = load_bundle(good)
    bundle.known = fit_known_faces({"blocks.0": torch.randn(6, 3, 2, 2)}, torch.tensor([0, 0, 1, 1, 2, 2]))
    with pytest.raises(ModelError, match="do not belong to its layer blocks"):
        bundle.weigh(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))


def test_files_that_wait_grow_or_lie(good: Path, tmp_path: Path) -> None:
    """In a process with little memory and a time limit: what waits or grows ends it."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.models.hostile_files", str(good), str(tmp_path)],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=300, check=False,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    said = json.loads(done.stdout.splitlines()[-1])
    assert len(said) > 25
    wrong = {case: text for case, text in said.items() if not text.startswith("ModelError: ") or "where: " not in text}
    assert wrong == {}
    assert all(character.isprintable() or character == "\n" for text in said.values() for character in text)


def test_the_command_says_which_file_is_no_file(good: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(good, tmp_path / "model")
    (folder / "generator.safetensors").unlink()
    os.mkfifo(folder / "generator.safetensors")
    command = [sys.executable, "-m", "mrigan.cli", "detect", "--model", str(folder), "nothing.mp4"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "named pipe" in done.stderr


def test_what_is_registered_passes_the_same_door_and_takes_no_link_along(good: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(good, tmp_path / "model")
    (folder / "notes.txt").symlink_to("/etc/hostname")
    with pytest.raises(ModelError, match="no file, or a link"):
        register_run(folder)
    meta = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(changed(meta, ("thresholds", "frame"), 2)))
    with pytest.raises(ModelError, match=r"thresholds\.frame=2: not a number from 0 to 1"):
        register_run(folder)
