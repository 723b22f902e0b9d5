"""The threshold search, against forty-two plain counts."""

from __future__ import annotations

import pyarrow as pa
import pytest

from mrigan.errors import InputError
from mrigan.evaluation import check_scores, search_thresholds, video_metrics, video_table
from mrigan.evaluation.aggregation import best_threshold
from mrigan.evaluation.results import choose_thresholds
from mrigan.evaluation.thresholds import FRACTION_GRID, FRAME_GRID
from tests.evaluation.tables import random_table, table, video


def _val(seed: int) -> pa.Table:
    return check_scores(random_table(seed, models=("face",), videos=(("val", 30),)))


@pytest.mark.parametrize("seed", range(4))
def test_the_best_setting_is_found(seed):
    scores = _val(seed)
    balanced = {
        (t, f): video_metrics(video_table(scores, {"frame": t, "fraction": f}))["balanced_accuracy"]
        for t in FRAME_GRID
        for f in FRACTION_GRID
    }
    best = max(balanced.values())
    got = search_thresholds(scores)
    assert got["balanced_accuracy"] == pytest.approx(best)
    assert balanced[got["frame"], got["fraction"]] == pytest.approx(best)
    assert got["ties"] == sum(value == pytest.approx(best) for value in balanced.values())
    assert got["videos"] == video_metrics(video_table(scores))["predicted"]
    assert got["source"] == f"searched on {got['videos']} val videos"


def test_the_papers_grid():
    assert FRAME_GRID == (0.5, 0.55, 0.6, 0.7, 0.8, 0.9)
    assert FRACTION_GRID == (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)


def test_equally_good_settings_give_the_middle_one():
    rows = [r for i in range(8) for r in video(f"{i}", i % 2, [0.99 if i % 2 else 0.01] * 4, split="val")]
    got = search_thresholds(check_scores(table(rows)))
    assert got["ties"] == 42
    assert (got["frame"], got["fraction"]) == (0.6, 0.4)


def test_test_scores_are_refused():
    rows = video("a", 0, [0.1], split="val") + video("b", 1, [0.9], split="val") + video("c", 1, [0.9], split="test")
    with pytest.raises(InputError, match="must not be searched on test"):
        search_thresholds(check_scores(table(rows)))


def test_several_models_are_refused():
    with pytest.raises(InputError, match=r"belong to one model.*face, mri"):
        search_thresholds(check_scores(random_table(0, videos=(("val", 6),))))


@pytest.mark.parametrize(("labels", "says"), [((1, 1), "only fakes"), ((0, 0), "only reals")])
def test_one_class_gives_the_defaults_and_a_reason(labels, says):
    rows = [r for i, label in enumerate(labels) for r in video(f"{i}", label, [0.7], split="val")]
    got = search_thresholds(check_scores(table(rows)))
    assert (got["frame"], got["fraction"], got["balanced_accuracy"]) == (0.5, 0.5, None)
    assert got["reason"].startswith(says)
    assert got["source"].startswith("default")


def test_videos_without_a_face_have_no_say():
    rows = video("a", 0, [0.4], split="val") + video("b", 1, [0.95], split="val") + video("c", 1, [], split="val")
    got = search_thresholds(check_scores(table(rows)))
    assert (got["balanced_accuracy"], got["videos"]) == (1.0, 2)


@pytest.mark.parametrize("probs", [(0.1, 0.1), (0.99, 0.99), (0.99, 0.01)], ids=["all real", "all fake", "reversed"])
def test_calling_all_videos_alike_is_never_the_best_setting(probs):
    rows = [r for i in range(12) for r in video(f"{i}", i % 2, [probs[i % 2]] * 4, split="val")]
    got = search_thresholds(check_scores(table(rows)))
    assert (got["frame"], got["fraction"], got["ties"]) == (0.5, 0.5, 0)
    assert "no setting is better than calling all videos" in got["reason"]
    assert got["source"] == "default: no setting beats chance on 12 val videos"
    assert best_threshold([0, 1] * 6, list(probs) * 6) == 0.5


def test_rates_come_with_what_they_are_made_of():
    rows = [r for i in range(8) for r in video(f"{i}", 1, [0.9] * 4, split="val")]
    rows += [r for i in range(3) for r in video(f"r{i}", 0, [0.9 if i else 0.01] * 4, split="val")]
    scores = table(rows)
    families = [f"f{int(n) // 4}" if n.isdigit() else n for n in scores["name"].to_pylist()]
    got = search_thresholds(check_scores(scores.append_column("family", [families])))
    assert got["counts"] == {"fakes": 8, "fakes_found": 8, "fake_families": 2,
                             "reals": 3, "reals_called_fake": 2, "real_families": 3}  # fmt: skip


def test_thresholds_are_not_searched_on_families_that_they_judge():
    rows = [*video("a", 0, [0.2], split="val"), *video("b", 1, [0.9], split="val"), *video("c", 1, [0.8]),
            *video("d", 0, [0.1], dataset="other")]  # fmt: skip

    def chosen(*families: str):
        scores = table(rows).append_column("family", pa.array(families))
        return choose_thresholds(check_scores(scores))["m"]

    for shared in (("x", "y", "y", "z"), ("s/o/-/x", "y", "z", "s/o/-/x")):
        with pytest.raises(InputError, match="1 families of the validation scores are also in another split"):
            chosen(*shared)
    assert chosen("x", "y", "z", "y")["source"] == "searched on 2 val videos"  # bare names differ between data sets
    assert chosen("", "", "", "")["source"] == "searched on 2 val videos"  # not known
