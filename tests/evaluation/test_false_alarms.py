"""The shares of reals that are called fake, their exact intervals (by SciPy), and the gate of a release."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from scipy.stats import binomtest

from mrigan.errors import InputError
from mrigan.evaluation.false_alarms import Gate, RealVerdict, measure_false_alarms
from mrigan.evaluation.false_alarms_report import gate_line, write_false_alarms
from tests.evaluation.test_report import HOSTILE, Page


def reals(source: str, fake: int, undecided: int, real: int, **about: str) -> list[RealVerdict]:
    words = ["fake"] * fake + ["undecided"] * undecided + ["real"] * real
    return [
        RealVerdict(source, f"{source}/{i}.mp4", word, "no_face" if word == "undecided" else "", 0.5, **about)
        for i, word in enumerate(words)
    ]


def test_shares_and_exact_intervals_of_every_source() -> None:
    broken = RealVerdict("phones", "phones/x.mp4", "undecided", "unreadable")
    found = measure_false_alarms("m", [*reals("phones", 2, 5, 33), broken, *reals("tv", 0, 0, 12)])
    phones, tv = found["sources"]
    for row, fake, undecided, videos in ((phones, 2, 5, 40), (tv, 0, 0, 12), (found["total"], 2, 5, 52)):
        assert (row["fake"], row["undecided"], row["videos"]) == (fake, undecided, videos)
        assert row["shares"] == {"fake": fake / videos, "undecided": undecided / videos}
        for verdict, count in (("fake", fake), ("undecided", undecided)):
            exact = binomtest(count, videos).proportion_ci(0.95, "exact")
            assert row["intervals"][verdict] == pytest.approx([exact.low, exact.high])
    assert (phones["unreadable"], phones["reasons"]) == (1, {"no_face": 5})
    assert [one["name"] for one in found["called_fake"]] == ["phones/0.mp4", "phones/1.mp4"]
    assert found["passed"] is None


def test_videos_of_a_family_or_person_are_one_trial() -> None:
    alike = [one for i in range(5) for one in reals(f"s{i}", 1, 0, 3, family="f", group="g")]
    assert measure_false_alarms("m", alike)["total"]["trials"] == 5  # a family a source; people are too few
    people = [one for i in range(12) for one in reals("s", 0, 0, 2, family=f"f{i}", group=f"g{i}")]
    assert measure_false_alarms("m", people)["total"]["trials"] == 12
    assert measure_false_alarms("m", reals("s", 0, 0, 7))["total"]["trials"] == 7


@pytest.mark.parametrize(("verdicts", "gate", "failures"), [
    (reals("a", 5, 15, 30), Gate(0.1, 0.3), 0),  # exactly at both limits
    (reals("a", 6, 15, 29), Gate(0.1, 0.3), 1),
    (reals("a", 6, 16, 28), Gate(0.1, 0.3), 2),
    (reals("a", 50, 0, 0), Gate(max_undecided=0.3), 0),
    (reals("a", 0, 0, 900) + reals("b", 1, 0, 1), Gate(0.1), 0),  # one of two: may be chance
    (reals("a", 0, 0, 900) + reals("b", 6, 0, 6), Gate(0.1), 1),  # half of twelve is not
], ids=["at the limits", "fake", "both", "no limit", "small source", "bad source"])  # fmt: skip
def test_the_gate(verdicts: list[RealVerdict], gate: Gate, failures: int) -> None:
    found = measure_false_alarms("m", verdicts, gate)
    assert (len(found["failures"]), found["passed"]) == (failures, failures == 0)
    assert gate_line(found).startswith("failed: " if failures else "passed: ")


def test_nothing_readable_is_no_pass() -> None:
    with pytest.raises(InputError, match="no real video could be read"):
        measure_false_alarms("m", [RealVerdict("s", "x", "undecided", "unreadable")], Gate(0.1))


def test_the_report_keeps_hostile_names_as_text(tmp_path: Path) -> None:
    verdicts = [one for name in HOSTILE for one in reals(name, 1, 1, 1)]
    results = [measure_false_alarms(name, verdicts, Gate(0.1)) for name in HOSTILE[:2]]
    write_false_alarms(results, {name: [name] for name in HOSTILE[:2]}, tmp_path)
    page = Page((tmp_path / "false-alarms.html").read_text())
    assert "script" not in page.tags
    assert all(name.replace("\u202e", r"\u202e") in page.text for name in HOSTILE)
    assert json.loads((tmp_path / "false-alarms.json").read_text())["results"] == results
    lines = list(csv.DictReader((tmp_path / "false-alarms.csv").open()))
    assert len(lines) == 2 * (len(HOSTILE) + 1)
    assert float(lines[-1]["fake low"]) == results[1]["total"]["intervals"]["fake"][0]
