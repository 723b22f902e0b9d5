"""The torch path of frames on a device against the NumPy and OpenCV path, method by method, with the same draws.

It runs on the CPU here, and on a GPU where there is one. `WITHIN` is how many grey levels a pixel may differ; where a
text's smooth edge is blended, one in 1,000 of its pixels may differ by more, up to `RARELY`.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from skimage.data import astronaut

from mrigan.config import VideoConfig, load_config
from mrigan.config.shards import ShardsConfig
from mrigan.imaging import planes
from mrigan.imaging.distraction import text_size
from mrigan.imaging.methods import Die
from mrigan.imaging.noise import noise_field
from mrigan.imaging.picture import grey, scale_to, to_device, to_host, to_planes
from mrigan.imaging.recipe import draw_step
from mrigan.imaging.treatment import METHODS, Step
from mrigan.video import FaceDetector, PyAvSource, Treatment, changed, crop, family_source, resize_face
from mrigan.video.container import as_displayed
from mrigan.video.geometry import grey_rim, spread
from mrigan.video.source import OnDevice
from tests.clips import counter_frames, read_counter, write_clip
from tests.imaging.records import treatment_of
from tests.video.pairing import pair_frames

NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
DEVICES = ["cpu", pytest.param("cuda", marks=NO_GPU)]
EXACT = {"gaussian", "localvar", "salt_and_pepper", "salt", "pepper", "poisson", "contrast", "brightness", "flip"}
WITHIN = {"speckle": 1, "blur": 1, "rotation": 1, "rescale": 1, "text": 2, "shape": 0}
RARELY = 8
CASES = [(kind, name) for kind, names in METHODS.items() for name in names]
MATRICES = [np.array(m) for m in ([[0, 1], [-1, 0]], [[-1, 0], [0, -1]], [[-1, 0], [0, 1]], [[0, 1], [1, 0]])]


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def frames() -> dict[str, np.ndarray]:
    """A face and pure noise, of odd sizes."""
    draw = np.random.default_rng(0)
    return {
        "face": np.ascontiguousarray(astronaut()[20:303, 60:451]),
        "noise": draw.integers(0, 256, (201, 322, 3), dtype=np.uint8),
    }


def difference(ours: Any, theirs: np.ndarray) -> np.ndarray:
    image = to_host(ours)
    assert (image.dtype, image.shape) == (np.uint8, theirs.shape)
    return np.abs(image.astype(int) - theirs)


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_every_method_gives_the_picture_of_the_cpu(
    kind: str, name: str, device: str, frames: dict[str, np.ndarray]
) -> None:
    """As drawn by the recipe, through the json of a sample, for several families and frames."""
    most = 0 if name in EXACT else WITHIN.get(name, WITHIN.get(name.rpartition("_")[2], -1))
    applied, touched, beyond = 0, 0, 0
    for family in ("a", "b", "c", "d"):
        step = draw_step(kind, name, Die(3, family))
        record = json.loads(json.dumps(Treatment(3, family, (step,)).record(0)))
        treatment = treatment_of(record)
        for picture in frames.values():
            for frame in (0, 37):
                before, image = picture.copy(), to_device(picture.copy(), device)
                theirs = treatment.apply(picture, frame)
                ours = treatment.apply(image, frame)
                assert ours.device.type == device
                assert (to_host(image) == before).all()
                found = difference(ours, theirs)
                assert found.max() <= (RARELY if "text" in name else most)
                changes = theirs.size if theirs.shape != before.shape else int((theirs != before).sum())
                touched, beyond, applied = (
                    touched + changes,
                    beyond + int((found > most).sum()),
                    applied + bool(changes),
                )
    assert beyond <= touched / 1000
    assert applied > (2 if "spontaneous" in name else 11)  # a spontaneous thing is in some frames only


def test_all_kinds_after_one_another(device: str, frames: dict[str, np.ndarray]) -> None:
    die = Die(1, "f")
    steps = tuple(draw_step(*case, die) for case in (("distraction", "rolling_text"), ("noise", "speckle"),
                                                     ("augmentation", "rotation")))  # fmt: skip
    treatment = Treatment(1, "f", steps)
    theirs = treatment.apply(frames["face"], 20)
    ours = treatment.apply(to_device(frames["face"], device), 20)
    assert difference(ours, theirs).max() <= RARELY + 2  # rounded twice more
    assert difference(ours, theirs).mean() < 0.02


def test_a_batch_is_treated_as_each_of_it(device: str, frames: dict[str, np.ndarray]) -> None:
    """An original and its fakes in one batch: the same field, so unchanged pixels stay equal."""
    face = frames["face"]
    fake = face.copy()
    fake[80:120, 100:150] //= 2
    for name in METHODS["noise"]:
        treatment = Treatment(0, "f", (draw_step("noise", name, Die(0, "f")), Step("augmentation", "flip", {})))
        batch = torch.cat([to_planes(to_device(image, device)) for image in (face, fake)])
        together = treatment.apply_to_all(batch, 5)
        assert together.shape == batch.shape
        for image, one in zip((face, fake), together, strict=True):
            assert difference(one.permute(1, 2, 0), treatment.apply(image, 5)).max() <= 1
        same = torch.from_numpy((face == fake).all(2)[:, ::-1].copy()).to(device)
        assert torch.equal(together[0][:, same], together[1][:, same])


def test_the_field_is_the_cpus_own(device: str) -> None:
    image = np.zeros((101, 33, 3), np.uint8)
    field = noise_field(np.random.default_rng(0), image)
    moved = noise_field(np.random.default_rng(0), to_planes(to_device(image, device)))[0].permute(1, 2, 0).cpu().numpy()
    assert moved.max() > 60_000
    assert (moved == field).all()


@pytest.mark.parametrize("at", [(-20, 10), (250, 180), (0, 0)])
def test_a_text_that_leaves_the_frame(at: tuple[int, int], device: str) -> None:
    """Masks are drawn whole and clipped; OpenCV clips each stroke."""
    image = np.full((201, 322, 3), 90, np.uint8)
    look = {"text": "Qg8x", "scale": 3, "thickness": 2, "colour": "red"}
    room = [side - thing for side, thing in zip((322, 201), text_size("Qg8x", 3, 2), strict=True)]
    start = [(a + 0.25) / r for a, r in zip(at, room, strict=True)]
    step = Step("distraction", "static_text", look | {"start": start})
    treatment = Treatment(0, "f", (step,))
    theirs = treatment.apply(image, 0)
    assert (theirs != image).any()
    found = difference(treatment.apply(to_device(image, device), 0), theirs)
    assert found.max() <= RARELY
    assert (found > WITHIN["text"]).sum() <= 3


@pytest.mark.parametrize("size", [(256, 256), (391, 283), (64, 48), (100, 283), (800, 600), (1280, 720), (500, 100),
                                  (100, 500), (17, 700)])  # fmt: skip
def test_pictures_are_resized_as_by_opencv(size: tuple[int, int], device: str, frames: dict[str, np.ndarray]) -> None:
    for picture in frames.values():
        theirs = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        found = difference(scale_to(to_device(picture, device), size), theirs)
        assert found.max() <= 1
        assert found.mean() < 0.2
    batch = torch.cat([to_planes(to_device(frames["face"], device))] * 2)
    assert torch.equal(*planes.resize(batch, size))


def test_faces_are_cut_as_on_the_cpu(device: str, frames: dict[str, np.ndarray]) -> None:
    boxes = [(120.7, 40.2, 240.9, 200.4), (-3.0, -8.0, 60.5, 90.0), (300, 200, 391, 283), (10, 10, 31, 29)]
    picture = frames["face"]
    for box in boxes:
        for size in (256, 64):
            theirs = resize_face(crop(picture, box), size)
            ours = resize_face(crop(to_device(picture, device), box), size)
            assert ours.is_contiguous()
            assert difference(ours, theirs).max() <= 1
    with pytest.raises(ValueError, match="outside"):
        crop(to_device(picture, device), (500, 10, 600, 90))


def test_what_alignment_looks_at_is_the_cpus(device: str, frames: dict[str, np.ndarray]) -> None:
    config = load_config(ShardsConfig, "shards/pairs.yaml").pairs
    for picture in frames.values():
        image = to_device(picture, device)
        assert (grey(image) == grey(picture)).all()
        assert spread(image) == spread(picture)
        assert all((a == b).all() for a, b in zip(grey_rim(image), grey_rim(picture), strict=True))
        for pixels in (config.changed_pixels, config.changed_pixels + 1):
            other = picture.copy()
            other[50, 20 : 20 + pixels] ^= 64
            assert changed(image, to_device(other, device), config) == changed(picture, other, config)
    for matrix in MATRICES:
        assert (to_host(as_displayed(image, matrix)) == as_displayed(picture, matrix)).all()


def test_faces_are_found_in_frames_on_a_device(device: str) -> None:
    """Also where the frame is shrunk first, and where a face touches its border."""
    config = load_config(ShardsConfig, "shards/pairs.yaml", ["faces.long_side=300"]).faces
    detector, reference = FaceDetector(config, device), FaceDetector(config)
    for picture in (astronaut(), np.ascontiguousarray(astronaut()[80:200, 190:330])):
        (ours,), (theirs,) = detector.detect([to_device(picture, device)]), reference.detect([picture])
        assert len(ours) == len(theirs) > 0
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a.box, b.box, atol=1.5)  # a grey level of a shrunk frame


def test_a_decoder_on_the_cpu_hands_over_on_the_device(tmp_path: Path, device: str) -> None:
    path = write_clip(tmp_path / "a.mp4", counter_frames(31), rotation=90)
    source, plain = OnDevice(PyAvSource(), device), PyAvSource()
    for ours, theirs in zip(source.read(path, every=7), plain.read(path, every=7), strict=True):
        assert (ours.index, ours.time, ours.image.device.type) == (theirs.index, theirs.time, device)
        assert (to_host(ours.image) == theirs.image).all()
    config = load_config(ShardsConfig, "shards/pairs.yaml").pairs
    shifted = write_clip(tmp_path / "b.mp4", counter_frames(40)[2:], rotation=90)
    pairs = list(pair_frames(path, shifted, [5, 10, 30], config, source))
    for paired, expected in zip(pairs, pair_frames(path, shifted, [5, 10, 30], config), strict=True):
        assert (paired.fake_index, paired.difference) == (expected.fake_index, expected.difference)
        assert (paired.geometry, paired.fake_size) == (expected.geometry, expected.fake_size)
        assert (to_host(paired.fake) == expected.fake).all()
    assert [paired.fake_index for paired in pairs] == [3, 8, 28]
    frames = source.decode(path)
    assert read_counter(np.rot90(to_host(next(frames).frame().image), -1)) == 0
    frames.close()


def test_a_gpu_gets_all_frames_on_it() -> None:
    """Which decoder it is, that is decided as before."""
    config = VideoConfig(device="cuda", decoder="pyav")
    source = family_source(config, [])
    assert isinstance(source, OnDevice)
    assert (source.name, source.device, source.to) == ("pyav", "cpu", "cuda")
    assert type(family_source(VideoConfig(), [])) is PyAvSource


def test_dali_hands_its_frames_over_by_dlpack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With DALI's CPU decoder for the GPU's: tensors come, turned as the clip says, with the same pixels."""
    pytest.importorskip("nvidia.dali")
    from mrigan.video import dali

    waited: list[bool] = []
    taken = dali._taken
    path = write_clip(tmp_path / "a.mov", counter_frames(23), codec="mjpeg", pix_fmt="yuvj420p", rotation=90)
    expected = [frame.image for frame in dali.DaliSource("cpu").read(path, every=4)]
    stream = SimpleNamespace(synchronize=lambda: waited.append(True))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: stream)
    monkeypatch.setattr(dali, "_taken", lambda out, device: taken(out, "cuda"))
    monkeypatch.setattr(dali, "CHUNK", 3 * 3 * 192 * 128)  # two parts
    found = [frame.image for frame in dali.DaliSource("cpu").read(path, every=4)]
    assert len(waited) == 2
    assert all(isinstance(image, torch.Tensor) for image in found)
    assert all((to_host(ours) == theirs).all() for ours, theirs in zip(found, expected, strict=True))
