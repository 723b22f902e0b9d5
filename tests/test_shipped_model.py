"""The model in the package: whole, small, without a trace of the machine it was trained on, and of some use."""

from __future__ import annotations

import re

import cv2
import numpy as np
import pytest
import skimage.data
import torch

from mrigan.detect import load_model
from mrigan.imaging.blending import BlendRecipe, self_blend
from mrigan.models import Bundle, load_bundle
from mrigan.tracking.registry import SHIPPED_FOLDER, resolve
from mrigan.video import FaceDetector, expand_box
from mrigan.video.landmarks import FaceMesh

MAX_BYTES = 25 * 10**6


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(resolve("shipped"))


def test_it_is_small_and_whole(bundle: Bundle) -> None:
    assert sum(file.stat().st_size for file in SHIPPED_FOLDER.iterdir()) <= MAX_BYTES
    assert bundle.card.registered_name == "mrigan-map"
    assert load_model("shipped").input == "face"


def test_it_names_no_place_on_a_machine() -> None:
    for file in (SHIPPED_FOLDER / "model.json", SHIPPED_FOLDER / "MODEL_CARD.md"):
        assert re.findall(r"(?<![\w.:/-])/(?:home|root|work|tmp|mnt|data|Users)\b[^\"' ]*", file.read_text()) == []


def test_its_card_is_of_these_weights(bundle: Bundle) -> None:
    text = (SHIPPED_FOLDER / "MODEL_CARD.md").read_text()
    assert bundle.card.files["detector.safetensors"].sha256 in text
    for word in ("CC BY 4.0", "DeBruine", "figshare", "zenodo", "White House", "Intel", "hahatango"):
        assert word in text
    assert f"step {bundle.card.provenance['step']}" in text


def test_a_blended_face_scores_above_the_face_it_was_made_of(bundle: Bundle) -> None:
    """A photograph that it has not seen: the score rises, and the MRI is brighter inside the mask than outside."""
    photo = skimage.data.astronaut()
    face = FaceDetector(bundle.faces).detect([photo])[0][0]
    settings = bundle.faces
    x0, y0, x1, y1 = (round(v) for v in expand_box(face.box, 0.5, (photo.shape[1], photo.shape[0])))
    crop = np.ascontiguousarray(photo[y0:y1, x0:x1])
    found = FaceMesh()(photo, face.box)
    points = found.points[:, :2] - [x0, y0]
    margin = expand_box(face.box, settings.margin, (photo.shape[1], photo.shape[0]))
    left, top, right, bottom = (round(v) for v in (margin[0] - x0, margin[1] - y0, margin[2] - x0, margin[3] - y0))

    def scored(picture: np.ndarray) -> tuple[float, np.ndarray]:
        inside = cv2.resize(
            picture[top:bottom, left:right], (settings.size, settings.size), interpolation=cv2.INTER_AREA
        )
        tensor = torch.from_numpy(inside.transpose(2, 0, 1).copy())[None]
        mris = bundle.predict(tensor)[1]
        assert mris is not None
        return float(bundle.score(tensor)), mris[0].float().mean(0).numpy()

    real, _ = scored(crop)
    above, brighter = [], []
    for seed in range(12):
        pair = self_blend(crop, points, np.random.default_rng(seed), BlendRecipe())
        target, _ = scored(pair.target)
        blend, mri = scored(pair.blend)
        above.append(blend > target)
        mask = cv2.resize(pair.mask[top:bottom, left:right], mri.shape[::-1])
        inside = mask > mask.max() / 2
        if above[-1]:
            brighter.append(mri[inside].mean() > mri[~inside].mean())
    assert real < 0
    assert np.mean(above) >= 0.75
    assert len(brighter) >= 6
    assert np.mean(brighter) >= 0.75
