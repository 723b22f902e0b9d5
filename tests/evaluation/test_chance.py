"""Is a detector better than chance? Against intervals, and against all labellings written out."""

from __future__ import annotations

from itertools import product

import numpy as np
import pyarrow as pa
import pytest
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from mrigan.evaluation import check_scores
from mrigan.evaluation.chance import skill
from tests.evaluation.tables import table, video


def scored(families: int, shift: float, seed: int = 0, fakes: int = 4) -> pa.Table:
    """Families of an original and its fakes, whose logits lie `shift` above their family's."""
    rng = np.random.default_rng(seed)
    rows, named = [], []
    for family in range(families):
        level = rng.normal(0, 2)
        for k in range(fakes + 1):
            logits = level + shift * (k > 0) + rng.normal(0, 0.5) + rng.normal(0, 0.1, 3)
            rows += video(f"{family}_{k}.mp4", int(k > 0), expit(logits).tolist(), split="val")
            named += [f"f{family}"] * 3
    return check_scores(table(rows).append_column("family", [named]))


def test_many_families_by_the_interval() -> None:
    good, none = skill(scored(40, 4.0)), skill(scored(40, 0.0))
    assert good.better
    assert not none.better
    assert "200 validation videos of 40 families (95 %: " in none.why


def test_few_families_by_all_labellings() -> None:
    """Four families of one original and four fakes have 625 labellings, of which 999 shuffles are drawn."""
    for seed in range(2):
        scores = scored(4, 1.5, seed)
        by_video: dict[str, list[float]] = {}
        for row in scores.to_pylist():
            by_video.setdefault(row["name"], []).append(row["logit"])
        names = sorted(by_video)
        mean = np.array([np.mean(by_video[name]) for name in names])
        labels = np.array([not name.endswith("_0.mp4") for name in names])
        auc = roc_auc_score(labels, mean)
        reached = [
            roc_auc_score([int(name[2]) != real[int(name[0])] for name in names], mean) >= auc - 1e-12
            for real in product(range(5), repeat=4)
        ]
        found = skill(scores)
        assert found.auc == pytest.approx(auc)
        said = float(found.why.split("interval; ")[1].split(" %")[0]) / 100
        assert said == pytest.approx(np.mean(reached), abs=0.05)
        assert found.better == (said <= 0.025)


def test_a_guess_is_seldom_taken_for_skill() -> None:
    assert sum(skill(scored(4, 0.0, seed)).better for seed in range(40)) <= 4  # 1 expected


def test_families_of_one_class_are_exchanged_whole() -> None:
    """Four fakes of one family and four reals of another are two trials, however well they are told apart."""
    rows = [row for i in range(4) for row in video(f"r{i}", 0, [0.1]) + video(f"f{i}", 1, [0.9])]
    scores = table(rows)
    together = check_scores(scores.append_column("family", [[name[0] for name in scores["name"].to_pylist()]]))
    assert not skill(together).better
    assert skill(check_scores(scores)).better  # eight families: 1 labelling in 70


def test_one_class_cannot_be_compared() -> None:
    found = skill(check_scores(table(video("a", 1, [0.9]) + video("b", 1, [0.8]))))
    assert (found.auc, found.better) == (None, False)
    assert "only fakes" in found.why
