"""Frames in, faces out: decoding, detection, tracks, crops, and the alignment of fakes with their original.

Importing this is light: av, torch, OpenCV, SciPy and pyarrow are imported where they are used.
"""

from mrigan.imaging.recipe import draw_treatment
from mrigan.imaging.treatment import Treatment
from mrigan.video.alignment import Alignment, FakeClip, Paired, follow
from mrigan.video.cropped import WholePictures, detector_of
from mrigan.video.crops import RESIZE, crop, cut_face, expand_box, resize_face
from mrigan.video.decoders import family_source, pyav_source
from mrigan.video.face import Detection, Face, FaceTable
from mrigan.video.faces import INFERENCE_THRESHOLDS, FaceDetector, find_faces
from mrigan.video.frames import BrokenVideo, DamagedVideo, Decoded, Frame, TruncatedVideo, read_frames
from mrigan.video.geometry import Geometry, changed
from mrigan.video.info import VideoInfo, probe
from mrigan.video.moments import Decision
from mrigan.video.sampling import sampling, stated_frames
from mrigan.video.source import DecoderError, FrameSource, PyAvSource
from mrigan.video.still_pairs import FakeStill
from mrigan.video.stills import is_picture, read_still
from mrigan.video.table import faces_key, fingerprint, read_faces, read_faces_checked, write_faces

__all__ = [
    "INFERENCE_THRESHOLDS",
    "RESIZE",
    "Alignment",
    "BrokenVideo",
    "DamagedVideo",
    "Decision",
    "Decoded",
    "DecoderError",
    "Detection",
    "Face",
    "FaceDetector",
    "FaceTable",
    "FakeClip",
    "FakeStill",
    "Frame",
    "FrameSource",
    "Geometry",
    "Paired",
    "PyAvSource",
    "Treatment",
    "TruncatedVideo",
    "VideoInfo",
    "WholePictures",
    "changed",
    "crop",
    "cut_face",
    "detector_of",
    "draw_treatment",
    "expand_box",
    "faces_key",
    "family_source",
    "find_faces",
    "fingerprint",
    "follow",
    "is_picture",
    "probe",
    "pyav_source",
    "read_faces",
    "read_faces_checked",
    "read_frames",
    "read_still",
    "resize_face",
    "sampling",
    "stated_frames",
    "write_faces",
]
