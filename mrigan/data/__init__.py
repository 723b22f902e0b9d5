"""Shards → batches: the indexed reader, the epoch plan, the loaders."""

from mrigan.data.backends.base import Loader
from mrigan.data.batch import Batch
from mrigan.data.loader import LoaderOptions, eval_batches, make_loader
from mrigan.data.plan import EpochPlan, PairedPlan
from mrigan.data.reader import ShardSet
from mrigan.data.samples import Samples
from mrigan.data.self_blends import BlendedShards, SelfBlends, with_landmarks
from mrigan.data.separation import check_separate
from mrigan.data.stage import local_folders
from mrigan.data.window import ShardWindow
from mrigan.mri.self_blends import PairRecipe

__all__ = [
    "Batch",
    "BlendedShards",
    "EpochPlan",
    "Loader",
    "LoaderOptions",
    "PairRecipe",
    "PairedPlan",
    "Samples",
    "SelfBlends",
    "ShardSet",
    "ShardWindow",
    "check_separate",
    "eval_batches",
    "local_folders",
    "make_loader",
    "with_landmarks",
]
