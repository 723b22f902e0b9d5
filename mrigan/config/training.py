"""Settings of the trainings, each with its unit and source."""

from __future__ import annotations

from dataclasses import dataclass, field

from mrigan.config.fields import at_least, choice, within

DETECTOR_SIZE, DETECTOR_HIDDEN = (32, 1024), (1, 65_536)  # least and most, of trainings and of finished models
GENERATOR_SIZE, GENERATOR_WIDTH = (8, 4096), (1, 1024)


@dataclass
class RunConfig:
    dir: str = "???"  # the folder decides: the same folder continues the run
    name: str = ""  # shown in MLflow; empty = the folder's name


@dataclass
class DataConfig:
    shards: list[str] = field(default_factory=list)  # shard folders, or URLs of them (http, s3, file, …)
    cache: str = ""  # a folder on a disk of each node, where shards are staged before training; needed for URLs
    train_split: str = "train"  # what is trained on
    val_split: str = "val"  # held-out scores, thresholds and the choice of the best checkpoint
    loader: str = choice("auto", "torch", "dali")  # auto: DALI on a GPU where it is installed and works
    decode_on: str = choice("auto", "cpu", "cuda")  # auto: where training is
    workers: int = at_least(0, 2)  # that read and decode, a rank
    workers_are: str = choice("threads", "processes")  # processes: for augmentation that holds Python's lock
    # What an epoch holds: classes = every sample of the smaller class once and as many of the larger one, redrawn each
    # epoch; none = every sample of both classes once
    balance: str = choice("classes", "none")
    shuffle: str = choice("full", "window")  # window: few shards open at a time, for storage without random reads
    window: int = at_least(2, 64)  # shards open at a time over all ranks; 2 x ranks x n lets each read its own
    verify: str = choice("first", "always", "never")  # when a sample's CRC-32 is checked: first = once a process
    on_bad: str = choice("stop", "skip")  # a bad training sample; skip = another of its class comes, and it is counted
    flip: float = 0.5  # probability of a horizontal flip, face and MRI alike


@dataclass
class DetectorDataConfig(DataConfig):
    input: str = choice("face", "mri")  # what it looks at: faces, or the MRIs that model.generator draws of them
    about: str = ""  # what the data are, and their licence, in words: each verdict of the model names them
    augment: bool = True  # the recipe of the input, in mrigan.data.augment
    # The crop of the face recipe: authors = 224 px of the face padded by 224 px, as in their code, which leaves little
    # of most faces; near = ours, a window of the face's size that lies an eighth of it away at most
    crop: str = choice("authors", "near")
    flip: float = 0.3  # probability of a horizontal flip of the face, where augment is false
    balance: str = choice("none", "classes")  # as for gan; the paper's detector sees every face, its loss balances


@dataclass
class GanModelConfig:
    size: int = within(*GENERATOR_SIZE, 256)  # px, a power of two; the depth is log2(size)
    width: int = within(*GENERATOR_WIDTH, 64)  # channels of the first layer, of G and D
    dropout: float = within(0, 1, 0.5)  # of G at level 4 and deeper: the only source of noise (section 4.5)
    ema_half_life: float = at_least(0, 0.0)  # images; above 0 the averaged G is evaluated and becomes the model


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
    name: str = choice("adam", "adamw", "sgd")  # sgd has momentum; adamw keeps the decay out of the gradient
    lr: float = 2e-4  # learning rate
    betas: list[float] = field(default_factory=lambda: [0.5, 0.999])  # of adam and adamw
    momentum: float = at_least(0, 0.9)  # of sgd
    weight_decay: float = 0.0  # a share of each weight, times lr with adamw; of the gradient with adam and sgd
    schedule: str = choice("constant", "linear", "cosine")  # how lr falls to 0
    warmup: int = at_least(0, 0)  # steps in which lr rises from 0
    decay_steps: int = at_least(0, 0)  # the step at which lr is 0; linear and cosine need it
    clip: float = at_least(0, 0.0)  # the largest norm of a network's gradient, each network by itself; 0 = any


@dataclass
class TrainConfig:
    steps: int = at_least(0, 0)  # optimizer steps; 0 = epochs decides
    epochs: float = at_least(0, 0.0)  # passes over the epoch plan, where steps is 0
    batch_size: int = at_least(1, 128)  # global, over all ranks
    seed: int = 0  # of weights, order, augmentation and dropout
    precision: str = choice("fp32", "bf16", "fp16")  # of the forward pass; weights and optimizer stay fp32
    device: str = choice("auto", "cpu", "cuda")  # auto: a GPU where there is one
    deterministic: bool = True  # same weights, bit for bit, from the same run on a CPU


