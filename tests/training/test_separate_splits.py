"""A training whose folders share families over their splits is refused before anything is written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mrigan.doctor.storage import check_separation
from mrigan.errors import ShardError
from mrigan.finding import Level
from mrigan.training.train import train
from tests.data.shards import make_samples, write_shards
from tests.training.runs import detector_config, gan_config, write_tiny_shards


def test_another_folder_that_is_tested_on_what_is_trained_on_is_refused(tmp_path: Path) -> None:
    """The shared family lies in the test split of the second folder, which the training itself never opens."""
    one, two = write_tiny_shards(tmp_path / "one"), tmp_path / "two"
    more = make_samples(4, 4, seed=8, size=64) + make_samples(4, 4, split="val", seed=9, size=64)
    tested = [replace(s, row=s.row | {"family": "f0-train-1"}) for s in make_samples(4, 4, split="test", size=64)]
    write_shards(two, more + tested)
    (two / "plan.json").write_text((one / "plan.json").read_text())
    both = f"data.shards=[{one},{two}]"
    for name, config in (("detector", detector_config), ("gan", gan_config)):
        with pytest.raises(ShardError, match=r"1 families are in two splits; f0-train-1 in train of .*one and test of"):
            train(name, config(one, tmp_path / "run", both))
        assert not (tmp_path / "run" / "status.json").exists()
    assert [finding.level for finding in check_separation([str(one), str(two)])] == [Level.PROBLEM]
    assert [finding.level for finding in check_separation([str(one)])] == [Level.OK]
