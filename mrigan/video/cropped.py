"""Pictures that are faces already: nothing is looked for, nothing is cut, no margin is added."""

from __future__ import annotations

from collections.abc import Sequence

from mrigan.config import FacesConfig
from mrigan.imaging.picture import Picture
from mrigan.video.face import Detection
from mrigan.video.faces import CPU_BATCH, FaceDetector


class WholePictures(FaceDetector):
    """Stands in for the detector with `faces.cropped`: each picture is one face, whole, without points."""

    def __init__(self, config: FacesConfig, device: str = "cpu") -> None:
        self.config, self.device, self.batch = config, device, CPU_BATCH

    def detect(self, images: Sequence[Picture]) -> list[list[Detection]]:
        """One face a picture: its box is the picture, so that a margin has no room."""
        return [[Detection((0.0, 0.0, float(image.shape[1]), float(image.shape[0])), 1.0, ())] for image in images]


def detector_of(config: FacesConfig, device: str = "cpu") -> FaceDetector:
    """What finds the faces of a set by these settings.

    Raises:
        ConfigError: there is no GPU.
    """
    return WholePictures(config, device) if config.cropped else FaceDetector(config, device)
