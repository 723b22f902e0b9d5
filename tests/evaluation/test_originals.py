"""Fakes against their own originals, reals of a data set against fakes of another: by scikit-learn and by hand."""

from __future__ import annotations

import csv
import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import bootstrap as scipy_bootstrap
from sklearn.metrics import roc_auc_score

from mrigan.evaluation import check_scores, evaluate, video_table
from mrigan.evaluation.cross_auc import cross_auc
from mrigan.evaluation.originals import against_originals
from mrigan.evaluation.pairs import find_pairs
from mrigan.evaluation.rates import exact_interval
from tests.evaluation.tables import table, video


def scored(clips: list[dict[str, Any]], faces: int = 2) -> pa.Table:
    """A scores table of `clips`, each with name, label, prob, and maybe mri, family, dataset, method, compression."""
    rows, families, mris = [], [], []
    for clip in clips:
        about = {key: clip[key] for key in ("dataset", "method", "compression") if key in clip}
        probs = [clip["prob"]] * faces if clip["prob"] is not None else []
        rows += video(clip["name"], clip["label"], probs, **about)
        families += [clip.get("family", "")] * max(len(probs), 1)
        mris += [clip.get("mri") if probs else None] * max(len(probs), 1)
    plain = table(rows).append_column("family", pa.array(families))
    return check_scores(plain.append_column("mri", pa.array(mris, pa.float64())))


def drawn(families: int, seed: int = 0, *, mri: bool = True) -> list[dict[str, Any]]:
    """Originals of two data sets, the second with higher scores, each with a fake of one or two methods."""
    rng = np.random.default_rng(seed)
    clips = []
    for dataset, i in product(("celeb", "dfdc"), range(families)):
        base = rng.uniform(0.1, 0.4) + 0.3 * (dataset == "dfdc")
        for method in ("original", "swap", "reenact")[: 2 + (dataset == "celeb")]:
            label = int(method != "original")
            clips.append({
                "name": f"{method}{i}", "method": method, "dataset": dataset, "family": f"{dataset}/{i}",
                "label": label,
                "prob": float(np.round(base + label * rng.uniform(-0.05, 0.15), 2)),
                "mri": float(rng.uniform(0.02, 0.1) * (1 + label)) if mri else None,
            })  # fmt: skip
    return clips


def by_hand(clips: list[dict[str, Any]], score: str) -> tuple[float, float]:
    """(pair accuracy, AUC) of the fakes among `clips` and their originals."""
    originals = {clip["family"]: clip for clip in clips if not clip["label"]}
    fakes = [clip for clip in clips if clip["label"]]
    wins = [np.sign(fake[score] - originals[fake["family"]][score]) for fake in fakes]
    used = [originals[family] for family in {fake["family"] for fake in fakes}]
    labels = [1] * len(fakes) + [0] * len(used)
    return float(np.mean(wins) / 2 + 0.5), float(roc_auc_score(labels, [clip[score] for clip in fakes + used]))


def test_every_set_equals_scikit_learn_and_the_macro_is_the_mean_of_the_sets() -> None:
    clips = drawn(25)
    found = against_originals(video_table(scored(clips)))
    assert [tuple(row[k] for k in ("dataset", "method", "fakes", "families")) for row in found["sets"]] == [
        ("celeb", "reenact", 25, 25), ("celeb", "swap", 25, 25), ("dfdc", "swap", 25, 25)
    ]  # fmt: skip
    for row in (*found["sets"], found["all"]):
        of_set = ({row["dataset"]}, {"original", row["method"]})
        mine = [c for c in clips if row is found["all"] or (c["dataset"] in of_set[0] and c["method"] in of_set[1])]
        assert (row["pair_accuracy"], row["auc"]) == pytest.approx(by_hand(mine, "prob"))
        assert (row["mri_pair_accuracy"], row["mri_auc"]) == pytest.approx(by_hand(mine, "mri"))
        originals = {clip["family"]: clip["mri"] for clip in mine if not clip["label"]}
        fakes = [clip for clip in mine if clip["label"]]
        bright = [np.mean([clip["mri"] for clip in fakes]), np.mean([originals[clip["family"]] for clip in fakes])]
        assert [row["mri_fake"], row["mri_original"]] == pytest.approx(bright)
        assert row["mri_ratio"] == pytest.approx(bright[0] / bright[1])
        assert all(low <= row[name] <= high for name, (low, high) in row["intervals"].items())
        assert row["intervals"].keys() >= {"pair_accuracy", "auc", "mri_auc", "mri_ratio"}
    for name in ("pair_accuracy", "auc", "mri_auc", "mri_fake"):
        assert found["macro"][name] == pytest.approx(np.mean([row[name] for row in found["sets"]]))
    assert found["macro"]["mri_ratio"] == pytest.approx(found["macro"]["mri_fake"] / found["macro"]["mri_original"])
    assert found["without_original"] == 0


