"""Other rules than the paper's: only those that a model stores, with its own thresholds, and the verdict names them."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from mrigan.cli.app import app
from mrigan.config.model_card import RuleSettings, StoredRule, Thresholds
from mrigan.detect.rule import Rule, choose_rule, counted, papers_rule
from mrigan.errors import ConfigError, ModelError
from mrigan.evaluation.videos import video_verdict
from tests.detect.schema import check

THRESHOLDS = Thresholds(0.7, 0.3)
PROBS = [0.1, 0.2, 0.3, 0.6, 0.95]


def test_the_papers_rule_is_that_of_the_evaluation() -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        probs = rng.choice([0.2, 0.7, 0.71, 0.9], rng.integers(1, 30))
        assert papers_rule(THRESHOLDS).verdict(probs) == video_verdict(probs, asdict(THRESHOLDS))
    assert papers_rule(THRESHOLDS).verdict([]) == "undecided"


@pytest.mark.parametrize(
    ("name", "score"),
    [("mean", 0.43), ("top", 0.95), ("confident_mean", 0.43), ("mean_logit", None)],
)
def test_a_stored_rule_scores_and_decides_at_its_own_threshold(name: str, score: float | None) -> None:
    if score is None:
        logits = np.log(np.array(PROBS) / (1 - np.array(PROBS)))
        score = float(1 / (1 + np.exp(-logits.mean())))
    for threshold, expected in ((score - 0.01, "fake"), (score, "fake"), (score + 0.01, "real")):
        rule = choose_rule(name, THRESHOLDS, {name: StoredRule(threshold)})
        assert rule.score(PROBS) == pytest.approx(score)
        assert rule.verdict(PROBS) == expected


def test_what_a_model_does_not_store_is_no_rule() -> None:
    stored = {"mean": StoredRule(0.5), "from_next_year": StoredRule(0.5)}
    with pytest.raises(ConfigError, match="stores no rule 'top'") as caught:
        choose_rule("top", THRESHOLDS, stored)
    assert caught.value.fix == "one of: fraction, mean"
    with pytest.raises(ConfigError, match="no rule 'menu'"):
        choose_rule("menu", THRESHOLDS, stored)
    with pytest.raises(ModelError, match="unusable rule learned"):
        choose_rule("learned", THRESHOLDS, {"learned": StoredRule(0.5, RuleSettings(weights={}))})


def test_the_command_and_its_page_say_which_rule(
    clips: Path, models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model scores every face .95: fake by the paper's rule, real by a stored one with a threshold of .99."""
    model = shutil.copytree(models["fake"], tmp_path / "model")
    meta = json.loads((model / "model.json").read_text())
    meta["doubt"] = {"rules": {"mean": {"threshold": 0.99, "settings": {}}}}
    (model / "model.json").write_text(json.dumps(meta))
    out, page = tmp_path / "out.json", tmp_path / "page.html"
    command = ["detect", str(clips / "one.mp4"), "--model", str(model), "--precision", "bf16"]
    done = CliRunner().invoke(app, [*command, "--rule", "mean", "--json", str(out), "--html", str(page)])
    assert done.exit_code == 0, done.output
    assert "mean .95 (fake from .99 on)" in done.output
    verdicts = json.loads(out.read_text())
    check(verdicts)
    [verdict] = verdicts
    assert (verdict["verdict"], verdict["fraction"], verdict["persons"][0]["verdict"]) == ("real", 1.0, "real")
    score = pytest.approx(0.9526, abs=0.005)
    assert verdict["rule"] == {"name": "mean", "threshold": 0.99, "score": score, "real_below": None}
    assert verdict["persons"][0]["score"] == verdict["rule"]["score"]
    assert (verdict["model"]["rule"], verdict["model"]["precision"]) == ("mean", "bf16")
    html = page.read_text()
    assert "By the rule “mean” the video scored 0.95; it says fake from 0.99 on." in html
    assert "the mean probability of its faces" in html
    meta["doubt"]["rules"]["mean"]["real_below"] = 0.6
    (model / "model.json").write_text(json.dumps(meta))
    done = CliRunner().invoke(app, [*command, "--rule", "mean", "--json", str(out), "--html", str(page)])
    assert "undecided" in done.output
    said = " ".join(done.output.split())
    assert re.search(r"mean \.95 of \d+ faces \(real below \.60, fake from \.99 on\)", said), said
    verdicts = json.loads(out.read_text())
    check(verdicts)
    assert (verdicts[0]["verdict"], verdicts[0]["reason"]) == ("undecided", "uncertain")
    assert "Below 0.60 the model says real, from 0.99 on fake" in page.read_text()
    assert "did not decide" in html
    assert "expect less of it elsewhere" not in html  # those rates are of the paper's rule
    refused = CliRunner().invoke(app, [*command, "--rule", "top"])
    assert isinstance(refused.exception, ConfigError)
    assert refused.exception.fix == "one of: fraction, mean"
    wrong = CliRunner().invoke(app, [*command[:-1], "bf61"])
    assert isinstance(wrong.exception, ConfigError)


def test_an_ensembles_networks_each_score_the_video() -> None:
    rng = np.random.default_rng(4)
    probs = rng.uniform(0, 1, (40, 3)) ** [0.2, 1, 4]
    rule = Rule("confident_mean", 0.5)
    alone = [rule.score(network) for network in probs.T]
    assert rule.score(probs) == pytest.approx(np.mean(alone))
    assert rule.score(probs) != pytest.approx(rule.score(probs.mean(1)), abs=0.01)
    assert rule.score(np.zeros((0, 3))) is None


def test_a_frame_counts_once_by_the_worst_of_its_large_faces() -> None:
    frames = np.array([0, 0, 0, 1, 1, 2])
    areas = np.array([100.0, 60.0, 49.0, 10.0, 30.0, 5.0])
    probs = np.array([0.2, 0.3, 0.9, 0.9, 0.1, 0.5])
    assert counted("largest", frames, areas, probs).tolist() == [False, True, False, False, True, True]
    assert counted("all", frames, areas, probs).all()
    assert counted("largest", frames[:0], areas[:0], probs[:0]).tolist() == []
