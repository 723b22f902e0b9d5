"""The recipe of MRI-DF (MRI-GAN, section 3): which families are treated, and how. Drawn from (seed, family) alone.

Three in ten get something, in one of six mixtures; one method of each kind in it, all equally likely. The text gives
the methods; the shares, the mixtures with their order, and the ranges that the text leaves open are those of its
authors' run. Each parameter is a hash of its own name, so that no draw depends on how many came before.
"""

from __future__ import annotations

import hashlib
import json
import math
import string
from collections.abc import Collection, Sequence
from typing import Any, TypeVar

from mrigan.config import RecipeConfig
from mrigan.errors import ConfigError
from mrigan.imaging.distraction import COLOURS, DIRECTIONS, SHAPES
from mrigan.imaging.treatment import METHODS, Step, Treatment

T = TypeVar("T")

# What is combined, in the order in which it is applied, by the key of `MixConfig`
MIX: dict[str, tuple[str, ...]] = {
    "distraction": ("distraction",),
    "distraction_noise": ("distraction", "noise"),
    "distraction_noise_augmentation": ("distraction", "noise", "augmentation"),
    "noise": ("noise",),
    "augmentation_noise": ("augmentation", "noise"),
    "augmentation": ("augmentation",),
}
VARIANCE = 0.01  # of Gaussian, speckle and localvar noise, for values in 0..1
AMOUNT, RATIO = 0.05, 0.5  # of salt and pepper
LEVELS = 256  # of Poisson noise
BLUR = (7, 12)  # px
CONTRAST, BRIGHTNESS = (-20, 20), (-20, 20)
DEGREES = (-15, 15)
RESCALE = ((800, 600), (1280, 720))  # px
TEXT_LENGTH, TEXT_SCALE, TEXT_THICKNESS = 8, (1, 6), (1, 3)  # letters, OpenCV's units, px
SHAPE_SIZE = (0.005, 0.05, 0.08, 0.12)  # of the frame's width
FRACTION = (0.1, 0.5)  # of the frames, that show a spontaneous distraction


def draw_treatment(config: RecipeConfig, seed: int, family: str, dataset: str) -> Treatment | None:
    """What the family with this id, of this data set, gets; None for most."""
    die = Die(seed, family)
    if (config.datasets and dataset not in config.datasets) or die.uniform("share") >= config.share:
        return None
    kinds = MIX[die.weighted("mix", {key: float(getattr(config.mix, key)) for key in MIX})]
    steps = tuple(draw_step(kind, die.choice(kind, METHODS[kind]), die) for kind in kinds)
    return Treatment(seed, family, steps)


def check_recipe(config: RecipeConfig, datasets: Collection[str]) -> None:
    """Raise ConfigError where the probabilities are none, or where no clip is of a data set that may be treated.

    Args:
        datasets: those of the clips.
    """
    if config.share > 1:
        raise ConfigError(f"{config.share:g} of the families", where="recipe.share", fix="a part, 0 to 1")
    total = sum(getattr(config.mix, key) for key in MIX)
    if not math.isclose(total, 1, abs_tol=1e-6):
        raise ConfigError(f"the parts make {total:g} together", where="recipe.mix", fix="let them make 1")
    if config.share and config.datasets and not set(config.datasets) & set(datasets):
        raise ConfigError(
            f"no clip is of {', '.join(config.datasets)}",
            where="recipe.datasets",
            fix=f"name some of {', '.join(sorted(datasets))}, or treat nothing: recipe.share=0",
        )


def draw_step(kind: str, name: str, die: Die) -> Step:
    """One method with its parameters drawn."""
    settings = {"noise": _noise, "augmentation": _augmentation, "distraction": _distraction}[kind]
    return Step(kind, name, settings(name, die))


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


def _noise(name: str, die: Die) -> dict[str, Any]:
    settings: dict[str, dict[str, Any]] = {
        "salt_and_pepper": {"amount": AMOUNT, "ratio": RATIO},
        "salt": {"amount": AMOUNT},
        "pepper": {"amount": AMOUNT},
        "poisson": {"levels": LEVELS},
    }
    return settings.get(name, {"variance": VARIANCE})


def _augmentation(name: str, die: Die) -> dict[str, Any]:
    settings: dict[str, dict[str, Any]] = {
        "blur": {"size": die.integer("blur", BLUR)},
        "contrast": {"value": die.integer("contrast", CONTRAST)},
        "brightness": {"value": die.integer("brightness", BRIGHTNESS)},
        "rotation": {"degrees": die.integer("degrees", DEGREES)},
        "flip": {},
        "rescale": {"size": list(die.choice("rescale", RESCALE))},
    }
    return settings[name]


def _distraction(name: str, die: Die) -> dict[str, Any]:
    motion, kind = name.split("_")
    settings: dict[str, Any] = {"colour": die.choice("colour", tuple(COLOURS))}
    if kind == "text":
        letters = string.ascii_letters + string.digits
        settings["text"] = "".join(die.choice(f"letter {i}", letters) for i in range(TEXT_LENGTH))
        settings["scale"] = die.integer("scale", TEXT_SCALE)
        settings["thickness"] = die.integer("thickness", TEXT_THICKNESS)
    else:
        settings["shape"] = die.choice("shape", SHAPES)
        settings["size"] = die.choice("size", SHAPE_SIZE)
    if motion == "spontaneous":
        low, high = FRACTION
        settings["fraction"] = low + (high - low) * die.uniform("fraction")
    else:
        settings["start"] = [die.uniform("start x"), die.uniform("start y")]
    if motion == "rolling":
        settings["direction"] = die.choice("direction", tuple(DIRECTIONS))
    return settings