def test_the_interval_is_that_of_a_bootstrap_over_families() -> None:
    clips = [clip for clip in drawn(120, seed=3) if clip["dataset"] == "celeb" and clip["method"] != "reenact"]
    originals = {clip["family"]: clip["prob"] for clip in clips if not clip["label"]}
    wins = [np.sign(c["prob"] - originals[c["family"]]) / 2 + 0.5 for c in clips if c["label"]]
    oracle = scipy_bootstrap((wins,), np.mean, method="percentile", rng=np.random.default_rng(1)).confidence_interval
    row = against_originals(video_table(scored(clips)))["all"]
    assert row["intervals"]["pair_accuracy"] == pytest.approx([oracle.low, oracle.high], abs=0.02)
    # Ten fakes of each family, all alike: ten times the videos, and no more knowledge.
    many = [{**clip, "name": f"{clip['name']}-{i}"} for clip in clips for i in range(1 + 9 * clip["label"])]
    again = against_originals(video_table(scored(many)))["all"]
    assert again["intervals"]["pair_accuracy"] == pytest.approx(row["intervals"]["pair_accuracy"], abs=0.02)


def test_with_few_families_shares_have_exact_intervals_and_the_others_none() -> None:
    found = against_originals(video_table(scored(drawn(4))))
    row = next(row for row in found["sets"] if row["dataset"] == "dfdc")
    assert row["intervals"].keys() == {"pair_accuracy", "mri_pair_accuracy"}
    assert row["intervals"]["pair_accuracy"] == pytest.approx(exact_interval(row["pair_accuracy"], 4))
    assert "8 families" in found["missing"]
    assert not found["macro"]["intervals"]


def test_ties_count_half_and_a_black_original_has_no_ratio() -> None:
    clip = {"name": "a", "family": "f", "label": 0, "prob": 0.5, "mri": 0.0}
    [row] = against_originals(video_table(scored([clip, {**clip, "name": "b", "label": 1, "mri": 0.2}])))["sets"]
    assert (row["pair_accuracy"], row["auc"], row["mri_pair_accuracy"]) == (0.5, 0.5, 1.0)
    assert (row["mri_ratio"], row["undefined"]) == (None, {"mri_ratio": "the MRIs of the originals are black"})


def test_a_fake_is_paired_with_its_original_and_with_nothing_else() -> None:
    fake = {"name": "fake", "method": "swap", "family": "dfdc/original/c23/1", "label": 1, "prob": 0.5}
    real = {"name": "1", "label": 0, "prob": 0.5, "family": "dfdc/original/c23/1"}
    others = [
        real,
        {**real, "compression": "c40"},  # the same clip, compressed more
        {**real, "name": "2", "family": "dfdc/original/c23/2"},
        {**real, "dataset": "other", "name": "x"},  # the family's name is known elsewhere
        {**fake, "name": "fake of a fake", "method": "again"},
        {**fake, "name": "unknown", "method": "again", "family": ""},
        {**fake, "dataset": "third", "name": "taken over"},  # its original is in another data set, and named
    ]
    videos = video_table(scored([fake, *others]))
    pairs = find_pairs(videos)
    names = list(zip(*(videos[key].to_pylist() for key in ("dataset", "name", "compression")), strict=True))
    found = {(names[f], names[r]) for f, r in zip(pairs.fake, pairs.original, strict=True)}
    original = ("dfdc", "1", "c23")
    assert found == {
        (("dfdc", "fake", "c23"), original), (("dfdc", "fake of a fake", "c23"), original),
        (("third", "taken over", "c23"), original),
    }  # fmt: skip
    assert against_originals(videos)["without_original"] == 1


