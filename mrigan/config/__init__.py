"""Every setting, typed, with its unit and source. A YAML file plus dotted overrides becomes one dataclass.

`extends: other.yaml` (relative to the file) takes another file's values first. An unknown key is an error that names
the closest one.
"""

from mrigan.config.load import config_path, differences, flatten, from_dict, load_config, to_dict
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
    OptimConfig,
    RunConfig,
    TrackingConfig,
    TrainConfig,
)

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
    "MixConfig",
    "MriConfig",
    "OptimConfig",
    "PackConfig",
    "PairsConfig",
    "RecipeConfig",
    "RunConfig",
    "ShardsConfig",
    "TrackingConfig",
    "TrainConfig",
    "VideoConfig",
    "config_path",
    "differences",
    "flatten",
    "from_dict",
    "load_config",
    "to_dict",
]
