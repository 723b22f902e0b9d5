"""Every setting, typed, with its unit and source. A YAML file plus dotted overrides becomes one dataclass.

`extends: other.yaml` (relative to the file) takes another file's values first. An unknown key is an error that names
the closest one.
"""

from __future__ import annotations

import dataclasses
import difflib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException
from yaml import YAMLError

from mrigan.errors import ConfigError

C = TypeVar("C")


def _choice(default: str, *others: str) -> Any:
    """A string field that takes one of the given words."""
    return field(default=default, metadata={"choices": (default, *others)})


def _at_least(least: float, default: Any) -> Any:
    """A number with a lower bound."""
    return field(default=default, metadata={"least": least})


# ---------------------------------------------------------------------------------------------------- videos to shards


@dataclass
class FacesConfig:
    """How faces are found and cut (MRI-GAN, section 3)."""

    every: int = _at_least(1, 10)  # frames; a frame is used when index % every == 0
    long_side: int = _at_least(0, 640)  # px, the frame is shrunk to this for detection; 0 = full size
    min_face: int = 20  # px, at detection size
    thresholds: list[float] = field(default_factory=lambda: [0.85, 0.95, 0.95])  # MTCNN's P-, R- and O-Net
    factor: float = 0.709  # MTCNN's image pyramid
    margin: float = 0.1  # of the box's width and height, added on each side
    size: int = _at_least(16, 256)  # px, side of the stored square face
    resize: str = "area"  # the named step that makes size x size
    max_persons: int = _at_least(1, 8)  # faces a frame, largest first


@dataclass
class PairsConfig:
    """Which fake faces may be paired with their original."""

    border_difference: float = 4.0  # of 255: mean grey difference in the outer eighth of the frame, above = misaligned
    offset: int = 2  # frames, searched in both directions before a fake is called misaligned
    changed_pixels: int = 32  # a fake face is kept when more pixels than this ...
    changed_by: int = 20  # ... differ by more than this (of 255)


@dataclass
class MriConfig:
    """The perceptual function f (MRI-GAN, section 4.3)."""

    metric: str = "ssim"  # a name in the registry of mrigan.mri
    weights: str | None = None  # weight file, for the metrics that need one (lpips, dists)


@dataclass
class PackConfig:
    """The tar shards."""

    kind: str = _choice("pairs", "faces")
    splits: list[str] = field(default_factory=lambda: ["train", "val", "test"])
    mri_format: str = _choice("jpg", "png")
    jpeg_quality: int = 95  # 4:4:4
    shard_mib: int = _at_least(1, 256)  # MiB, target size of the larger shard of a unit
    shard_samples: int = _at_least(1, 10000)  # cap on the samples planned for a shard
    seed: int = 0
    faces_dir: str = ""  # folder of the detections, which several sets may share; empty = faces/ in the shard folder


@dataclass
class ShardsConfig:
    """`mrigan shards plan`: catalog → shards."""

    faces: FacesConfig = field(default_factory=FacesConfig)
    pairs: PairsConfig = field(default_factory=PairsConfig)
    mri: MriConfig = field(default_factory=MriConfig)
    pack: PackConfig = field(default_factory=PackConfig)


# ------------------------------------------------------------------------------------------------------------ training


@dataclass
class RunConfig:
    dir: str = "???"  # the folder decides: the same folder continues the run
    name: str = ""  # shown in MLflow; empty = the folder's name


@dataclass
class DataConfig:
    shards: list[str] = field(default_factory=list)  # shard folders
    train_split: str = "train"
    val_split: str = "val"  # held-out scores, thresholds and the choice of the best checkpoint
    workers: int = _at_least(0, 2)  # loader processes a rank
    flip: float = 0.5  # probability of a horizontal flip, face and MRI alike


@dataclass
class DetectorDataConfig(DataConfig):
    input: str = _choice("face", "mri")
    augment: bool = True  # the recipe of the input, in mrigan.data.augment
    flip: float = 0.3


@dataclass
class GanModelConfig:
    size: int = 256  # px, a power of two; the depth is log2(size)
    width: int = 64  # channels of the first layer, of G and D
    dropout: float = 0.5
    channels_last: bool = False


@dataclass
class GanLossConfig:
    adversarial: str = _choice("least_squares", "log")  # Eq. 9 prints log, the authors ran least squares
    pixel: str = _choice("l2", "l1")  # Eq. 10; l1 is the paper's future work
    per_root: str = _choice("image", "batch")  # Eq. 11 as printed | the authors' run
    tau: float = 0.3  # Eq. 12
    weight: float = 100.0  # lambda, Eq. 12


