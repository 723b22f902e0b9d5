"""Stills of fakes with the stills that they were made of: paired where they show one picture, and only there."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage.metrics import structural_similarity

from mrigan.catalog import Catalog, Clip, clip_id, write_catalog
from mrigan.config import PairsConfig
from mrigan.errors import CatalogError
from mrigan.imaging.encoding import decode, encode
from mrigan.packing import build_shards, plan_shards, read_rows, verify_shards
from mrigan.packing.preview import write_preview
from mrigan.video import Frame, crop, resize_face
from mrigan.video.still_pairs import FakeStill
from tests.clips import write_clip
from tests.packing.conftest import config
from tests.packing.sets import samples
from tests.packing.videos import portraits

ORIENTATION = 0x0112
ORIGINAL = clip_id("toy", "original", "", "plain")


def pictures() -> tuple[np.ndarray, np.ndarray]:
    """A portrait of 320 × 240 and a forged one."""
    collins = portraits()[0]
    return collins.frames(1)[0], collins.frames(1, forged=True)[0]


def save(image: np.ndarray, path: Path, **options: object) -> None:
    Image.fromarray(image).save(path, **options)


def families(folder: Path) -> Path:
    """Original → fakes of all formats, sizes and faults; the catalog's file."""
    folder.mkdir()
    plain, forged = pictures()
    save(plain, folder / "plain.png")
    turned = Image.Exif()
    turned[ORIENTATION] = 6
    Image.fromarray(forged).transpose(Image.Transpose.ROTATE_90).save(folder / "exif.jpg", exif=turned, quality=97,
                                                                      subsampling=0)  # fmt: skip
    save(forged, folder / "png.png")
    save(forged, folder / "webp.webp", lossless=True)
    save(forged, folder / "jpeg.JPG", quality=90, subsampling=0)
    save(forged, folder / "no_suffix", format="JPEG", quality=95, subsampling=0)
    save(cv2.resize(forged, (640, 480), interpolation=cv2.INTER_LINEAR), folder / "larger.png")
    save(cv2.resize(forged, (240, 180), interpolation=cv2.INTER_AREA), folder / "smaller.png")
    save(np.ascontiguousarray(forged[10:-10, 20:-4]), folder / "window.png")
    save(plain, folder / "same.png")
    collins = portraits()[0]
    save(collins.frames(1, forged=True, shift=2)[0], folder / "shifted.png")
    save(portraits()[1].frames(1, forged=True)[0], folder / "hopper.png")
    (folder / "cut.png").write_bytes((folder / "png.png").read_bytes()[:4000])
    clips = [Clip("toy", "original", "", "plain", "plain.png", "real", split="train")]
    clips += [Clip("toy", path.stem, "", "plain", path.name, "fake", original=ORIGINAL, split="train")
              for path in sorted(folder.iterdir()) if path.name != "plain.png"]  # fmt: skip
    write_catalog(Catalog(folder, clips), folder.parent / "catalog.parquet")
    return folder.parent / "catalog.parquet"


PAIRED = ["exif", "jpeg", "larger", "no_suffix", "png", "smaller", "webp", "window"]


def test_stills_are_paired_with_their_originals(tmp_path: Path) -> None:
    catalog = families(tmp_path / "stills")
    plan_shards(catalog, config("pack.mri_format=png"), tmp_path / "shards")
    build_shards(tmp_path / "shards", workers=1)
    assert verify_shards(tmp_path / "shards") == []
    rows = read_rows(tmp_path / "shards" / "samples.parquet").to_pylist()
    outcome = {row["method"]: (row["status"], row["reason"]) for row in rows}
    assert [name for name, (status, _) in sorted(outcome.items()) if status == "ok"] == sorted([*PAIRED, "original"])
    assert outcome["same"] == ("dropped", "unchanged")
    assert outcome["shifted"] == outcome["hopper"] == ("dropped", "misaligned")
    assert outcome["cut"][0] == "failed"
    assert outcome["cut"][1].startswith("unreadable: not a readable picture")
    assert len(rows) == len(outcome)


