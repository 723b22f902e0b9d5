"""Training from streamed shards: nothing of them is staged, and what that costs is said."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from mrigan.errors import ConfigError
from tests.training.runs import logged, run_detector


def test_a_run_streams_learns_the_same_limits_and_says_what_a_resume_means(
    shards: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    cache, run = tmp_path / "cache", tmp_path / "run"
    streamed = ("data.loader=webdataset", f"data.shards=pipe:cat {shards}/{{}}", f"data.cache={cache}")
    run_detector(shards, run, *streamed, "train.steps=2", "tracking.log_every=1")
    assert "an epoch is a number of samples" in caplog.text
    assert "the stream starts again" not in caplog.text
    assert list(cache.glob("*/val-*.tar"))
    here = run_detector(shards, tmp_path / "here", "train.steps=1")
    expected, card = (json.loads((folder / "model" / "model.json").read_text()) for folder in (here, run))
    assert "min_colour" in card["doubt"]["from_training"]  # of training faces, read one by one
    assert card["doubt"]["limits"] == expected["doubt"]["limits"]
    assert card["data"] == expected["data"]
    caplog.clear()
    run_detector(shards, run, *streamed, "train.steps=3", "tracking.log_every=1")
    assert "the stream starts again at step 2, in another order" in caplog.text
    assert sorted(logged(run, "train/loss")) == [1, 2, 3]
    assert not list(cache.glob("*/train-*"))
    with pytest.raises(ConfigError, match=r"has no windows(.|\n)*data.shuffle=full"):
        run_detector(shards, tmp_path / "other", *streamed, "data.shuffle=window", "data.window=2")