@dataclass
class CheckpointConfig:
    every: int = at_least(1, 1000)  # steps
    keep: int = at_least(2, 3)  # newest ones; the best is kept besides
    permanent: int = at_least(0, 0)  # steps: a checkpoint at a multiple of it stays for ever; 0 = none


@dataclass
class EvalConfig:
    every: int = at_least(1, 200)  # steps (section 4.7)
    faces: int = at_least(0, 2000)  # at most so many held-out faces in a score during training, 0 = all


@dataclass
class GanEvalConfig(EvalConfig):
    samples: int = at_least(1, 16)  # held-out faces in the picture grid
    # Held-out faces whose mean SSIM, fakes and reals apart, chooses the best G; all where there are fewer
    faces: int = at_least(256, 256)


@dataclass
class TrackingConfig:
    enabled: bool = True  # whether MLflow gets the run; metrics.jsonl and the log are written in any case
    uri: str = ""  # empty = MLFLOW_TRACKING_URI, or sqlite:///mlflow.db
    experiment: str = "mrigan"  # in MLflow
    log_every: int = at_least(1, 10)  # steps
    system_every: float = at_least(0, 30.0)  # seconds between two looks at the nodes, at lines of the log; 0 = never
    register: bool = True  # the detector goes to the model registry when training ends, if it is better than chance
    register_anyway: bool = False  # …also if validation does not show that (`--register`)
    # MLflow is away: what is logged is kept in run.dir and sent later | training stops | it goes on and logs no more
    on_failure: str = choice("buffer", "stop", "off")
    patience: float = at_least(0, 30.0)  # s: for a store that fails, at the end of a run; and before stop and off act


@dataclass
class HealthConfig:
    """What is watched while a training runs, and what is done about it. All of it may change between two starts."""

    on_nan: str = choice("stop", "skip", "roll_back")  # a loss or a gradient is not finite; its step changes nothing
    skip_limit: int = at_least(1, 3)  # such steps in a row that on_nan=skip goes on after
    on_spike: str = choice("report", "roll_back", "stop")  # a logged loss is far above those before it
    spike: float = at_least(0, 10.0)  # how far: robust standard deviations (MAD) above the median; 0 = not watched
    spike_window: int = at_least(16, 100)  # lines of the log that the median and the deviation are of
    roll_back_limit: int = at_least(1, 3)  # times that a run goes back to a checkpoint
    stall_s: float = at_least(0, 600.0)  # seconds in which a rank must go on, or the run hangs; 0 = not watched
    start_s: float = at_least(1, 3600.0)  # the same until two steps have ended: compiling, the first batches
    slow_s: float = at_least(1, 3600.0)  # the same for a checkpoint, an evaluation, and all after the last step
    on_stall: str = choice("stop", "report")  # stop: every rank ends, and the job's nodes are free


@dataclass
class EngineConfig:
    """How the work is shared and computed. All of it may change between two starts of a run."""

    name: str = choice("ddp", "single", "zero0", "zero1", "zero2", "zero3")  # ddp alone in the world is single
    config: str = ""  # JSON for DeepSpeed in place of configs/deepspeed/<name>.json
    accumulate: int = at_least(1, 1)  # parts that a rank's share of a batch is computed in, to save memory
    bucket_mib: float = at_least(0.001, 25.0)  # of gradients that DDP adds up at a time; more: fewer rings, less hidden
    channels_last: bool = False  # NHWC, faster convolutions on GPUs
    compile: bool = False  # torch.compile, each network by itself
    tf32: bool = True  # fp32 products on tensor cores with 10 bits of mantissa; GPUs since Ampere


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
    eval: GanEvalConfig = field(default_factory=GanEvalConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    health: HealthConfig = field(default_factory=HealthConfig)


@dataclass
class DetectorModelConfig:
    backbone: str = "tf_efficientnet_b0.ns_jft_in1k"  # a timm name
    # Where the backbone starts from; it must be given: a safetensors file, package:efficientnet-lite0 (the weights that
    # this package ships), or random
    weights: str = ""
    size: int = within(*DETECTOR_SIZE, 224)  # px
    hidden: int = within(*DETECTOR_HIDDEN, 128)  # units of the head's first layer
    dropout: float = within(0, 1, 0.5)  # of the head
    drop_path: float = within(0, 1, 0.2)  # stochastic depth of the backbone
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
    health: HealthConfig = field(default_factory=HealthConfig)
