"""Two public-domain portraits from installed packages, with hand-set face points and outlines.

Eileen Collins (NASA) is `astronaut` of scikit-image; Grace Hopper (US Navy) is `grace_hopper.jpg` of matplotlib's
sample data. Nothing is downloaded: both files are in the wheels.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

# Left and right as the viewer sees them.
POINTS = (
    "eye_l_out", "eye_l_top", "eye_l_in", "eye_l_low", "eye_r_in", "eye_r_top", "eye_r_out", "eye_r_low",
    "brow_l_out", "brow_l_mid", "brow_l_in", "brow_r_in", "brow_r_mid", "brow_r_out",
    "nose_top", "nose_tip", "nose_l", "nose_r", "nose_base",
    "mouth_l", "mouth_r", "lip_top", "lip_top_in", "lip_low_in", "lip_low",
    "jaw_l_top", "jaw_l_mid", "jaw_l_low", "chin", "jaw_r_low", "jaw_r_mid", "jaw_r_top",
    "brim_l", "brim", "brim_r", "hair_l", "hair_top", "hair_r",
)
INDEX = {name: i for i, name in enumerate(POINTS)}

_COLLINS_POINTS = [
    (192.5, 100), (203, 96.5), (211.5, 103), (203, 105), (237, 104), (247.5, 98.5), (259, 103), (247.5, 107.5),
    (190, 91), (199, 89), (213, 92.5), (239, 94), (251, 92), (264, 95.5),
    (223, 103), (225, 126), (212, 129), (238, 130), (225, 133),
    (203, 140), (244, 141), (224, 140), (224, 144), (223.5, 149.5), (222, 156),
    (181, 120), (184, 148), (196, 168), (224, 178), (249, 167), (263, 148), (268, 120),
    (188, 79), (222, 80), (260, 86), (152, 80), (228, 16), (301, 84),
]
_HOPPER_POINTS = [
    (207, 192), (221, 184), (236, 194), (222, 198), (293, 193), (307, 181), (322, 190), (308, 196),
    (184, 169), (214, 162), (246, 171), (283, 169), (309, 160), (338, 164),
    (264, 190), (267, 235), (241, 243), (293, 243), (268, 251),
    (229, 279), (306, 277), (266, 271), (266, 277), (266, 279.5), (266, 295),
    (186, 220), (193, 270), (216, 312), (267, 327), (316, 312), (336, 268), (343, 218),
    (192, 146), (262, 134), (332, 143), (152, 150), (262, 24), (370, 140),
]
_COLLINS_SKIN = [
    (186, 72), (200, 78), (222, 80), (250, 82), (263, 88), (268, 110), (276, 128), (266, 138), (262, 150), (256, 164),
    (254, 184), (234, 190), (196, 187), (186, 178), (185, 152), (181, 133), (171, 126), (181, 108),
]
_HOPPER_SKIN = [
    (183, 150), (200, 141), (230, 134), (262, 132), (300, 134), (330, 142), (345, 152), (357, 182), (373, 184),
    (372, 215), (356, 262), (340, 268), (331, 300), (326, 325), (310, 352), (290, 398), (262, 402), (240, 398),
    (222, 372), (206, 330), (200, 300), (190, 268), (172, 264), (160, 232), (156, 192), (166, 186), (176, 170),
]
_COLLINS_BODY = [
    (201, 23), (185, 38), (163, 51), (157, 57), (153, 68), (156, 101), (162, 110), (169, 116), (174, 128), (181, 132),
    (182, 146), (178, 148), (157, 150), (140, 158), (131, 167), (121, 183), (120, 191), (122, 197), (119, 203),
    (110, 206), (90, 227), (75, 237), (59, 256), (44, 283), (40, 294), (39, 306), (34, 315), (26, 342), (26, 366),
    (19, 390), (25, 511), (370, 511), (370, 349), (364, 348), (359, 338), (361, 330), (357, 323), (356, 302),
    (352, 287), (347, 281), (345, 272), (339, 261), (319, 243), (304, 234), (299, 219), (289, 203), (276, 189),
    (255, 172), (256, 163), (264, 149), (267, 137), (275, 134), (290, 117), (296, 107), (299, 96), (299, 72),
    (296, 66), (296, 58), (288, 43), (276, 31), (248, 18), (241, 19), (234, 16), (227, 16), (211, 22), (206, 21),
]
_HOPPER_BODY = [
    (219, 32), (215, 42), (197, 49), (181, 64), (176, 73), (174, 85), (160, 97), (150, 119), (147, 140), (147, 173),
    (157, 185), (153, 197), (153, 211), (161, 228), (157, 253), (162, 260), (163, 273), (172, 286), (193, 297),
    (196, 318), (183, 333), (165, 344), (124, 358), (97, 363), (68, 374), (63, 379), (53, 381), (47, 387), (40, 402),
    (37, 415), (26, 429), (27, 459), (19, 514), (16, 599), (511, 599), (511, 437), (508, 436), (505, 431), (492, 393),
    (464, 377), (417, 364), (376, 345), (365, 342), (353, 334), (343, 324), (338, 322), (332, 315), (333, 310),
    (347, 297), (356, 267), (361, 261), (367, 236), (367, 228), (370, 223), (369, 210), (375, 196), (374, 188),
    (367, 180), (369, 174), (371, 134), (369, 129), (368, 96), (364, 88), (353, 85), (348, 71), (335, 56), (315, 45),
    (299, 41), (294, 35), (281, 27), (270, 24), (249, 23),
]


@dataclass(frozen=True)
class Portrait:
    """A photograph with its points and masks.

    Attributes:
        image: (H, W, 3) float32 RGB, 0..255.
        points: (38, 2) float64 px, in the order of `POINTS`.
        body: (H, W) float32 0..1, the person. skin: the face, ears and neck.
    """

    image: np.ndarray
    points: np.ndarray
    body: np.ndarray
    skin: np.ndarray

    def mirrored(self) -> Portrait:
        """The mirror image, with left and right exchanged in the names of the points."""
        swap = {"_l": "_r", "_r": "_l"}
        names = [name[:i] + swap[name[i:i + 2]] + name[i + 2:] if (i := _side(name)) >= 0 else name for name in POINTS]
        points = self.points[[INDEX[name] for name in names]].copy()
        points[:, 0] = self.image.shape[1] - 1 - points[:, 0]
        flip = [np.ascontiguousarray(layer[:, ::-1]) for layer in (self.image, self.body, self.skin)]
        return Portrait(flip[0], points, flip[1], flip[2])


def load_portraits() -> list[Portrait]:
    """Collins and Hopper, in this order."""
    import matplotlib
    import skimage.data
    with Image.open(Path(matplotlib.get_data_path(), "sample_data", "grace_hopper.jpg")) as file:
        hopper = np.asarray(file.convert("RGB"))
    return [
        _portrait(image=skimage.data.astronaut(), points=_COLLINS_POINTS, body=_COLLINS_BODY, skin=_COLLINS_SKIN,
                  edge=0.8),
        _portrait(image=hopper, points=_HOPPER_POINTS, body=_HOPPER_BODY, skin=_HOPPER_SKIN, edge=1.5),
    ]


def point(points: np.ndarray, name: str, dx: float = 0, dy: float = 0) -> np.ndarray:
    """The point of this name, moved by (dx, dy): (2,) px."""
    return points[INDEX[name]] + np.array((dx, dy))


def ring(points: np.ndarray, *names: str) -> np.ndarray:
    """The points of these names, (N, 2) px."""
    return points[[INDEX[name] for name in names]]


def polygon_mask(polygons: list, shape: tuple[int, int], blur: float) -> np.ndarray:
    """(H, W) float32 0..1: filled polygons with an edge of `blur` px."""
    mask = np.zeros(shape, np.float32)
    for polygon in polygons:
        cv2.fillPoly(mask, [np.round(np.asarray(polygon, np.float64) * 16).astype(np.int32)], 1.0, cv2.LINE_8, 4)
    return cv2.GaussianBlur(mask, (0, 0), blur)


def _portrait(*, image: np.ndarray, points: list, body: list, skin: list, edge: float) -> Portrait:
    size = image.shape[:2]
    return Portrait(image.astype(np.float32), np.array(points, np.float64), polygon_mask([body], size, edge),
                    polygon_mask([skin], size, 2 * edge))


def _side(name: str) -> int:
    """The index of `_l` or `_r` as a side in a point's name, or -1 (the l of `lip_low` is not a side)."""
    for side in ("_l", "_r"):
        at = name.find(side)
        if at >= 0 and name[at + 2:at + 3] in ("", "_"):
            return at
    return -1
