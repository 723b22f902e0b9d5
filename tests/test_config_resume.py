"""The settings with which a run may be resumed: the fields decide, also those of a config from outside the package."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from mrigan.config import DetectorConfig, GanConfig, MapConfig, TrainingConfig, flatten, load_config, to_dict
from mrigan.config.fields import at_least, checked, choice
from mrigan.config.resume import as_begun, changes
from mrigan.config.typed import leaves


@dataclass
class ColourModel:
    hidden: int = 4
    report: str = checked("short", may_change=True)
    shape: str = choice("round", "square", before="square")


@dataclass
class Inner:
    limit: int = at_least(0, 3)


@dataclass
class Extra:
    size: int = 3
    names: list[str] = checked(["a"])


@dataclass
class Watch:
    inner: Inner = checked(Inner)


@dataclass
class ColourConfig(TrainingConfig):
    model: ColourModel = field(default_factory=ColourModel)
    watch: Watch = checked(Watch, may_change=True)
    extra: Extra = checked(Extra, added=True)


def edited(config: Any, key: str, value: Any) -> dict[str, Any]:
    """The nested settings, with another value for a dotted key; None removes it."""
    settings = to_dict(config)
    *sections, name = key.split(".")
    target = settings
    for section in sections:
        target = target[section]
    target[name] = value
    if value is None:
        del target[name]
    return settings


@pytest.mark.parametrize(("key", "value", "free"), [
    ("model.hidden", 5, False),
    ("model.report", "long", True),
    ("watch.inner.limit", 4, True),  # its section's section says so
    ("engine.name", "zero2", True),
    ("data.workers", 7, True),
    ("data.shards", ["elsewhere"], True),
    ("data.shuffle", "window", False),
    ("data.window", 8, False),  # its name begins like that of a key that may change
    ("train.steps", 9, True),
    ("train.batch_size", 9, False),
    ("optim.lr", 1.0, False),
])  # fmt: skip
def test_a_field_decides_whether_it_may_change(key: str, value: Any, free: bool) -> None:
    config = ColourConfig()
    line = f"{key}: {value} → {leaf(config, key)}"
    assert changes(edited(config, key, value), config) == (([], [line]) if free else ([line], []))
    assert changes(to_dict(config), config) == ([], [])


def leaf(config: Any, key: str) -> Any:
    for name in key.split("."):
        config = getattr(config, name)
    return config


def test_what_decides_the_weights_may_not_change() -> None:
    """Every key of these sections, but for those that are named here."""
    data = ("shards", "cache", "loader", "decode_on", "workers", "workers_are", "verify", "on_bad", "about")
    free = {"train.steps", "train.epochs", "train.device", "model.generator", *(f"data.{name}" for name in data)}
    free.add("model.half")  # the finished model's, not those in training
    for schema in (GanConfig, DetectorConfig, MapConfig):
        for key, (_, _, rules) in leaves(schema).items():
            if key.partition(".")[0] in ("data", "model", "loss", "optim", "train"):
                assert rules["may_change"] is (key in free), key


def test_a_run_older_than_a_key_keeps_to_what_it_did() -> None:
    config = ColourConfig()
    begun = edited(config, "model.shape", None)
    assert changes(begun, config) == (["model.shape: square → round"], [])
    resumed, replaced = as_begun(config, begun)
    assert (resumed.model.shape, replaced) == ("square", ["model.shape=square"])
    assert changes(begun, resumed) == ([], [])
    assert config.model.shape == "round"
    assert as_begun(config, to_dict(config)) == (config, [])
    assert changes(edited(config, "model.hidden", None), config) == (["model.hidden: (absent) → 4"], [])


def test_a_run_older_than_a_section_acted_by_its_defaults() -> None:
    config = ColourConfig()
    begun = to_dict(config)
    del begun["extra"]
    assert changes(begun, config) == ([], [])
    config.extra.size = 4
    assert changes(begun, config) == (["extra.size: 3 → 4"], [])
    resumed, replaced = as_begun(config, begun)
    assert (resumed.extra.size, replaced) == (3, ["extra.size=3"])


def test_keys_that_are_gone_are_read() -> None:
    config = GanConfig()
    begun = to_dict(config)
    begun["data"]["train_split"], begun["train"]["deterministic"] = "train", False
    assert changes(begun, config) == ([], [])
    begun["data"]["train_split"] = "test"
    assert changes(begun, config) == (["data.train_split: test → train"], [])


@pytest.mark.parametrize(("kind", "schema"), [("gan", GanConfig), ("detector", DetectorConfig)])
def test_runs_of_an_earlier_version_are_continued(kind: str, schema: Any) -> None:
    """tests/earlier_settings.json has the config.json of two runs of November 2026. A key that was added since must say
    what these runs did (`added` or `before`)."""
    begun = json.loads(Path(__file__).with_name("earlier_settings.json").read_bytes())[kind]
    known = {key: value for key, value in flatten(begun).items() if key in leaves(schema)}
    given = [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in known.items()]
    assert changes(begun, load_config(schema, None, given)) == ([], [])


def test_weights_that_were_random_without_a_word_are_random() -> None:
    config = DetectorConfig()
    config.model.weights = "random"
    assert changes(edited(config, "model.weights", ""), config) == ([], [])
