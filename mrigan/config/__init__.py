"""Every setting, typed, with its unit and source. A YAML file and dotted overrides become one dataclass.

`extends: other.yaml` (relative to the file) reads another file first. An unknown key is an error that names the most
similar one.
"""

from typing import TYPE_CHECKING, Any

from mrigan.config.shards import (
    FacesConfig,
    LimitsConfig,
    MixConfig,
    MriConfig,
    PackConfig,
    PairsConfig,
    RecipeConfig,
    ShardsConfig,
    VideoConfig,
)
from mrigan.config.training import (
    CheckpointConfig,
    DataConfig,
    DetectorConfig,
    DetectorDataConfig,
    DetectorLossConfig,
    DetectorModelConfig,
    EngineConfig,
    EvalConfig,
    GanConfig,
    GanLossConfig,
    GanModelConfig,
    HealthConfig,
    MapConfig,
    MapLossConfig,
    MapModelConfig,
    MlflowConfig,
    OptimConfig,
    RunConfig,
    SelfBlendConfig,
    TrackingConfig,
    TrainConfig,
    TrainingConfig,
)
from mrigan.config.typed import differences, flatten, from_dict, to_dict

if TYPE_CHECKING:
    from mrigan.config.load import config_path, load_config

__all__ = [
    "CheckpointConfig",
    "DataConfig",
    "DetectorConfig",
    "DetectorDataConfig",
    "DetectorLossConfig",
    "DetectorModelConfig",
    "EngineConfig",
    "EvalConfig",
    "FacesConfig",
    "GanConfig",
    "GanLossConfig",
    "GanModelConfig",
    "HealthConfig",
    "LimitsConfig",
    "MapConfig",
    "MapLossConfig",
    "MapModelConfig",
    "MixConfig",
    "MlflowConfig",
    "MriConfig",
    "OptimConfig",
    "PackConfig",
    "PairsConfig",
    "RecipeConfig",
    "RunConfig",
    "SelfBlendConfig",
    "ShardsConfig",
    "TrackingConfig",
    "TrainConfig",
    "TrainingConfig",
    "VideoConfig",
    "config_path",
    "differences",
    "flatten",
    "from_dict",
    "load_config",
    "to_dict",
]


def __getattr__(name: str) -> Any:
    if name in ("config_path", "load_config"):  # they import OmegaConf, which a verdict does not need
        from mrigan.config import load

        return getattr(load, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
