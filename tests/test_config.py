"""Config files: merging, typing, and errors that say what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from mrigan.config import (
    GanConfig,
    config_path,
    differences,
    from_dict,
    load_config,
    to_dict,
)
from mrigan.errors import ConfigError

SHIPPED = config_path("gan/cpu-smoke.yaml").parents[1]


def test_layers_apply_in_order(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("train: {steps: 1, seed: 1}\nrun: {dir: a}\n")
    (tmp_path / "job.yaml").write_text("extends: base.yaml\ntrain: {steps: 2}\n")
    config = load_config(GanConfig, tmp_path / "job.yaml", ["train.batch_size=8", "data.shards=x,y"])
    assert (config.train.steps, config.train.seed, config.train.batch_size) == (2, 1, 8)
    assert (config.run.dir, config.data.shards) == ("a", ["x", "y"])
    assert from_dict(GanConfig, to_dict(config)) == config


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("train.stepz=3", "did you mean train.steps?"),
        ("tau=.5", "did you mean loss.tau?"),
        ("train.steps=many", "wrong value for train.steps.*to do: use a whole number, at least"),
        ("tracking.enabled=perhaps", "to do: use true or false"),
        ("train.steps", "is not key=value"),
        ("train.precision=fp64", "use one of: fp32, bf16, fp16"),
        ("train.batch_size=0", "use a whole number, at least 1"),
        ("checkpoint.keep=1", "use a whole number, at least 2"),
        ("loss.tau=nan", "loss.tau=nan: not a number"),
        ("loss.tau=.nan", "loss.tau=nan: not a number"),
        ("optim.betas=[.nan,0.9]", r"optim.betas.0=nan: not a number"),
        ("loss.tau=-inf", "loss.tau=-inf: not a finite number"),
    ],
)
def test_a_wrong_override_says_what_to_do(override: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=r"(?s)" + expected.replace("?", r"\?")) as caught:
        load_config(GanConfig, None, ["run.dir=x", override])
    assert caught.value.exit_code == 2


def test_an_empty_value_is_an_empty_string_or_list(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("run: {dir: a, name: b}\ndata: {shards: [x], cache: /c}\n")
    config = load_config(GanConfig, tmp_path / "job.yaml", ["run.name=", "data.cache= ", "data.shards="])
    assert (config.run.name, config.data.cache, config.data.shards) == ("", "", [])
    for key in ("run.dir", "train.steps", "train.precision"):  # no folder, no number, no word is empty
        with pytest.raises(ConfigError, match=key):
            load_config(GanConfig, tmp_path / "job.yaml", [f"{key}="])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("train: [1", "not readable as YAML"),
        ("- a\n- b\n", "a mapping"),
        ("extends: nowhere.yaml\n", "no file nowhere.yaml"),
        ("extends: job.yaml\n", "extends itself"),
        ("train: {seed: 1}\n", "run.dir has no value"),
        ("run: {dir: a}\nloss: {tau: .NaN}\n", "loss.tau=nan: not a number"),
    ],
)
def test_a_wrong_file_says_where(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=expected) as caught:
        load_config(GanConfig, path)
    assert str(path) in str(caught.value)


def test_a_missing_file_lists_the_shipped_ones() -> None:
    with pytest.raises(ConfigError, match=r"gan/cpu-smoke\.yaml"):
        load_config(GanConfig, "gan/no-such.yaml")


def test_a_setting_in_the_place_of_the_config_is_called_one() -> None:
    with pytest.raises(ConfigError, match=r"a config comes before the settings: .*gan/paper\.yaml"):
        config_path("data.loader=webdataset")


def test_differences_name_the_leaves() -> None:
    assert differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}, "d": 4}) == ["a.c: 2 → 3", "d: (absent) → 4"]
