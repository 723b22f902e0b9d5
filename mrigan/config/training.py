"""Settings of the trainings, each with its unit and source."""

from __future__ import annotations

from dataclasses import dataclass, field

from mrigan.config.engines import ENGINES
from mrigan.config.fields import at_least, checked, choice, one_of, within

DETECTOR_SIZE, DETECTOR_HIDDEN = (32, 1024), (0, 65_536)  # minimum and maximum, also of finished models
GENERATOR_SIZE, GENERATOR_WIDTH = (8, 4096), (1, 1024)
DECODER, MAX_LEVELS = (1, 4096), 6  # channels of a level of a map's decoder, and the number of levels


@dataclass
class RunConfig:
    dir: str = "???"  # the run folder; the same folder continues the run
    name: str = ""  # the run's name in MLflow; empty = the folder's name


@dataclass
class SelfBlendConfig:
    """Fakes made of the real faces while they are loaded (Shiohara and Yamasaki, CVPR 2022). Shards need
    faces.landmarks=mesh, and a faces.margin above the largest one here. Both pictures of a pair are treated alike."""

    # Share of the fakes that are self-blends, each beside its real face. 0 = none; 1 = all, stored fakes are not read;
    # in between, stored fakes are mixed in, each beside its original's face
    share: float = within(0, 1, 0.0)
    # How often each kind of mask is drawn, relative to the others, in the order: face, no_forehead, inner, mouth, eyes,
    # random
    hulls: list[float] = within(0, 1000, [4.0, 2.0, 1.0, 1.0, 1.0, 1.0], length=6)
    # Margin of the crop around a face's box, on each side, in parts of its size: drawn between the two; a verdict cuts
    # at the middle
    margin: list[float] = within(0, 2, [0.06, 0.21], length=2)
    face_px: list[float] = within(16, 2048, [80, 300], length=2)  # px, to which half of the faces are made smaller
    jpeg: list[float] = within(1, 100, [40, 100], length=2)  # quality, of half of the pairs
    crf: list[float] = within(0, 51, [18, 40], length=2)  # x264's rate factor, of half of the pairs
    erase: float = within(0, 1, 0.3)  # probability that a rectangle is blanked in both pictures


@dataclass
class DataConfig:
    # Folders of shards, or URLs of them (http, s3, file, …), or pipe:COMMAND, a shell command that outputs the file {}.
    # A resumed run compares their content, so a folder may move
    shards: list[str] = checked([], may_change=True)
    # A folder on a disk of each node, to which shards are copied before training; URLs need it
    cache: str = checked("", may_change=True)
    val_split: str = "val"  # the split for validation scores, thresholds and the choice of the best checkpoint
    # auto: DALI on a GPU if it is installed and works. webdataset: training shards are streamed from data.shards, not
    # copied; epochs and class balance then hold on average only, and a resumed run differs from an undisturbed one
    loader: str = choice("auto", "torch", "dali", "webdataset", may_change=True)
    decode_on: str = choice("auto", "cpu", "cuda", may_change=True)  # auto: the device of the training
    workers: int = at_least(0, 2, may_change=True)  # per rank; they read and decode
    # processes: for augmentation that holds Python's lock
    workers_are: str = choice("threads", "processes", may_change=True)
    # What an epoch holds: classes = every sample of the smaller class once and as many of the larger one, redrawn each
    # epoch; none = every sample of both classes once
    balance: str = choice("classes", "none", before="classes")
    shuffle: str = choice("full", "window")  # window: few shards are open at a time, for storage without random reads
    window: int = at_least(2, 64)  # shards open at a time over all ranks; with 2 x ranks x n each rank reads its own
    verify: str = choice("first", "always", "never", may_change=True)  # a sample's CRC-32; first = once per process
    on_bad: str = choice(
        "stop", "skip", may_change=True
    )  # skip: another sample of the class replaces a bad one; counted
    flip: float = 0.5  # probability of a horizontal flip, face and MRI alike
    self_blend: SelfBlendConfig = checked(SelfBlendConfig, added=True)


@dataclass
class DetectorDataConfig(DataConfig):
    input: str = choice("face", "mri")  # what the detector sees: faces, or MRIs that model.generator predicts from them
    about: str = checked(
        "", may_change=True
    )  # the data and their licence, in words; every verdict of the model shows it
    augment: bool = True  # the augmentation of this input, in mrigan.imaging.face_augmentation
    # The crop of the face augmentation: authors = 224 px of the face padded by 224 px, as in their code, which keeps
    # little of most faces; near = ours, a window of the face's size, shifted by at most an eighth of it
    crop: str = choice("authors", "near", before="near")
    flip: float = 0.3  # probability of a horizontal flip of the face, if augment is false
    balance: str = choice("none", "classes", before="classes")  # as for gan; none: the paper's, whose loss balances