def test_the_mri_is_that_of_the_two_stills(tmp_path: Path) -> None:
    catalog = families(tmp_path / "stills")
    plain, forged = pictures()
    found = samples(catalog, tmp_path / "shards", config("pack.mri_format=png"))
    seen = Counter(about["json"]["clip"].split("/")[1] for about in found.values())
    assert seen == Counter([*PAIRED, "original"])
    for sample in found.values():
        about = sample["json"]
        method = about["clip"].split("/")[1]
        assert (about["frame"], about["time"], about["person"]) == (0, 0.0, 0)
        if method not in ("png", "webp"):
            continue
        ours, theirs = (resize_face(crop(image, about["box"], 0.1), 256, "area") for image in (plain, forged))
        _, similar = structural_similarity(ours, theirs, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
                                           full=True, channel_axis=-1, data_range=255)  # fmt: skip
        mri = sample["mri.png"][..., ::-1]
        assert np.abs(np.clip((1 - similar) * 255, 0, 255) - mri).max() < 1.01
        assert np.array_equal(decode(encode(theirs, "jpg", 95)), sample["face.jpg"][..., ::-1])


def test_without_mris_every_still_that_can_be_read_is_stored(tmp_path: Path) -> None:
    catalog = families(tmp_path / "stills")
    found = samples(catalog, tmp_path / "shards", config("pack.kind=faces"))
    methods = Counter(sample["json"]["clip"].split("/")[1] for sample in found.values())
    assert methods == Counter([*PAIRED, "original", "shifted", "hopper"])


@pytest.mark.parametrize("still", [True, False])
def test_a_still_and_a_video_are_refused_in_words_at_planning(tmp_path: Path, still: bool) -> None:
    plain, forged = pictures()
    names = ("plain.png", "forged.mp4") if still else ("plain.mp4", "forged.png")
    for name, image in zip(names, (plain, forged), strict=True):
        if name.endswith("png"):
            save(image, tmp_path / name)
        else:
            write_clip(tmp_path / name, [image] * 12)
    clips = [Clip("toy", "original", "", "plain", names[0], "real", split="train"),
             Clip("toy", "swap", "", "plain", names[1], "fake", original=ORIGINAL, split="train")]  # fmt: skip
    write_catalog(Catalog(tmp_path, clips), tmp_path / "catalog.parquet")
    kind = "video of the still plain.png" if still else "still of the video plain.mp4"
    with pytest.raises(CatalogError, match=f"{names[1]}, a {kind}") as error:
        plan_shards(tmp_path / "catalog.parquet", config(), tmp_path / "shards")
    assert "shards/faces.yaml" in str(error.value.fix)
    found = samples(tmp_path / "catalog.parquet", tmp_path / "faces", config("pack.kind=faces"))
    frames = Counter(sample["json"]["label"] for sample in found.values())
    assert frames == {"real": 1 if still else 2, "fake": 2 if still else 1}  # each is searched by itself


def test_the_preview_shows_a_pair_of_stills(tmp_path: Path) -> None:
    folder = tmp_path / "stills"
    folder.mkdir()
    plain, forged = pictures()
    save(plain, folder / "plain.png")
    save(forged, folder / "forged.png")
    clips = [Clip("toy", "original", "", "plain", "plain.png", "real", split="train"),
             Clip("toy", "swap", "", "plain", "forged.png", "fake", original=ORIGINAL, split="train")]  # fmt: skip
    catalog = Catalog(folder, clips)
    write_preview(catalog, config(), tmp_path / "preview", families=1)
    sheet = cv2.imread(str(tmp_path / "preview" / "pairs.png"))
    assert sheet.shape[1] > 4 * 256  # frames, both faces and the MRI


@pytest.mark.parametrize("noise", [0, 4])
@pytest.mark.parametrize("moved", [0, 1, 2, 3, 6])
def test_on_a_plain_wall_the_border_says_nothing_and_the_outline_tells(tmp_path: Path, moved: int, noise: int) -> None:
    """A studio: every border is alike, wherever the head is."""
    plain, forged = (image.astype(np.float64) for image in pictures())
    h, w = plain.shape[:2]
    y, x = np.mgrid[:h, :w]
    middle = np.clip(4 - 4 * (((x - w / 2) / (w * 0.37)) ** 2 + ((y - h / 2) / (h * 0.37)) ** 2), 0, 1)[..., None]
    studio = [image * middle + 128 * (1 - middle) for image in (plain, np.roll(forged, moved, axis=1))]
    if moved:  # the light at the wall stays where it is
        mask = np.roll(middle, moved, axis=1)
        studio[1] = np.roll(forged, moved, axis=1) * mask + 128 * (1 - mask)
    rng = np.random.default_rng(moved)
    original, fake = (np.clip(s + rng.normal(0, noise, s.shape), 0, 255).astype(np.uint8) for s in studio)
    save(fake, tmp_path / "fake.png")
    face = (110, 50, 197, 159)
    found = FakeStill(tmp_path / "fake.png", PairsConfig(border_difference=20), [face]).pair(Frame(0, 0.0, original))
    assert (found.reason == "") == (moved == 0)
