"""The contact sheet of self-blends: what a training would make of the real faces of a set, once they are stored."""

from __future__ import annotations

import hashlib

import numpy as np

from mrigan.config import ShardsConfig
from mrigan.imaging.coordinates import Box
from mrigan.imaging.encoding import decode, encode
from mrigan.mri.self_blends import PairRecipe, StoredFace, blended_pair
from mrigan.packing.sheet import Cell, marked
from mrigan.video import cut_face
from mrigan.video.landmarks import FaceMesh

DRAWS = 3  # of each face
SIZE = 256  # px


def blend_rows(name: str, image: np.ndarray, box: Box, config: ShardsConfig, mesh: FaceMesh) -> list[list[Cell]]:
    """Rows of a face with its landmarks, target, self-blend and MRI, by the recipe that is the default of a training.

    Args:
        name: of the face. image: (H, W, 3) uint8 RGB, the frame. box: of the face in it, px.
        config: of the set; `PairRecipe.check` takes its faces.
    """
    stored = decode(encode(cut_face(image, box, config.faces), "jpg", config.pack.jpeg_quality))
    assert stored is not None
    places = mesh(image, box).stored()
    if places is None:
        return [[Cell(stored, f"{name}\nno landmarks: another face takes its place")]]
    h, w = image.shape[:2]
    face = StoredFace.cut(stored, np.array(box), np.array(places), config.faces.margin, (w, h))
    assert face.points is not None
    shown = Cell(marked(stored, face.box.tolist(), face.points[1:].tolist()), f"{name}\nas stored, with its landmarks")
    rows = []
    for number in range(DRAWS):
        digest = hashlib.sha256(f"{name}|{number}".encode()).digest()
        pair = blended_pair(face, SIZE, np.random.default_rng(int.from_bytes(digest[:8])), PairRecipe())
        mask = pair.hull.replace("_", " ")
        rows.append([shown, Cell(pair.target, "target: real"), Cell(pair.blend, f"self-blend, mask: {mask}"),
                     Cell(pair.mri, f"its MRI, mean {pair.mri.mean():.1f} of 255")])  # fmt: skip
    return rows
