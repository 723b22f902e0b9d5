"""A worker looks for itself whether its machine has the folder, the videos and the libraries of the plan."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mrigan.errors import ShardError
from mrigan.packing import load_plan
from mrigan.packing.unit import UnitMaker, require_videos
from tests.packing.conftest import Built


def test_a_worker_refuses_a_machine_that_is_not_fit_for_the_plan(built: Built, tmp_path: Path) -> None:
    """Each node looks for itself: the builder's own folder and libraries say nothing about theirs."""
    plan = load_plan(built.folder)
    UnitMaker(plan)
    with pytest.raises(ShardError, match="the shard folder is not on"):
        UnitMaker(replace(plan, folder=tmp_path))
    with pytest.raises(ShardError, match=r"opencv: 1\.0 →"):
        UnitMaker(replace(plan, libraries=plan.libraries | {"opencv": "1.0"}))
    (tmp_path / "unmounted").mkdir()
    require_videos(plan)
    for folder, why in ((tmp_path / "unmounted", "is empty"), (tmp_path / "nowhere", "is not there")):
        with pytest.raises(ShardError, match=why):
            require_videos(replace(plan, roots=dict.fromkeys(plan.roots, folder)))
