"""Settings of `mrigan train pose`: no steps, no engine; a classifier is fitted to all features at once."""

from __future__ import annotations

from dataclasses import dataclass

from mrigan.config.fields import at_least, checked, choice, within
from mrigan.config.training import MlflowConfig, RunConfig

POSE_FOCAL, POSE_DEPTH = (0.1, 100), (0.1, 10)  # minimum and maximum, also of finished models


@dataclass
class PoseDataConfig:
    # Folders of finished shards. Their faces need landmarks: faces.landmarks=mesh, or `mrigan shards landmarks`
    shards: list[str] = checked([], may_change=True)
    val_split: str = "val"  # the split for validation scores and thresholds
    # Who found the landmarks: the mesh, or dlib, whose model may be used for research only
    points: str = choice("mesh", "dlib")
    # The maximum number of training faces, drawn evenly over the set; 0 = all. Time and memory grow with its square
    faces: int = at_least(0, 20_000)
    about: str = checked("", may_change=True)  # the data and their licence, in words; the model carries it


@dataclass
class PoseModelConfig:
    # Focal length of the camera in widths of the picture: 1 for full frames (Yang et al.), about 4 for crops of faces
    focal: float = within(*POSE_FOCAL, 1.0)
    depth: float = within(*POSE_DEPTH, 0.7)  # what the depth of the mean head is multiplied by; calibrated on poses
    C: float = within(1e-6, 1e6, 1.0)  # the SVM's penalty of errors


@dataclass
class PoseConfig:
    """`mrigan train pose` (the second paper, section B)."""

    run: RunConfig = checked(RunConfig, may_change=True)
    data: PoseDataConfig = checked(PoseDataConfig)
    model: PoseModelConfig = checked(PoseModelConfig)
    tracking: MlflowConfig = checked(MlflowConfig, may_change=True)
