"""The statistics against counts by hand; a shortcut's accuracy against a classifier that scikit-learn fits."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import balanced_accuracy_score
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier

from mrigan.errors import ShardError
from mrigan.packing import plan_shards, read_rows, shard_stats
from mrigan.packing.groups import Group
from mrigan.packing.shortcuts import balanced_accuracy, warnings_of
from mrigan.packing.stats_view import draw, show
from tests.packing.conftest import Built, config


def by_hand(rows: list[dict[str, Any]]) -> dict[tuple[str, ...], dict[str, Any]]:
    """A group's numbers, counted row by row."""
    groups: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in rows:
        key = tuple(row[name] for name in ("dataset", "method", "compression", "split", "label"))
        group = groups.setdefault(
            key, {"clips": Counter(), "bytes": 0, "mri": [], "frames": Counter(), "lost": Counter()}
        )
        group["clips"][row["clip"]] += row["status"] == "ok"
        if row["status"] == "ok":
            group["bytes"] += sum(max(row[name], 0) for name in ("face_size", "mri_size", "json_size"))
            group["frames"][row["width"], row["height"]] += 1
            group["mri"] += [int(row["mri_mean"])] if row["label"] == "fake" else []
        else:
            group["lost"][row["status"], row["reason"].split(":")[0]] += 1
    return groups


def test_each_group_is_counted(built: Built) -> None:
    rows = read_rows(built.folder / "samples.parquet").to_pylist()
    expected, stats = by_hand(rows), shard_stats(built.folder)
    assert [(g.dataset, g.method, g.compression, g.split, g.label) for g in stats.groups] == sorted(expected)
    for group, (_, wanted) in zip(stats.groups, sorted(expected.items()), strict=True):
        assert group.faces == wanted["clips"].total()
        assert group.clips == len(wanted["clips"])
        assert group.per_clip == Counter(wanted["clips"].values())
        assert group.bytes == wanted["bytes"]
        assert group.frames == wanted["frames"]
        assert group.mri == Counter(wanted["mri"])
        lost = {("dropped", k): n for k, n in group.dropped.items()} | {
            ("failed", k): n for k, n in group.failed.items()
        }
        assert lost == wanted["lost"]
    assert stats.families == {"real": 5, "fake": 6}  # one fake has no original
    assert sum(g.families for g in stats.groups if g.method == "original") == 5
    assert (stats.built, stats.units) == (6, 6)


def test_sizes_are_those_of_the_boxes_and_frames(built: Built) -> None:
    stored = [row for row in read_rows(built.folder / "samples.parquet").to_pylist() if row["status"] == "ok"]
    for row in stored:
        data = (built.folder / row["shard"]).read_bytes()
        about = json.loads(data[row["json_offset"] : row["json_offset"] + row["json_size"]])
        assert [row["width"], row["height"]] == about["frame_size"]
        assert row["face_px"] == pytest.approx(about["box"][2] - about["box"][0], rel=1e-6)


def test_an_unfinished_set_is_counted_as_far_as_it_is(built: Built, copy: Callable[[], Path], tmp_path: Path) -> None:
    folder = copy()
    for lost in ("manifest.json", "samples.parquet", "units/val-000000.json"):
        (folder / lost).unlink()
    stats = shard_stats(folder)
    assert (stats.built, stats.units) == (5, 6)
    assert {group.split for group in stats.groups} == {"train"}
    assert any("5 of 6 units are built" in line for line in show(stats))
    plan_shards(built.catalog, config(), tmp_path / "empty")
    with pytest.raises(ShardError, match="nothing is built"):
        shard_stats(tmp_path / "empty")


