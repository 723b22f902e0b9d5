"""The samples of a training in pairs, each fake beside a real face, as `data.self_blend` demands."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mrigan.config import FacesConfig, SelfBlendConfig, from_dict
from mrigan.data import BlendedShards, PairRecipe, ShardSet, with_landmarks
from mrigan.errors import ConfigError
from mrigan.imaging.blending import HULLS, BlendRecipe
from mrigan.imaging.degrading import Degradation
from mrigan.scoring.face_settings import face_settings


def paired(
    config: Any, shards: ShardSet, held_out: ShardSet, folders: Sequence[Path], parts: int
) -> tuple[BlendedShards, BlendedShards]:
    """The pairs to learn from, and the held-out samples.

    Args:
        config: of the training. folders: of both sets. parts: into which a batch is divided.

    Raises:
        ConfigError, ShardError: no pairs can be made.
    """
    data, batch_size = config.data, config.train.batch_size
    share, recipe = data.self_blend.share, pair_recipe(data.self_blend)
    faces = from_dict(FacesConfig, face_settings(folders))
    recipe.check(faces)
    if batch_size % (2 * parts):
        raise ConfigError(
            f"train.batch_size={batch_size} holds pairs of a real face and a fake", fix=f"use a multiple of {2 * parts}"
        )
    if share < 1 and data.shuffle == "window":
        raise ConfigError(
            "data.shuffle=window reads shards from front to back, and a stored fake's original is in another shard",
            where=f"data.self_blend.share={share:g}",
            fix="data.shuffle=full, or data.self_blend.share=1",
        )
    return (
        BlendedShards(shards, faces.margin, recipe, share),
        BlendedShards(with_landmarks(held_out), faces.margin, recipe, share, scored=True),
    )


def pair_recipe(config: SelfBlendConfig) -> PairRecipe:
    """The recipe of self-blends that the settings describe.

    Raises:
        ConfigError: a range that begins above its end, or no kind of mask.
    """
    for name in ("margin", "face_px", "jpeg", "crf"):
        low, high = getattr(config, name)
        if low > high:
            what = f"the range begins at {low:g}, above its end, {high:g}"
            raise ConfigError(what, where=f"data.self_blend.{name}", fix="give the smaller number first")
    if not any(config.hulls):
        raise ConfigError("no kind of mask is ever drawn", where="data.self_blend.hulls", fix="a number above 0")
    weights = tuple(zip(HULLS, config.hulls, strict=True))
    loss = Degradation(face_px=_whole(config.face_px), jpeg=_whole(config.jpeg), crf=_whole(config.crf))
    low, high = config.margin
    return PairRecipe(margin=(low, high), blend=BlendRecipe(hulls=weights), degradation=loss, erase_prob=config.erase)


def _whole(bounds: list[float]) -> tuple[int, int]:
    low, high = bounds
    return round(low), round(high)