@dataclass
class OptimConfig:
    lr: float = 2e-4
    betas: list[float] = field(default_factory=lambda: [0.5, 0.999])
    weight_decay: float = 0.0


@dataclass
class TrainConfig:
    steps: int = _at_least(0, 0)  # optimizer steps; 0 = epochs decides
    epochs: float = _at_least(0, 0.0)  # passes over the epoch plan, where steps is 0
    batch_size: int = _at_least(1, 128)  # global, over all ranks
    seed: int = 0
    precision: str = _choice("fp32", "bf16")
    device: str = _choice("auto", "cpu", "cuda")
    deterministic: bool = True  # same weights, bit for bit, from the same run on a CPU


@dataclass
class CheckpointConfig:
    every: int = _at_least(1, 1000)  # steps
    keep: int = _at_least(2, 3)  # newest ones; the best and the last are kept besides


@dataclass
class EvalConfig:
    every: int = _at_least(1, 200)  # steps (section 4.7)
    samples: int = _at_least(1, 16)  # held-out faces in the picture grid and in the mean SSIM
    faces: int = 2000  # detector: at most so many held-out faces in a score during training, 0 = all


@dataclass
class TrackingConfig:
    enabled: bool = True
    uri: str = ""  # empty = MLFLOW_TRACKING_URI, or sqlite:///mlflow.db
    experiment: str = "mrigan"
    log_every: int = _at_least(1, 10)  # steps
    register: bool = True  # the detector goes to the model registry when training ends


@dataclass
class EngineConfig:
    name: str = _choice("ddp")  # a single process needs no other word


@dataclass
class GanConfig:
    """`mrigan train gan` (MRI-GAN, sections 4.5 and 4.6)."""

    run: RunConfig = field(default_factory=RunConfig)
    data: DataConfig = field(default_factory=DataConfig)
    model: GanModelConfig = field(default_factory=GanModelConfig)
    loss: GanLossConfig = field(default_factory=GanLossConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)


@dataclass
class DetectorModelConfig:
    backbone: str = "tf_efficientnet_b0.ns_jft_in1k"  # a timm name
    weights: str = ""  # "" = random; a safetensors file; "package:efficientnet-lite0" = the weights that package ships
    size: int = 224  # px
    hidden: int = 128
    dropout: float = 0.5
    drop_path: float = 0.2
    generator: str = ""  # G.safetensors: needed when data.input=mri; with face it is carried for explanation only


@dataclass
class DetectorLossConfig:
    smoothing: list[float] = field(default_factory=lambda: [0.05, 0.95])  # targets of real and fake (Müller et al.)
    balanced: bool = True  # mean over fakes and mean over reals, averaged


@dataclass
class DetectorConfig:
    """`mrigan train detector` (MRI-GAN, section 5)."""

    run: RunConfig = field(default_factory=RunConfig)
    data: DetectorDataConfig = field(default_factory=DetectorDataConfig)
    model: DetectorModelConfig = field(default_factory=DetectorModelConfig)
    loss: DetectorLossConfig = field(default_factory=DetectorLossConfig)
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(lr=1e-4, betas=[0.9, 0.999]))
    train: TrainConfig = field(default_factory=lambda: TrainConfig(epochs=20, batch_size=192))
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)


# ------------------------------------------------------------------------------------------------------------- loading


def config_path(name: str | Path) -> Path:
    """A config file by path, or by its name among the shipped ones (`gan/paper.yaml`)."""
    shipped = Path(__file__).parent / "configs"  # in the wheel
    if not shipped.is_dir():
        shipped = Path(__file__).parents[1] / "configs"  # in a clone
    relative = Path(*Path(name).parts[1:]) if Path(name).parts[:1] == ("configs",) else Path(name)
    for path in (Path(name), shipped / relative):
        if path.is_file():
            return path
    known = sorted(str(p.relative_to(shipped)) for p in shipped.rglob("*.yaml"))
    raise ConfigError(f"no config file {name}", where=Path.cwd(), fix=f"give a path, or one of: {', '.join(known)}")


