"""Settings of packing, from videos to shards, each with its unit and source."""

from __future__ import annotations

from dataclasses import dataclass, field

from mrigan.config.fields import at_least, choice, within


@dataclass
class FacesConfig:
    """Detection and cropping of faces (MRI-GAN, section 3)."""

    every: int = within(1, 100_000, 10)  # frames; a frame is used if index % every == 0
    frames: int = within(0, 10_000, 0)  # so many frames, evenly from the first to the last, instead; 0 = by `every`
    shrink: float = within(1, 16, 1.0)  # frames are reduced by this factor for detection, before long_side
    long_side: int = within(0, 16_384, 640)  # px; frames are reduced to this for detection; 0 = full size
    min_face: int = within(10, 4096, 20)  # px, after that reduction
    thresholds: list[float] = within(0, 1, [0.85, 0.95, 0.95], length=3)  # MTCNN's P-, R- and O-Net
    factor: float = within(0.1, 0.9, 0.709)  # MTCNN's image pyramid
    margin: float = within(0, 2, 0.1)  # added on each side, relative to the box's width and height
    crop: str = choice("truncate", "widen")  # box and margin as whole px each, or widened first, then out to whole px
    size: int = within(16, 2048, 256)  # px, side of the stored square face
    # area; antialiased: Pillow's bilinear; linear: OpenCV's, without antialiasing; letterbox: the long side becomes
    # `size` (area, or cubic where it grows), and the rest stays black
    resize: str = choice("area", "antialiased", "linear", "letterbox")
    # points5: eyes, nose and mouth go to fixed places instead, by a rotation and one scale; no margin, no resize
    align: str = choice("none", "points5")
    align_scale: float = within(1, 4, 1.3)  # how much more than the 112 px template a face aligned so shows
    max_persons: int = within(1, 100, 8)  # faces per frame, the largest ones
    landmarks: str = choice("none", "mesh")  # mesh: 468 points of each stored face go into its json; 3 CPU-ms a face
    cropped: bool = False  # every picture is a cropped face: no detection, no margin


@dataclass
class VideoConfig:
    """The decoder of clips. Decoders differ in the last bits of a colour, so it is part of the plan."""

    decoder: str = choice("auto", "pyav", "dali")  # auto = DALI if the device is a GPU and supports it, else PyAV
    device: str = choice("cpu", "cuda")  # for treatment, detection and cropping; DALI decodes there, too


@dataclass
class MixConfig:
    """The treatments of treated families, as shares with sum 1. A name lists the steps in their order."""

    distraction: float = at_least(0.0, 0.35)  # the share with distraction
    distraction_noise: float = at_least(0.0, 0.35)  # the share with distraction, then noise
    distraction_noise_augmentation: float = at_least(0.0, 0.15)  # the share with all three, in this order
    noise: float = at_least(0.0, 0.05)  # the share with noise
    augmentation_noise: float = at_least(0.0, 0.05)  # the share with augmentation, then noise
    augmentation: float = at_least(0.0, 0.05)  # the share with augmentation


@dataclass
class RecipeConfig:
    """Noise, augmentation and distraction of whole families (MRI-GAN, section 3); drawn from `pack.seed`."""

    share: float = at_least(0.0, 0.0)  # of families that are treated; 0 = none
    datasets: list[str] = field(default_factory=list)  # data sets whose families may be treated; [] = all
    detect_on: str = choice("clean", "augmented")  # faces are detected before (clean) or after the treatment
    mri_of: str = choice("treated", "clean")  # the MRI of a treated pair: with the treatment, or without noise
    mix: MixConfig = field(default_factory=MixConfig)


@dataclass
class PairsConfig:
    """The conditions for a pair of a fake face and its original."""

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
