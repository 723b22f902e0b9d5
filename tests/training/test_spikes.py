"""The spike monitor against series whose spikes are known."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mrigan.training.callbacks.spikes import MIN_LINES, SpikeMonitor

rng = np.random.default_rng(7)


def begun(values: object, limit: float = 10.0, window: int = 100) -> list[int]:
    """The lines at which a spike is said to begin."""
    monitor = SpikeMonitor(limit, window)
    return [i for i, value in enumerate(values) if monitor.check({"loss": float(value)})]  # type: ignore[arg-type]


def test_noise_and_a_falling_loss_are_no_spikes() -> None:
    assert begun(rng.normal(5, 0.3, 2000)) == []
    falling = 5 * np.exp(-np.arange(2000) / 300) + 0.5
    assert begun(falling + rng.normal(0, 0.05, 2000)) == []
    assert begun(np.full(500, 3.0)) == []
    assert begun(np.where(np.arange(500) % 100 == 50, 0.0, 3.0)) == []  # down is no spike


@pytest.mark.parametrize("height", [8.0, 50.0, 1e30])
def test_an_outlier_is_said_once_where_it_is(height: float) -> None:
    values = rng.normal(5, 0.2, 300)
    values[150:154] = height  # four lines of one spike
    values[220] = height
    assert begun(values) == [150, 220]


def test_the_deviation_is_in_robust_standard_deviations() -> None:
    before = rng.normal(2, 0.5, 100)
    monitor = SpikeMonitor(10, 100)
    for value in before:
        assert not monitor.check({"loss": value})
    [spike] = monitor.check({"loss": 12.0})
    mad = np.median(np.abs(before - np.median(before)))
    assert spike.median == pytest.approx(np.median(before))
    assert spike.deviation == pytest.approx((12.0 - np.median(before)) / (1.4826 * mad))
    assert spike.deviation == pytest.approx(20, rel=0.3)  # of the distribution it was drawn from
    assert "loss = 12" in str(spike)


def test_spikes_before_it_hardly_move_the_limit() -> None:
    """A mean and a standard deviation over the same window would not see the last one."""
    values = rng.normal(5, 0.2, 100)
    values[[40, 50, 60, 70]] = 500.0
    values[90] = 9.0
    assert 90 in begun(values)
    assert values[90] < values[:90].mean() + 3 * values[:90].std()


def test_a_new_level_becomes_normal() -> None:
    values = np.concatenate([rng.normal(1, 0.05, 100), rng.normal(9, 0.05, 200)])
    values[290] = 30.0
    assert begun(values, window=50) == [100, 290]


def test_nothing_is_said_at_first_nor_of_what_is_not_finite() -> None:
    assert begun([1.0] * (MIN_LINES - 1) + [100.0]) == []
    assert begun([1.0] * MIN_LINES + [100.0]) == [MIN_LINES]
    assert begun([1.0] * 50 + [float("nan")] + [1.0] * 50) == []


def test_losses_are_apart_and_a_stopped_monitor_goes_on() -> None:
    series = {"G": rng.normal(5, 0.2, 120), "D": rng.normal(1, 0.1, 120)}
    series["G"][60:62], series["D"][100] = 20.0, 5.0
    whole, parts = SpikeMonitor(10, 30), SpikeMonitor(10, 30)
    said: list[list[tuple[int, str]]] = [[], []]
    for i in range(120):
        line = {name: float(values[i]) for name, values in series.items()}
        kept = json.loads(json.dumps(parts.state_dict()))
        parts = SpikeMonitor(10, 30)
        parts.load_state_dict(kept)
        for monitor, found in zip((whole, parts), said, strict=True):
            found += [(i, spike.name) for spike in monitor.check(line)]
    assert said[0] == said[1] == [(60, "G"), (100, "D")]
