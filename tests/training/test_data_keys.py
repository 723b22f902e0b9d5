"""How data come changes no weight: decoders, workers, staging. What does change them is resumed exactly, or refused."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from mrigan.data import ShardSet
from mrigan.errors import CheckpointError, ConfigError, ShardError
from tests.data.serving import Server
from tests.training.runs import gan_config, hashes, run_detector, run_gan, status


@pytest.fixture
def server(shards: Path, tmp_path: Path) -> Iterator[Server]:
    started = Server(shards, tmp_path)
    yield started
    started.stop()


def test_the_same_weights_from_a_url_by_dali_and_by_processes(
    undisturbed: Path, shards: Path, server: Server, tmp_path: Path
) -> None:
    cache = f"data.cache={tmp_path / 'cache'}"
    # On a CPU DALI decodes as the torch loader does, to the last bit.
    run_gan(server.url, tmp_path / "a", cache, "data.loader=dali", "data.decode_on=cpu", "data.verify=always")
    assert hashes(tmp_path / "a") == hashes(undisturbed)
    run_gan(shards, tmp_path / "b", "data.workers=2", "data.workers_are=processes")
    assert hashes(tmp_path / "b") == hashes(undisturbed)
    assert server.requests("train-fake-000000.tar") == [0]


def test_a_detector_takes_its_face_settings_from_what_is_staged(server: Server, tmp_path: Path) -> None:
    run = run_detector(server.url, tmp_path / "run", f"data.cache={tmp_path / 'cache'}", "train.steps=2")
    assert status(run)["state"] == "finished"
    with pytest.raises(ConfigError, match=r"give data\.cache=DIR"):
        run_detector(server.url, tmp_path / "other", "train.steps=2")
    assert not (tmp_path / "other").exists()


def test_a_window_is_resumed_exactly_and_not_changed(undisturbed: Path, shards: Path, tmp_path: Path) -> None:
    window = ("data.shuffle=window", "data.window=4")
    run_gan(shards, tmp_path / "whole", *window)
    assert hashes(tmp_path / "whole") != hashes(undisturbed)
    run_gan(shards, tmp_path / "parts", *window, "train.steps=7")
    run_gan(shards, tmp_path / "parts", *window)
    assert hashes(tmp_path / "parts") == hashes(tmp_path / "whole")
    with pytest.raises(CheckpointError, match=r"data.window: 4.*8"):
        run_gan(shards, tmp_path / "parts", "data.shuffle=window", "data.window=8")


def test_a_run_that_a_bad_sample_stopped_goes_on_without_it(
    shards: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Path(shutil.copytree(shards, tmp_path / "shards"))
    row = ShardSet.open([folder], "train").rows.slice(0, 1).to_pylist()[0]
    with open(folder / row["shard"], "r+b") as file:
        file.seek(row["face_offset"] + 99)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))
    with pytest.raises(ShardError, match=rf"{row['key']}(.|\n)*{row['shard']} at byte {row['face_offset']}"):
        run_gan(folder, tmp_path / "run")
    assert status(tmp_path / "run")["state"] == "failed"
    caplog.set_level(logging.WARNING)
    run_gan(folder, tmp_path / "run", "data.on_bad=skip")
    assert status(tmp_path / "run")["state"] == "finished"
    assert "bad samples that were skipped: 1\n" in caplog.text
    caplog.clear()
    run_detector(folder, tmp_path / "detector", "train.steps=2", "data.on_bad=skip")  # it would remember this very face
    assert status(tmp_path / "detector")["state"] == "finished"
    assert row["key"] in caplog.text


@pytest.mark.parametrize(("key", "words"), [("loader=tfrecord", "auto, torch, dali"), ("window=1", "at least 2")])
def test_wrong_words_are_told(shards: Path, tmp_path: Path, key: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        gan_config(shards, tmp_path / "run", f"data.{key}")
    assert words in str(caught.value)