def load_config(schema: type[C], path: str | Path | None, overrides: list[str] | None = None) -> C:
    """Read `path` (see `config_path`), apply `key.sub=value` overrides, and check everything against `schema`.

    Raises:
        ConfigError: an unknown key (the closest is named), a wrong type, a missing value, or a file that is no YAML.
    """
    merged = OmegaConf.structured(schema)
    layers = [(str(p), _read_yaml(p)) for p in _chain(config_path(path))] if path is not None else []
    for text in overrides or []:
        if "=" not in text:
            raise ConfigError(f"override {text!r} is not key=value", fix="write for example train.steps=100")
        layers.append((f"override {text}", OmegaConf.from_dotlist([text])))
    for where, layer in layers:
        try:
            merged = OmegaConf.merge(merged, _lists(schema, layer))
        except ConfigKeyError as error:
            raise _unknown_key(schema, error, where) from None
        except OmegaConfBaseException as error:
            key = getattr(error, "full_key", None)
            raise ConfigError(f"wrong value for {key}: {str(error).splitlines()[0]}", where=where) from None
    try:
        config = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None)
        raise ConfigError(f"{key} has no value", where=path, fix=f"give it: {key}=...") from None
    _check_values(config, "", path)
    return config  # type: ignore[return-value]


def to_dict(config: Any) -> dict[str, Any]:
    """A config dataclass as plain nested dicts: what checkpoints, plans and MLflow keep."""
    return dataclasses.asdict(config)


def from_dict(schema: type[C], data: dict[str, Any]) -> C:
    """The inverse of `to_dict`.

    Raises:
        ConfigError: an unknown key, a wrong type, or a value out of bounds.
    """
    try:
        config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), data))
    except OmegaConfBaseException as error:
        raise ConfigError(f"no {schema.__name__}: {str(error).splitlines()[0]}") from None
    _check_values(config, "", schema.__name__)
    return config  # type: ignore[return-value]


def flatten(data: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts as `{"train.steps": 10, ...}`."""
    flat: dict[str, Any] = {}
    for key, value in data.items():
        flat.update(flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value})
    return flat


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Lines `key: old → new` for every leaf that differs."""
    a, b = flatten(old), flatten(new)
    changed = [key for key in sorted(a.keys() | b.keys()) if a.get(key) != b.get(key)]
    return [f"{key}: {a.get(key, '(absent)')} → {b.get(key, '(absent)')}" for key in changed]


def _check_values(config: Any, prefix: str, where: Any) -> None:
    for item in dataclasses.fields(config):
        key, value = prefix + item.name, getattr(config, item.name)
        if dataclasses.is_dataclass(value):
            _check_values(value, f"{key}.", where)
        elif value not in item.metadata.get("choices", (value,)):
            raise ConfigError(f"{key}={value}", where=where, fix=f"use one of: {', '.join(item.metadata['choices'])}")
        elif "least" in item.metadata and value < item.metadata["least"]:
            raise ConfigError(f"{key}={value}", where=where, fix=f"use at least {item.metadata['least']}")


def _chain(path: Path) -> list[Path]:
    """`path` and the files it extends, the base first."""
    chain: list[Path] = []
    while True:
        if path in chain:
            raise ConfigError(f"{path} extends itself", where=chain[-1])
        chain.insert(0, path)
        base = _yaml(path).get("extends")
        if base is None:
            return chain
        path = path.parent / str(base)
        if not path.is_file():
            raise ConfigError(f"no file {base} to extend", where=chain[0])


def _read_yaml(path: Path) -> Any:
    return OmegaConf.create({k: v for k, v in _yaml(path).items() if k != "extends"})


def _yaml(path: Path) -> dict[str, Any]:
    try:
        data = OmegaConf.to_container(OmegaConf.load(path)) or {}
    except (YAMLError, OmegaConfBaseException, OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"not readable as YAML: {error}", where=path) from None
    if not isinstance(data, dict):
        raise ConfigError("a config is a mapping of keys to values", where=path)
    return data  # type: ignore[return-value]


def _lists(schema: Any, layer: Any) -> Any:
    """`data.shards=DIR` may be given as one folder or as several joined by commas."""
    has_data = any(field.name == "data" for field in dataclasses.fields(schema))
    shards = OmegaConf.select(layer, "data.shards") if has_data else None
    if isinstance(shards, str):
        OmegaConf.update(layer, "data.shards", shards.split(","))
    return layer


def _unknown_key(schema: Any, error: ConfigKeyError, where: str) -> ConfigError:
    known = list(flatten(OmegaConf.to_container(OmegaConf.structured(schema))))  # type: ignore[arg-type]
    key = error.full_key or str(error.key)
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.4)
    fix = f"did you mean {close[0]}?" if close else f"known keys: {', '.join(known)}"
    return ConfigError(f"unknown key {key}", where=where, fix=fix)
