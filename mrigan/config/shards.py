"""Settings from videos to shards, each with its unit and source."""

from __future__ import annotations

from dataclasses import dataclass, field

from mrigan.config.fields import at_least, choice, within


@dataclass
class FacesConfig:
    """How faces are found and cut (MRI-GAN, section 3)."""

    every: int = within(1, 100_000, 10)  # frames; a frame is used when index % every == 0
    long_side: int = within(0, 16_384, 640)  # px, the frame is shrunk to this for detection; 0 = full size
    min_face: int = within(10, 4096, 20)  # px, at detection size
    thresholds: list[float] = within(0, 1, [0.85, 0.95, 0.95], length=3)  # MTCNN's P-, R- and O-Net
    factor: float = within(0.1, 0.9, 0.709)  # MTCNN's image pyramid
    margin: float = within(0, 2, 0.1)  # of the box's width and height, added on each side
    size: int = within(16, 2048, 256)  # px, side of the stored square face
    resize: str = choice("area")  # the named step that makes size x size
    max_persons: int = within(1, 100, 8)  # faces a frame, largest first
    landmarks: str = choice("none", "mesh")  # mesh: 468 points of each stored face go into its json; 3 CPU-ms a face
    cropped: bool = False  # every picture is one face, cut out already: none is looked for, no margin is added


@dataclass
class VideoConfig:
    """Who decodes the clips. Decoders differ in the last bits of a colour, so this is part of a plan."""

    decoder: str = choice("auto", "pyav", "dali")  # auto = DALI where the device is a GPU and it can, else PyAV
    device: str = choice("cpu", "cuda")  # where frames are treated, searched for faces, cut; DALI decodes there


@dataclass
class MixConfig:
    """What the treated families get: parts that make 1 together. A name's order is the order of application."""

    distraction: float = at_least(0.0, 0.35)  # the part with distraction
    distraction_noise: float = at_least(0.0, 0.35)  # the part with distraction, then noise
    distraction_noise_augmentation: float = at_least(0.0, 0.15)  # the part with all, in this order
    noise: float = at_least(0.0, 0.05)  # the part with noise
    augmentation_noise: float = at_least(0.0, 0.05)  # the part with augmentation, then noise
    augmentation: float = at_least(0.0, 0.05)  # the part with augmentation


@dataclass
class RecipeConfig:
    """Noise, augmentation and distraction of whole families (MRI-GAN, section 3); drawn from `pack.seed`."""

    share: float = at_least(0.0, 0.0)  # of the families that are treated; 0 = none
    datasets: list[str] = field(default_factory=list)  # whose families may be treated; empty = all
    detect_on: str = choice("clean", "augmented")  # where faces are found: before the treatment, or after it
    mri_of: str = choice("treated", "clean")  # the pictures of a treated pair whose MRI is stored; clean: only moved
    mix: MixConfig = field(default_factory=MixConfig)


@dataclass
class PairsConfig:
    """Which fake faces may be paired with their original."""

    border_difference: float = 4.0  # of 255: mean grey difference in the outer eighth of the frame, above = misaligned
    offset: int = at_least(0, 2048)  # frames: how much earlier or later than its original a fake may begin
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

    kind: str = choice("pairs", "faces")  # pairs: a face and its MRI; faces: every face, without MRIs
    splits: list[str] = field(default_factory=lambda: ["train", "val", "test"])  # of the catalog, that are stored
    mri_format: str = choice("jpg", "png")  # png keeps the MRI exactly and is three times as large
    jpeg_quality: int = 95  # 4:4:4
    shard_mib: int = at_least(1, 256)  # MiB, the most that a shard takes; units are planned somewhat smaller
    shard_samples: int = at_least(1, 10000)  # the most that a shard holds
    seed: int = 0  # of the order of families, of treatments, and of what `match` draws
    # Facts in which real and fake faces are made alike in each split: compression, face_px (the width of the face),
    # frame_size; of the larger side so many faces are drawn. All are stored; those not drawn are left out when read
    match: list[str] = field(default_factory=list)
    faces_dir: str = ""  # folder of the detections, which several sets may share; empty = faces/ in the shard folder


@dataclass
class LimitsConfig:
    """What one file may cost. It is no part of what a set is: another value makes no other plan."""

    seconds_per_file: float = at_least(0, 600.0)  # a clip that takes longer is a failed row; 0 = no limit


@dataclass
class ShardsConfig:
    """`mrigan shards plan`: catalog → shards."""

    video: VideoConfig = field(default_factory=VideoConfig)
    faces: FacesConfig = field(default_factory=FacesConfig)
    recipe: RecipeConfig = field(default_factory=RecipeConfig)
    pairs: PairsConfig = field(default_factory=PairsConfig)
    mri: MriConfig = field(default_factory=MriConfig)
    pack: PackConfig = field(default_factory=PackConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
