"""The recipe of MRI-DF (MRI-GAN, section 3): which families are treated, and how. Drawn from (seed, family) alone.

Three in ten get something, in one of six mixtures; one method of each kind in it, all equally likely. The text gives
the methods; the shares, the mixtures with their order, and the ranges that the text leaves open are those of its
authors' run. Each parameter is a hash of its own name, so that no draw depends on how many came before.
"""

from __future__ import annotations

import math
from collections.abc import Collection

from mrigan.config import RecipeConfig
from mrigan.errors import ConfigError
from mrigan.imaging.methods import Die
from mrigan.imaging.treatment import METHODS, Step, Treatment

# What is combined, in the order in which it is applied, by the key of `MixConfig`
MIX: dict[str, tuple[str, ...]] = {
    "distraction": ("distraction",),
    "distraction_noise": ("distraction", "noise"),
    "distraction_noise_augmentation": ("distraction", "noise", "augmentation"),
    "noise": ("noise",),
    "augmentation_noise": ("augmentation", "noise"),
    "augmentation": ("augmentation",),
}


def draw_treatment(config: RecipeConfig, seed: int, family: str, dataset: str) -> Treatment | None:
    """What the family with this id, of this data set, gets; None for most."""
    die = Die(seed, family)
    if (config.datasets and dataset not in config.datasets) or die.uniform("share") >= config.share:
        return None
    kinds = MIX[die.weighted("mix", {key: float(getattr(config.mix, key)) for key in MIX})]
    steps = tuple(draw_step(kind, die.choice(kind, tuple(METHODS[kind])), die) for kind in kinds)
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
            fix=f"name some of {', '.join(sorted(datasets))}; [] = all; or treat nothing: recipe.share=0",
        )


def draw_step(kind: str, name: str, die: Die) -> Step:
    """One method with its parameters drawn."""
    return Step(kind, name, METHODS[kind][name].draw(die))