@dataclass
class GanModelConfig:
    size: int = within(*GENERATOR_SIZE, 256)  # px, a power of two; the depth is log2(size)
    width: int = within(*GENERATOR_WIDTH, 64)  # channels of the first layer, of G and D
    dropout: float = within(0, 1, 0.5)  # of G at level 4 and deeper: the only source of noise (section 4.5)
    ema_half_life: float = at_least(0, 0.0)  # images; above 0 an average of G is evaluated, and becomes the model


@dataclass
class GanLossConfig:
    # Eq. 9 prints the log loss, of which G trains the non-saturating form; the authors ran least squares
    adversarial: str = choice("least_squares", "log")
    pixel: str = choice("l2", "l1")  # Eq. 10; l1 is the paper's future work
    per_root: str = choice("image", "batch")  # Eq. 11 as printed | the authors' run
    tau: float = 0.3  # Eq. 12
    weight: float = 100.0  # lambda, Eq. 12


@dataclass
class OptimConfig:
    # sgd has momentum; adamw applies weight decay apart from the gradient
    name: str = choice("adam", "adamw", "sgd", added=True)
    lr: float = 2e-4  # learning rate
    betas: list[float] = field(default_factory=lambda: [0.5, 0.999])  # of adam and adamw
    momentum: float = at_least(0, 0.9, added=True)  # of sgd
    weight_decay: float = at_least(0, 0.0)  # adamw: weights shrink by lr times this; adam, sgd: added to the gradient
    schedule: str = choice("constant", "linear", "cosine", added=True)  # how lr falls to 0
    warmup: int = at_least(0, 0, added=True)  # steps in which lr rises from 0
    decay_from: int = at_least(0, 0, added=True)  # the step at which lr begins to fall; 0 = after the warm-up
    decay_steps: int = at_least(0, 0, added=True)  # the step at which lr reaches 0; linear and cosine need it
    clip: float = at_least(0, 0.0)  # the maximum norm of a network's gradient, for each network alone; 0 = no clipping


@dataclass
class TrainConfig:
    steps: int = at_least(0, 0, may_change=True)  # optimizer steps; 0 = epochs decides
    epochs: float = at_least(0, 0.0, may_change=True)  # passes over the epoch plan, if steps is 0
    batch_size: int = at_least(1, 128)  # global, over all ranks
    seed: int = 0  # of weights, order, augmentation and dropout
    precision: str = choice("fp32", "bf16", "fp16")  # of the forward pass; weights and optimizer stay fp32
    device: str = choice("auto", "cpu", "cuda", may_change=True)  # auto: a GPU if there is one


@dataclass
class CheckpointConfig:
    every: int = at_least(1, 1000)  # steps
    keep: int = at_least(2, 3)  # the newest checkpoints; the best one is kept too
    permanent: int = at_least(0, 0)  # steps: a checkpoint at a multiple of this is never removed; 0 = none


@dataclass
class EvalConfig:
    every: int = at_least(1, 200)  # steps (section 4.7)
    faces: int = at_least(0, 2000)  # maximum number of held-out faces for a score during training; 0 = all


@dataclass
class GanEvalConfig(EvalConfig):
    samples: int = at_least(1, 16)  # held-out faces in the picture grid
    # Held-out faces whose mean SSIM, of fakes and of reals apart, chooses the best G; all, if there are fewer
    faces: int = at_least(256, 256)


@dataclass
class MlflowConfig:
    """How a run is sent to MLflow."""

    enabled: bool = True  # send the run to MLflow; metrics.jsonl and the log are always written
    uri: str = ""  # empty = MLFLOW_TRACKING_URI, or sqlite:///mlflow.db
    experiment: str = "mrigan"  # the experiment in MLflow
    # If MLflow fails: buffer = keep the log in run.dir and send it later; stop = end the training; off = stop logging
    on_failure: str = choice("buffer", "stop", "off")
    patience: float = at_least(0, 30.0)  # s to retry a failing store at the end of a run, and before stop or off acts


@dataclass
class TrackingConfig(MlflowConfig):
    log_every: int = at_least(1, 10)  # steps between two lines of the log
    system_every: float = at_least(0, 30.0)  # minimum seconds between two measurements of the nodes; 0 = never
    register: bool = True  # add the finished detector to the model registry, if it is better than chance
    register_anyway: bool = False  # …also if validation does not show that (`--register`)


@dataclass
class HealthConfig:
    """The problems that a training watches for, and its reactions."""

    on_nan: str = choice("stop", "skip", "roll_back")  # if a loss or gradient is not finite; that step changes nothing
    skip_limit: int = at_least(1, 3)  # consecutive steps that on_nan=skip skips before the run stops
    on_spike: str = choice("report", "roll_back", "stop")  # if a logged loss is far above the earlier ones
    spike: float = at_least(0, 10.0)  # how far: robust standard deviations (MAD) above the median; 0 = not watched
    spike_window: int = at_least(16, 100)  # lines of the log from which median and deviation are computed
    roll_back_limit: int = at_least(1, 3)  # times that a run may return to a checkpoint
    stall_s: float = at_least(0, 600.0)  # seconds without progress after which a rank hangs; 0 = not watched
    start_s: float = at_least(1, 3600.0)  # the same for the first two steps: compiling, the first batches
    slow_s: float = at_least(1, 3600.0)  # the same for a checkpoint, an evaluation, and all after the last step
    on_stall: str = choice("stop", "report")  # stop: every rank ends, which frees the job's nodes


