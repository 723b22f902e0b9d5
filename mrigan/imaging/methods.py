"""What a recipe draws from: a method, with the settings that it gets in one family; and the random numbers for it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from mrigan.imaging.coordinates import Size

T = TypeVar("T")


class Die:
    """Random numbers by name: the same (seed, family, name) gives the same one, whatever else is drawn."""

    def __init__(self, seed: int, family: str) -> None:
        self.seed, self.family = seed, family

    def uniform(self, name: str) -> float:
        """0 ≤ x < 1."""
        digest = hashlib.sha256(json.dumps([self.seed, self.family, name]).encode()).digest()
        return (int.from_bytes(digest[:8], "big") >> 11) / 2**53

    def integer(self, name: str, bounds: tuple[int, int]) -> int:
        """Both bounds included."""
        low, high = bounds
        return low + int(self.uniform(name) * (high - low + 1))

    def choice(self, name: str, options: Sequence[T]) -> T:
        """All equally likely."""
        return options[self.integer(name, (0, len(options) - 1))]

    def weighted(self, name: str, weights: dict[str, float]) -> str:
        """A key, as likely as its part of the sum."""
        likely = [key for key, weight in weights.items() if weight > 0]
        left = self.uniform(name) * sum(weights.values())
        for key in likely:
            left -= weights[key]
            if left < 0:
                return key
        return likely[-1]  # the sum's last bit


class FixedDie(Die):
    """Always the same number: 0 gives the lower ends of all ranges, 1 the upper ones."""

    def __init__(self, number: float) -> None:
        super().__init__(0, "")
        self.number = min(number, 1 - 2**-53)

    def uniform(self, name: str) -> float:
        return self.number


@dataclass(frozen=True)
class Method:
    """One noise, augmentation or distraction.

    Attributes:
        apply: what it does to a picture; `mrigan.imaging.treatment.Step` knows what each kind is given.
        draw: the settings that a family gets, as they go into json.
        moves: where it moves pixels, how: ((width, height), **settings) → as `Step.matrix`. None = it changes values
            in place.
    """

    apply: Callable[..., Any]
    draw: Callable[[Die], dict[str, Any]]
    moves: Callable[..., tuple[np.ndarray, Size]] | None = None


def always(**settings: Any) -> Callable[[Die], dict[str, Any]]:
    """The same settings for every family."""
    return lambda die: dict(settings)
