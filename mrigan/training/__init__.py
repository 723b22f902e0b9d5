"""The loops a person reads to know how training works; a launcher needs `train_gan` and `train_detector` only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mrigan.training.detector import train_detector
    from mrigan.training.gan import train_gan

__all__ = ["train_detector", "train_gan"]


def __getattr__(name: str) -> Any:
    if name == "train_gan":
        from mrigan.training.gan import train_gan

        return train_gan
    if name == "train_detector":
        from mrigan.training.detector import train_detector

        return train_detector
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
