"""The rule, the numbers beside it, and what a verdict must admit."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from scipy import special
from scipy.stats import binomtest

from mrigan.config import FacesConfig
from mrigan.config.model_card import Calibration, Counts, DataCard, Limits, Thresholds
from mrigan.detect.about import learned_from, validation_of
from mrigan.detect.decide import Criteria, decide, interval
from mrigan.detect.findings import Findings
from mrigan.detect.gaps import gaps_of, smallest_face
from mrigan.detect.rule import papers_rule
from mrigan.detect.sinks.terminal import verdict_line
from mrigan.detect.verdict import Verdict
from mrigan.detect.wording import limit_rows, sentence, validated
from mrigan.video import Face
from tests.detect.schema import check

MODEL = {"name": "m", "input": "face", "generator": False, "sha256": "", "provenance": {}, "mrigan": "0"}


def logits(probs: list[float]) -> list[float]:
    return [float(np.clip(special.logit(p), -50, 50)) for p in probs]


def findings(probs: list[float], **more: object) -> Findings:
    faces = [Face(10 * i, 0.4 * i, 0, (1.0, 2.0, 30.0, 40.0), 0.9, ()) for i in range(len(probs))]
    return Findings(faces, logits(probs), **{"frames": len(probs), "size": (320, 240), **more})  # type: ignore[arg-type]


def judged(
    seen: Findings,
    frame: float = 0.7,
    fraction: float = 0.3,
    picture: bool = False,
    calibration: Calibration | None = None,
    **limits: float,
) -> dict:
    thresholds = Thresholds(frame, fraction)
    criteria = Criteria(thresholds, papers_rule(thresholds), Limits(**limits), calibration)  # type: ignore[arg-type]
    verdict = decide("a.mp4", None, seen, criteria, picture=picture, config=FacesConfig(), model=MODEL)
    result = verdict.to_json()
    check([result])
    assert Verdict.from_json(json.loads(json.dumps(result))) == verdict
    return result


def line(result: dict) -> str:
    return verdict_line(Verdict.from_json(result))


def test_the_rule_against_exact_fractions() -> None:
    draw = random.Random(0)
    for _ in range(300):
        n = draw.randint(3, 40)
        probs = [draw.choice([0.0, 0.5, 0.55, 0.7, 0.71, 0.9, 1.0]) for _ in range(n)]
        frame, percent = draw.choice([0.5, 0.55, 0.7, 0.9]), draw.choice([10, 20, 30, 40, 50, 60, 70])
        expected = Fraction(sum(p > frame for p in probs), n) >= Fraction(percent, 100)
        result = judged(findings(probs), frame, percent / 100)
        assert result["verdict"] == ("fake" if expected else "real")
        assert result["probability"] == pytest.approx(sum(probs) / n)
        assert result["fraction"] == pytest.approx(sum(p > frame for p in probs) / n)


def test_a_verdict_of_an_earlier_or_a_later_version_is_read() -> None:
    data = judged(findings([0.9] * 4))
    for name in ("limit", "learned_from", "warnings"):  # the first journals lack them
        del data[name]
    data |= {"of_next_year": 1}
    data["faces"][0]["of_next_year"] = 1
    verdict = Verdict.from_json(data)
    assert (verdict.verdict, verdict.warnings, verdict.faces[0].prob) == ("fake", (), pytest.approx(0.9))
    check([verdict.to_json()])


def test_no_face_is_never_real() -> None:
    result = judged(findings([], frames=12, empty=12))
    assert (result["verdict"], result["reason"]) == ("undecided", "no_face")
    assert result["probability"] is result["fraction"] is result["interval"] is None


def test_few_faces_are_no_verdict_on_a_video_but_on_a_picture() -> None:
    assert judged(findings([0.9, 0.9]))["reason"] == "too_few_faces"
    assert judged(findings([0.9, 0.9]))["verdict"] == "undecided"
    assert judged(findings([0.9] * 3))["verdict"] == "fake"
    assert judged(findings([0.9]), picture=True)["verdict"] == "fake"
    assert judged(findings([0.9] * 5), min_faces=6)["reason"] == "too_few_faces"
    assert judged(findings([0.9] * 5), min_faces=6)["thresholds"]["min_faces"] == 6


def test_unreadable_and_cut_off_are_told_apart() -> None:
    unreadable = judged(findings([], error="no video stream in this file"))
    assert (unreadable["verdict"], unreadable["reason"]) == ("undecided", "unreadable")
    assert unreadable["not_analysed"] == [{"what": "file", "detail": "No video stream in this file."}]
    cut = judged(findings([0.1] * 5, error="the file ends after 3 of 9 s"))
    assert (cut["verdict"], cut["reason"]) == ("real", None)
    assert cut["not_analysed"][0]["what"] == "rest_of_file"
    assert "3 of 9 s" in cut["not_analysed"][0]["detail"]


def test_one_of_two_people_may_be_forged() -> None:
    faces = [Face(i // 2, i / 2, i % 2, (0.0, 0.0, 9.0, 9.0), 0.9, ()) for i in range(20)]
    seen = Findings(faces, logits([0.95, 0.05] * 10), frames=10, size=(64, 64))
    result = judged(seen, fraction=0.6)
    assert result["verdict"] == "real"
    assert [(p["person"], p["faces"], p["verdict"], p["fraction"]) for p in result["persons"]] == [
        (0, 10, "fake", 1.0), (1, 10, "real", 0.0)]  # fmt: skip


@pytest.mark.parametrize(
    ("measure", "limit", "good", "bad", "reason"),
    [("side", "min_side", 80, 20, "too_small"), ("sharpness", "min_sharpness", 99, 1, "too_blurred"),
     ("distance", "max_distance", 1, 9, "out_of_range")])  # fmt: skip
def test_a_video_beyond_the_models_limits_is_not_judged(
    measure: str, limit: str, good: float, bad: float, reason: str
) -> None:
    limits = {limit: 40.0 if limit != "max_distance" else 3.0, "share": 0.5}

    def said(values: list[float]) -> tuple[str, str | None]:
        result = judged(findings([0.9] * len(values), measures={measure: np.array(values)}), **limits)
        return result["verdict"], result["reason"]

    assert said([good] * 6) == ("fake", None)
    assert said([bad] * 3 + [good] * 3) == ("fake", None)  # half of them is not most
    assert said([bad] * 4 + [good] * 2) == ("undecided", reason)
    assert judged(findings([0.9] * 6, measures={measure: np.full(6, bad)}))["verdict"] == "fake"  # no limit is known


def test_a_colourless_video_is_out_of_range_by_a_limit_of_its_own() -> None:
    grey = findings([0.9] * 6, measures={"distance": np.full(6, 1.0), "colour": np.zeros(6)})
    result = judged(grey, min_colour=2.0, max_distance=3.0)
    assert (result["verdict"], result["reason"], result["limit"]) == ("undecided", "out_of_range", "min_colour")
    assert result["measured"]["colour"] == {"median": 0.0, "beyond": 1.0}
    assert "hardly any colour" in sentence(Verdict.from_json(result), picture=False)
    assert "hardly any colour" in line(result)
    [broken] = [row for row in limit_rows(Verdict.from_json(result), picture=False) if row.broken]
    assert broken.name.startswith("Spread of a face's colours")
    assert judged(grey, max_distance=3.0)["verdict"] == "fake"  # a model that has seen grey sets no such limit
    one = judged(
        findings([0.9], measures={"distance": np.ones(1), "colour": np.zeros(1)}), picture=True, min_colour=2.0
    )
    assert "the face has hardly any colour" in line(one)
    far = findings([0.9] * 6, measures={"distance": np.full(6, 4.0), "colour": np.zeros(6)})
    assert judged(far, min_colour=2.0, max_distance=3.0)["limit"] == "max_distance"


@pytest.mark.parametrize(("tpr", "tnr", "warned"), [(0.0, 1.0, True), (0.5, 0.5, True), (0.75, 0.5, False)])
def test_a_model_that_is_no_better_than_chance_on_validation_says_so(tpr: float, tnr: float, warned: bool) -> None:
    thresholds = Thresholds(0.5, 0.5)
    criteria = Criteria(thresholds, papers_rule(thresholds), Limits(max_distance=3.0), None, {"tpr": tpr, "tnr": tnr})
    assert [line.partition(":")[0] for line in criteria.warnings] == ["no better than chance"] * warned
    another = replace(criteria, rule=replace(criteria.rule, name="mean"))  # these rates are not those of that rule
    assert another.warnings == ()


def test_a_model_says_what_it_learned_from_and_that_it_knows_no_limit() -> None:
    result = judged(findings([0.9] * 6))
    assert [line.partition(":")[0] for line in result["warnings"]] == ["no limit known"]
    assert result["learned_from"] is None
    assert line(result).endswith("the model learned from data that it does not name")
    assert judged(findings([0.9] * 6), max_distance=3.0)["warnings"] == []
    told = learned_from(DataCard(datasets=["celeb-df", "dfdc"], training=Counts(families=412)))
    assert told == "celeb-df, dfdc (412 families)"
    about = DataCard(about=" invented\npeople ", datasets=["dfdc"], training=Counts(families=16))
    assert learned_from(about) == "invented people (16 families)"
    assert learned_from(DataCard()) is None
    assert line(result | {"learned_from": told}).endswith("; the model learned from celeb-df, dfdc (412 families)")


def test_rates_stand_with_counts_and_exact_intervals() -> None:
    counts = {
        "fakes": 16,
        "fakes_found": 15,
        "fake_families": 4,
        "reals": 4,
        "reals_called_fake": 0,
        "real_families": 4,
    }
    seen = validation_of({"tpr": 15 / 16, "tnr": 1.0, "counts": counts})
    assert seen["tnr_interval"] == pytest.approx(list(binomtest(4, 4).proportion_ci(method="exact")))
    assert validated({"validation": seen}) == (
        "15 of 16 fakes found, 95 %: 34 to 100 % (4 families); 0 of 4 reals called fake, 95 %: 0 to 60 %"
    )
    assert validated({"validation": validation_of({"tpr": 0.75, "tnr": 0.5, "counts": {"fakes": "x"}})}).endswith(
        "of how many, the model does not say"
    )
    assert validated({"validation": validation_of({})}) == ""
    decision = {"rule": "mean", "source": "x", "reals": 40, "reals_called_fake": 2, "reals_undecided": 8}
    fitted = {"validation": validation_of({"decision": decision})}
    assert validated(fitted, "mean") == "of 40 real files, 2 called fake and 8 undecided; fakes were not used"
    assert validated(fitted) == ""  # another rule judges


def test_a_person_beyond_the_limits_is_undecided_alone() -> None:
    faces = [Face(i // 2, i / 2, i % 2, (0.0, 0.0, 9.0, 9.0), 0.9, ()) for i in range(20)]
    seen = Findings(faces, logits([0.95] * 20), {"side": np.array([100.0, 10.0] * 10)}, frames=10, size=(64, 64))
    result = judged(seen, min_side=40.0, share=0.5)
    assert result["verdict"] == "fake"
    assert [(p["verdict"], p["reason"]) for p in result["persons"]] == [("fake", None), ("undecided", "too_small")]


def test_the_probability_is_calibrated_where_the_model_can() -> None:
    calibration = Calibration("platt", slope=0.5, intercept=-1.0)
    probs = [0.5, 0.9, 0.99, 0.999]
    result = judged(findings(probs), calibration=calibration)
    mean = np.mean([special.logit(p) for p in probs])
    assert result["probability"] == pytest.approx(special.expit(0.5 * mean - 1))
    assert result["calibration"] == "platt"
    low, high = result["interval"]
    assert 0 < low < result["probability"] < high < 1
    assert judged(findings(probs))["calibration"] is None
    assert result["fraction"] == judged(findings(probs))["fraction"]  # the rule stays as it was searched


def test_what_was_not_looked_at() -> None:
    def said(seen: Findings, config: FacesConfig, picture: bool = False) -> dict[str, str]:
        return {gap.what: gap.detail for gap in gaps_of(seen, picture, config, False)}

    large = findings([0.5] * 4, size=(1920, 1080), total=300, empty=2, crowded=1)
    told = said(large, FacesConfig())
    assert set(told) == {"frames", "small_faces", "frames_without_face", "more_faces"}
    assert "4 of 300" in told["frames"]
    assert "60 px" in told["small_faces"]
    assert set(said(large, FacesConfig(long_side=0, every=1))) == {"frames_without_face", "more_faces"}
    assert said(findings([0.5]), FacesConfig(), picture=True) == {}
    assert set(said(findings([0.5], total=7), FacesConfig(), picture=True)) == {"other_pictures"}
    assert smallest_face((1920, 1080), FacesConfig()) == 60
    assert smallest_face((320, 240), FacesConfig()) == 20


def test_the_interval_is_a_bootstrap_over_frames() -> None:
    rng = np.random.default_rng(1)
    probs = rng.uniform(0.2, 0.9, 400)
    low, high = interval(range(400), probs) or (0.0, 0.0)
    half = 1.96 * probs.std() / 20  # the normal approximation
    assert (low, high) == (pytest.approx(probs.mean() - half, abs=4e-3), pytest.approx(probs.mean() + half, abs=4e-3))
    assert interval(range(400), probs) == (low, high)
    # Two faces a frame that say the same are no more evidence than one.
    assert interval(np.repeat(range(400), 2).tolist(), np.repeat(probs, 2)) == pytest.approx((low, high))
    assert interval([0, 10, 20], np.array([0.4, 0.4, 0.4])) == pytest.approx((0.4, 0.4))
    assert interval([0, 0, 0], np.array([0.1, 0.5, 0.9])) is None
    assert interval([], np.array([])) is None
