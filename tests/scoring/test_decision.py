"""A decision that is fitted on real videos keeps its shares, and is what verdicts then say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from mrigan.cli.app import app
from mrigan.config.model_card import StoredRule, Thresholds
from mrigan.detect.rule import choose_rule, papers_rule
from mrigan.errors import ConfigError, InputError
from mrigan.evaluation.schema import CHECKED
from mrigan.models import Detector, load_bundle, save_bundle
from mrigan.scoring.decision import decide_by, fit_decision

RULES = {"mean": {"threshold": 0.5, "settings": {}}}


@pytest.mark.parametrize(("alarms", "undecided"), [(0.05, 0.2), (0.0, 0.0), (0.1, 0.3), (1.0, 0.0), (0.0, 1.0)])
@pytest.mark.parametrize("ties", [False, True])
def test_the_shares_are_kept_and_nearly_used(alarms: float, undecided: float, ties: bool) -> None:
    reals = np.random.default_rng(0).random(60) * 0.9
    reals = np.round(reals, 1) if ties else reals
    found = fit_decision(reals, alarms, undecided)
    rule = choose_rule(
        "mean", Thresholds(), {"mean": StoredRule(max(found.threshold, 1e-9), real_below=found.real_below)}
    )
    said = [rule.verdict([score]) for score in reals]
    fakes, neither = said.count("fake"), said.count("undecided")
    assert fakes <= alarms * 60
    assert fakes + neither <= (alarms + undecided) * 60 + 1e-9
    if not ties:
        assert fakes == int(alarms * 60)
        assert neither == min(int(undecided * 60), 60 - fakes)


def test_between_the_two_thresholds_there_is_no_verdict() -> None:
    rule = papers_rule(Thresholds(0.5, 0.6, 0.3))
    said = [rule.verdict([1.0] * k + [0.0] * (10 - k)) for k in range(11)]
    assert said == ["real"] * 3 + ["undecided"] * 3 + ["fake"] * 5
    for wrong in (lambda: Thresholds(0.5, 0.3, 0.6), lambda: StoredRule(0.3, real_below=0.6)):
        with pytest.raises(ConfigError, match="above the threshold"):
            wrong()


def scores(file: Path, reals: list[float], fakes: list[float]) -> Path:
    """Two faces a video, whose mean is the score that is given."""
    rows = [
        {"dataset": "d", "method": "m" if label else "original", "compression": "", "name": f"{label}-{i}",
         "split": "test", "person": 0, "frame": frame, "time": 0.0, "label": label, "prob": score + shift, "model": "m",
         "logit": float(np.log((score + shift) / (1 - score - shift)))}
        for label, values in ((0, reals), (1, fakes)) for i, score in enumerate(values)
        for frame, shift in ((0, -0.004), (1, 0.004))
    ]  # fmt: skip
    schema = pa.schema([field for field in CHECKED if field.name in rows[0]])
    pq.write_table(pa.Table.from_pylist(rows, schema), file)
    return file


@pytest.fixture
def model(tmp_path: Path) -> Path:
    detector = Detector("test_efficientnet.r160_in1k", size=32, hidden=4)
    return save_bundle(tmp_path / "model", detector, faces={}, thresholds={"frame": 0.5, "fraction": 0.3},
                       doubt={"rules": RULES})  # fmt: skip


def test_the_command_writes_another_model(model: Path, tmp_path: Path) -> None:
    table = scores(tmp_path / "s.parquet", [i / 100 + 0.01 for i in range(40)], [0.05, 0.36, 0.395, 0.9])
    before = {file.name: file.read_bytes() for file in model.iterdir()}
    words = ["models", "decide", str(model), str(table), "-o", str(tmp_path / "new")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "of 40 reals: 2 called fake, 8 undecided" in done.output
    assert "of 4 fakes: 2 called fake, 1 undecided" in done.output
    assert {file.name: file.read_bytes() for file in model.iterdir()} == before
    card = load_bundle(tmp_path / "new").card
    assert card.judging.rule == "mean"
    rule = card.doubt.rules["mean"]
    assert (rule.threshold, rule.real_below) == (pytest.approx(0.385), pytest.approx(0.305))
    assert (
        "40 real videos and pictures"
        in json.loads((tmp_path / "new/model.json").read_text())["provenance"]["thresholds"]["decision"]["source"]
    )
    assert (tmp_path / "new/detector.safetensors").read_bytes() == before["detector.safetensors"]


def test_the_papers_rule_can_be_fitted_too(model: Path, tmp_path: Path) -> None:
    table = scores(tmp_path / "s.parquet", [0.2] * 30 + [0.5] * 8 + [0.9] * 2, [0.9, 0.5])
    found = decide_by(model, [table], tmp_path / "new", rule="fraction", max_undecided=0.2)
    assert (found["reals_called_fake"], found["reals_undecided"]) == (2, 8)  # one of their two faces is above .5
    assert (found["fakes_called_fake"], found["fakes_undecided"]) == (1, 1)
    thresholds = load_bundle(tmp_path / "new").card.thresholds
    assert (thresholds.fraction, thresholds.real_below) == (0.75, 0.25)
    with pytest.raises(InputError, match="2 of 40 real videos score 1"):
        decide_by(model, [table], tmp_path / "none", rule="fraction", max_false_alarms=0.0)


def test_what_cannot_be_fitted(model: Path, tmp_path: Path) -> None:
    table = scores(tmp_path / "s.parquet", [0.2] * 19, [0.9] * 30)
    with pytest.raises(InputError, match="19 real videos"):
        decide_by(model, [table], tmp_path / "new")
    with pytest.raises(ConfigError, match="stores no rule 'top'"):
        decide_by(model, [table], tmp_path / "new", rule="top")
    enough = scores(tmp_path / "enough.parquet", [i / 100 + 0.01 for i in range(40)], [])
    other = pq.read_table(enough)
    other = other.set_column(other.column_names.index("model"), "model", pa.array(["other"] * other.num_rows))
    pq.write_table(other, tmp_path / "other.parquet")
    with pytest.raises(InputError, match="of 2 models: 'm', 'other'"):
        decide_by(model, [enough, tmp_path / "other.parquet"], tmp_path / "new")
    before = (model / "model.json").read_bytes()
    with pytest.raises(ConfigError, match="would replace the old one"):
        decide_by(model, [enough], model)
    assert (model / "model.json").read_bytes() == before
    assert not (tmp_path / "new").exists()
