"""Videos: who is one, the fraction rule, coverage."""

from __future__ import annotations

import numpy as np
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from mrigan.evaluation import check_scores, frame_metrics, video_metrics, video_table, video_verdict
from tests.evaluation.tables import random_table, table, video

THRESHOLDS = {"frame": 0.5, "fraction": 0.3}


def test_two_methods_with_one_file_name_are_two_videos():
    # A known benchmark groups faces by file name only: all 10 names hold one real and one fake, and its video AUC is
    # not that of these scores, which know nothing.
    rng = np.random.default_rng(0)
    rows = []
    for i in range(10):
        for label in (0, 1):
            rows += video(f"{i:03d}.mp4", label, rng.random(40).tolist())
    scores = check_scores(table(rows))
    videos = video_table(scores)
    assert videos.num_rows == 20
    assert sorted(set(videos["method"].to_pylist())) == ["deepfakes", "original"]
    assert abs(video_metrics(videos)["auc"] - 0.5) < 0.25
    assert frame_metrics(scores["label"], scores["prob"])["auc"] == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("differs", ["dataset", "method", "compression", "model"])
def test_each_part_of_the_id_tells_videos_apart(differs):
    rows = video("a.mp4", 1, [0.9], **{differs: "x"}) + video("a.mp4", 1, [0.2, 0.3], **{differs: "y"})
    assert sorted(video_table(check_scores(table(rows)))["faces"].to_pylist()) == [1, 2]


def test_video_auc_ranks_means_and_not_thresholded_answers():
    # Every face is below .5: thresholded answers are all "real" and rank nothing, the means rank perfectly.
    rows = [r for i in range(6) for r in video(f"{i}.mp4", i % 2, [0.1 + 0.2 * (i % 2), 0.12 + 0.01 * i])]
    got = video_metrics(video_table(check_scores(table(rows))))
    assert got["auc"] == 1.0
    assert got["fraction_auc"] == 0.5
    assert got["tp"] == 0


def test_video_figures_agree_with_a_plain_count():
    scores = check_scores(random_table(3, models=("face",), videos=(("test", 60),)))
    truth, means, said = [], [], []
    videos: dict[tuple, list] = {}
    for row in scores.to_pylist():
        videos.setdefault((row["method"], row["compression"], row["name"]), []).append(row)
    for rows in videos.values():
        probs = [r["prob"] for r in rows if r["frame"] >= 0]
        if probs:
            truth.append(rows[0]["label"])
            means.append(sum(probs) / len(probs))
            said.append(sum(p > 0.5 for p in probs) * 10 >= 3 * len(probs))
    got = video_metrics(video_table(scores, THRESHOLDS))
    truth, said = np.array(truth), np.array(said)
    assert got["auc"] == pytest.approx(roc_auc_score(truth, means))
    assert (got["tp"], got["fp"]) == ((truth & said).sum(), ((1 - truth) & said).sum())
    assert (got["n"], got["predicted"]) == (60, len(truth))
    assert got["coverage"] == pytest.approx(len(truth) / 60)


def test_a_video_without_a_face_is_counted_and_never_called_real():
    rows = video("a", 0, [0.1]) + video("b", 1, [0.9]) + video("c", 1, []) + video("d", 0, [])
    videos = video_table(check_scores(table(rows)))
    silent = videos.filter(pc.equal(videos["faces"], 0))
    assert silent["verdict"].to_pylist() == ["undecided"] * 2
    assert silent["prob"].to_pylist() == [None] * 2
    got = video_metrics(videos)
    assert (got["n"], got["predicted"], got["coverage"]) == (4, 2, 0.5)
    assert got["undecided"] == {"real": 1, "fake": 1}
    assert (got["accuracy"], got["tnr"], got["accuracy_of_all"]) == (1.0, 1.0, 0.5)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 20), min_size=1, max_size=50), st.integers(0, 20), st.integers(0, 100))
def test_the_rule_is_exact_where_the_fraction_is_met_exactly(steps, threshold, percent):
    said = video_verdict([s / 20 for s in steps], {"frame": threshold / 20, "fraction": percent / 100})
    enough = 100 * sum(s > threshold for s in steps) >= percent * len(steps)  # in whole numbers
    assert said == ("fake" if enough else "real")


def test_no_face_no_verdict():
    assert video_verdict([], THRESHOLDS) == "undecided"
    assert video_verdict([], {"frame": 0.5, "fraction": 0.0}) == "undecided"
