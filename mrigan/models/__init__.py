"""The networks: G and D of MRI-GAN, the detector, and their files."""

from mrigan.models.bundle import Bundle, load_bundle, save_bundle
from mrigan.models.detector import Detector
from mrigan.models.discriminator import Discriminator
from mrigan.models.generator import Generator
from mrigan.models.generator_file import generator_info, load_generator, save_generator
from mrigan.models.map_detector import MapDetector, make_detector
from mrigan.models.predict import predict_mri

__all__ = [
    "Bundle",
    "Detector",
    "Discriminator",
    "Generator",
    "MapDetector",
    "generator_info",
    "load_bundle",
    "load_generator",
    "make_detector",
    "predict_mri",
    "save_bundle",
    "save_generator",
]