@dataclass
class EngineConfig:
    """How the work is distributed and computed."""

    name: str = one_of(ENGINES, "ddp")  # ddp with one process is single
    config: str = ""  # a JSON file for DeepSpeed instead of configs/deepspeed/<name>.json
    accumulate: int = at_least(1, 1)  # parts in which a rank computes its share of a batch, to save memory
    bucket_mib: float = at_least(0.001, 25.0)  # MiB of gradients per all-reduce of DDP; more: fewer, with less overlap
    channels_last: bool = False  # NHWC, faster convolutions on GPUs
    compile: bool = False  # torch.compile, each network alone
    tf32: bool = True  # fp32 products on tensor cores with 10 bits of mantissa; GPUs since Ampere


@dataclass
class TrainingConfig:
    """The settings that every training has; a kind of training adds its own `model` and `loss`."""

    run: RunConfig = checked(RunConfig, may_change=True)
    data: DataConfig = checked(DataConfig)
    optim: OptimConfig = checked(OptimConfig)
    train: TrainConfig = checked(TrainConfig)
    checkpoint: CheckpointConfig = checked(CheckpointConfig, may_change=True)
    eval: EvalConfig = checked(EvalConfig, may_change=True)
    tracking: TrackingConfig = checked(TrackingConfig, may_change=True)
    engine: EngineConfig = checked(EngineConfig, may_change=True)
    health: HealthConfig = checked(HealthConfig, may_change=True)


@dataclass
class GanConfig(TrainingConfig):
    """`mrigan train gan` (MRI-GAN, sections 4.5 and 4.6)."""

    model: GanModelConfig = checked(GanModelConfig)
    loss: GanLossConfig = checked(GanLossConfig)
    eval: GanEvalConfig = checked(GanEvalConfig, may_change=True)


@dataclass
class DetectorModelConfig:
    backbone: str = "tf_efficientnet_b0.ns_jft_in1k"  # a timm name
    # The backbone's initial weights, required: a safetensors file, package:efficientnet-lite0 (the weights in that
    # package), or random
    weights: str = ""
    size: int = within(*DETECTOR_SIZE, 224)  # px
    hidden: int = within(*DETECTOR_HIDDEN, 128)  # units of the head's first layer; 0 = it has only the last one
    dropout: float = within(0, 1, 0.5)  # of the head
    drop_path: float = within(0, 1, 0.2)  # stochastic depth of the backbone
    # Mean and deviation of its input: imagenet; backbone: those that its weights were trained with, as timm says; none:
    # the input stays in 0…1
    normalize: str = choice("imagenet", "backbone", "none", added=True)
    # G.safetensors: required if data.input=mri; with face it only explains verdicts. A resumed run compares its content
    generator: str = checked("", may_change=True)
    # Images; above 0 an average of the weights is evaluated, and becomes the model
    ema_half_life: float = at_least(0, 0.0, added=True)
    half: bool = checked(False, may_change=True, added=True)  # store the finished model's weights in 16 bits


@dataclass
class DetectorLossConfig:
    smoothing: list[float] = field(default_factory=lambda: [0.05, 0.95])  # targets of real and fake (Müller et al.)
    balanced: bool = True  # mean over fakes and mean over reals, averaged


@dataclass
class DetectorConfig(TrainingConfig):
    """`mrigan train detector` (MRI-GAN, section 5)."""

    data: DetectorDataConfig = checked(DetectorDataConfig)
    model: DetectorModelConfig = checked(DetectorModelConfig)
    loss: DetectorLossConfig = checked(DetectorLossConfig)
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(lr=1e-4, betas=[0.9, 0.999]))
    train: TrainConfig = field(default_factory=lambda: TrainConfig(epochs=20, batch_size=192))


@dataclass
class MapModelConfig(DetectorModelConfig):
    decoder: list[int] = within(*DECODER, [96, 64, 48, 32])  # channels of each level; n levels draw size / 2^(6 - n) px


@dataclass
class MapLossConfig(DetectorLossConfig):
    """The class loss, with weight 1, plus these."""

    map_l1: float = at_least(0, 5.0)  # weight of the mean absolute error of the MRI, in 0...1
    map_bce: float = at_least(0, 2.0)  # weight of its cross-entropy, which makes doubt grey where L1 makes it black
    adversarial: str = choice("none", "least_squares", "log")  # of MRI-GAN's discriminator (Eq. 9)
    adversarial_weight: float = at_least(0, 0.01)  # of its judgement of the drawn MRI


@dataclass
class MapConfig(DetectorConfig):
    """`mrigan train map`: a detector that draws the MRI beside its verdict."""

    model: MapModelConfig = checked(MapModelConfig)
    loss: MapLossConfig = checked(MapLossConfig)
