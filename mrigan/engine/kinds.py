"""What the engines that `engine.name` chooses among can do, and what they need. Without torch: the doctor asks, too."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EngineKind:
    """The capabilities of an engine.

    Attributes:
        extra: the extra of the package that it needs, as in `pip install 'mrigan[deepspeed]'`; "" = none.
        needs_group: it wants a process group also where the world is a single process.
        several_ranks: whether it can train on more than one.
        splits_optimizer, splits_gradients, splits_weights: each rank holds a part of these, not the whole.
    """

    extra: str = ""
    needs_group: bool = False
    several_ranks: bool = True
    splits_optimizer: bool = False
    splits_gradients: bool = False
    splits_weights: bool = False


def _zero(stage: int) -> EngineKind:
    return EngineKind("deepspeed", True, True, stage >= 1, stage >= 2, stage >= 3)


ENGINES = {
    "ddp": EngineKind(),
    "single": EngineKind(several_ranks=False),
    **{f"zero{stage}": _zero(stage) for stage in range(4)},
}