def test_two_originals_of_one_fake_count_as_one() -> None:
    real = {"name": "1", "label": 0, "prob": 0.2, "family": "f"}
    second = {**real, "name": "2", "prob": 0.9}
    fakes = [{"name": f"fake{i}", "label": 1, "prob": 0.5, "family": family} for i, family in enumerate(("f", "g"))]
    [row] = against_originals(video_table(scored([real, second, {**real, "name": "3", "family": "g"}, *fakes])))["sets"]
    assert row["pair_accuracy"] == 0.75  # (half of two originals + one of one) / 2 fakes
    assert row["fakes"] == 2


def test_a_video_without_a_face_is_in_no_pair() -> None:
    real = {"name": "1", "label": 0, "prob": 0.2, "family": "f"}
    assert (
        against_originals(video_table(scored([real, {"name": "x", "label": 1, "prob": None, "family": "f"}]))) is None
    )
    assert against_originals(video_table(scored([real]))) is None


def test_cross_auc_equals_scikit_learn_in_every_cell() -> None:
    clips = drawn(20, mri=False) + [
        {"name": f"still{i}", "dataset": "stills", "compression": "", "label": 0, "prob": 0.05, "family": f"s{i}"}
        for i in range(12)
    ]
    found = cross_auc(video_table(scored(clips)))
    cells = {(cell["reals"]["dataset"], cell["fakes"]["dataset"]): cell for cell in found["cells"]}
    assert cells.keys() == set(product(("celeb", "dfdc", "stills"), ("celeb", "dfdc")))
    for (reals, fakes), cell in cells.items():
        chosen = [c for c in clips if c["dataset"] == (fakes if c["label"] else reals)]
        auc = roc_auc_score([clip["label"] for clip in chosen], [clip["prob"] for clip in chosen])
        assert cell["auc"] == pytest.approx(auc)
        assert cell["interval"][0] <= auc <= cell["interval"][1]
    assert cells["dfdc", "celeb"]["auc"] < 0.3  # its reals score higher than the other's fakes
    own = [("celeb", "celeb"), ("dfdc", "dfdc")]
    assert found["within"]["auc"] == pytest.approx(np.mean([cells[key]["auc"] for key in own]))
    assert found["across"]["auc"] == pytest.approx(np.mean([c["auc"] for key, c in cells.items() if key not in own]))
    assert (found["within"]["cells"], found["across"]["cells"]) == (2, 4)
    low, high = found["across"]["interval"]
    assert low < found["across"]["auc"] < high


def test_cross_auc_needs_two_data_sets_and_intervals_need_families() -> None:
    clips = [clip for clip in drawn(5) if clip["dataset"] == "celeb"]
    assert cross_auc(video_table(scored(clips))) is None
    unnamed = [{**clip, "family": ""} for clip in drawn(30)]
    found = cross_auc(video_table(scored(unnamed)))
    assert [cell["interval"] for cell in found["cells"]] == [None] * 4


def test_the_report_shows_them(tmp_path: Path) -> None:
    [result] = evaluate(scored(drawn(25)), None, tmp_path)["results"]
    assert json.loads((tmp_path / "metrics.json").read_text())["results"][0]["originals"] == result["originals"]
    lines = list(csv.DictReader((tmp_path / "tables/test/originals.csv").open()))
    assert [line["method"] for line in lines] == ["reenact", "swap", "swap", "macro", "all"]
    assert float(lines[-1]["pair_accuracy"]) == result["originals"]["all"]["pair_accuracy"]
    assert float(lines[0]["mri_ratio low"]) == result["originals"]["sets"][0]["intervals"]["mri_ratio"][0]
    cells = list(csv.DictReader((tmp_path / "tables/test/cross-auc.csv").open()))
    assert [float(line["auc"]) for line in cells] == [cell["auc"] for cell in result["cross_auc"]["cells"]]
    page = (tmp_path / "index.html").read_text()
    for figures in (result["originals"]["macro"], result["originals"]["all"]):
        assert f"{figures['mri_ratio']:.3f}" in page
    assert f"{result['cross_auc']['cells'][1]['auc']:.2f}</text>" in page
    assert "not measured" not in page  # as the reason of a dash, of which there is none here
    assert (tmp_path / "figures/test-cross-auc.png").is_file()
