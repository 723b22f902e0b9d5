"""Every step's randomness is a function of its key."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from mrigan.engine.seeding import deterministic, seed_all


def draw() -> tuple[float, float, list[float]]:
    return random.random(), float(np.random.rand()), torch.rand(3).tolist()


def test_the_same_key_draws_the_same_whatever_came_before() -> None:
    seed_all(0, "step", 5, 1)
    first = draw()
    draw()
    seed_all(0, "step", 5, 1)
    assert draw() == first


def test_every_part_of_the_key_counts() -> None:
    drawn = set()
    keys = [(0, "step", 5, 1), (1, "step", 5, 1), (0, "step", 6, 1), (0, "step", 5, 0), (0, "weights"), (0, "step", 51)]
    for key in keys:
        seed_all(*key)
        drawn.add(str(draw()))
    assert len(drawn) == 6


def test_the_setting_is_put_back() -> None:
    with deterministic(torch.device("cpu")):
        assert torch.are_deterministic_algorithms_enabled()
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize(("tf32", "expected"), [(True, "tf32"), (False, "ieee")])
def test_products_of_fp32_on_a_gpu(tf32: bool, expected: str) -> None:
    """The settings alone: they can be made without a GPU."""
    places = torch.backends.cuda.matmul, torch.backends.cudnn.conv
    before = [place.fp32_precision for place in places]
    with deterministic(torch.device("cuda"), tf32):
        assert [place.fp32_precision for place in places] == [expected] * 2
        assert torch.backends.cudnn.benchmark
        assert not torch.are_deterministic_algorithms_enabled()
    assert [place.fp32_precision for place in places] == before