def test_the_table_and_the_figure_show_them(built: Built) -> None:
    stats = shard_stats(built.folder)
    lines = show(stats)
    totals = [line.split() for line in lines if line.startswith("all ")]
    assert [line[1] for line in totals] == ["real", "fake"]
    assert [int(line[4]) for line in totals] == [sum(g.faces for g in stats.groups if g.label == label)
                                                 for label in ("real", "fake")]  # fmt: skip
    image = np.asarray(Image.open(BytesIO(draw(stats))).convert("RGB"))
    assert image.shape[0] > 700
    for color in ((0x2F, 0x7D, 0x95), (0xC7, 0x50, 0x2F)):  # reals and fakes
        assert (np.abs(image.astype(int) - color).max(-1) < 3).sum() > 1000
    assert json.loads(json.dumps(stats.as_dict(), allow_nan=False))["groups"][0]["clips"] == stats.groups[0].clips


@pytest.mark.parametrize("seed", range(5))
def test_a_shortcut_is_as_accurate_as_a_fitted_classifier(seed: int) -> None:
    draw_ = random.Random(seed)
    values = {
        label: draw_.choices("abcd", weights=[draw_.random() for _ in "abcd"], k=200) for label in ("real", "fake")
    }
    x = OneHotEncoder().fit_transform([[value] for value in values["real"] + values["fake"]])
    y = [0] * 200 + [1] * 200
    guess = DecisionTreeClassifier(class_weight="balanced").fit(x, y).predict(x)
    assert balanced_accuracy(Counter(values["real"]), Counter(values["fake"])) == pytest.approx(
        balanced_accuracy_score(y, guess)
    )


def group(label: str, dataset: str = "d", frame: tuple[int, int] = (640, 360), **values: Any) -> Group:
    faces = values.pop("faces", 1000)
    return Group(dataset, label, "c23", "train", label, families=50, clips=50, faces=faces,
                 per_clip=Counter({faces // 50: 50}), frames=Counter({frame: faces}), widths=Counter({100: faces}),
                 **values)  # fmt: skip


def test_what_gives_the_label_away_is_said_with_its_number() -> None:
    assert warnings_of([group("real"), group("fake")]) == []
    found = warnings_of([group("real", "ffhq", (1024, 1024)), group("real"), group("fake", faces=2000)])
    assert len(found) == 2
    assert "data set alone tells real from fake with a balanced accuracy of 0.75" in found[0]
    assert "size of the frame alone" in found[1]
    few = group("fake", "other", faces=1000)
    few.clips, few.per_clip = 4, Counter({250: 4})
    assert "from 4 clips only" in warnings_of([group("real"), few])[0]


def test_a_fact_is_said_once_with_the_splits_that_it_holds_for() -> None:
    """Three splits with the same faults: four facts, no faces of a source, a class that is missing in two."""
    every = []
    for split in ("train", "val", "test"):
        for one in (
            group("real", "ffhq", (1024, 1024)),
            group("fake", "d"),
            group("fake", "e", faces=0, dropped=Counter({"no_face": 50})),
        ):
            one.split = split
            every.append(one)
    found = warnings_of(every)
    assert len(found) == len(set(found)) == 3
    assert found[0].startswith("the data set alone tells real from fake with a balanced accuracy of 1.00 in train, ")
    assert "1.00 in val and 1.00 in test (chance .50): ffhq in 100% of the reals and 0% of the fakes" in found[0]
    assert found[1].startswith("the size of the frame alone")
    assert found[2].startswith(
        "train, val and test: 150 of the 150 clips of e fake c23 (fake) gave no face (150 no_face)"
    )
    del every[5], every[4], every[2], every[1]  # no fakes left in train and val
    assert warnings_of(every)[0] == "train and val have no fake faces"


def test_what_is_missing_or_out_of_balance_is_said() -> None:
    assert warnings_of([group("fake")]) == ["train has no real faces"]
    assert "60000 fake faces and 1000 real ones" in warnings_of([group("real"), group("fake", faces=60_000)])[0]
    empty = group("fake", faces=0, dropped=Counter({"no_face": 50}))
    assert any("50 of the 50 clips of d fake c23 (fake) gave no face (50 no_face)" in line
               for line in warnings_of([group("real"), group("fake"), empty]))  # fmt: skip
