"""The contact sheets: what they show, and how the command answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from mrigan.catalog import Catalog, Clip, read_catalog, write_catalog
from mrigan.cli.app import app
from mrigan.errors import CatalogError
from mrigan.packing.preview import write_preview
from mrigan.packing.sheet import BOX, Cell, marked, write_sheet
from tests.packing.conftest import Built, config

SHEETS = ["noises", "augmentations", "distractions", "pairs"]


def test_sheets_of_a_users_catalog(built: Built, tmp_path: Path) -> None:
    words = ["shards", "preview", str(built.catalog), "-o", str(tmp_path), "--config", "shards/pairs.yaml",
             "--families", "2", "recipe.share=0.5", "recipe.detect_on=augmented"]  # fmt: skip
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert [Path(line).stem for line in result.output.split()] == SHEETS
    sizes = {name: Image.open(tmp_path / f"{name}.png").size for name in SHEETS}
    assert sizes["noises"][0] == 10 + 4 * 330
    assert sizes["distractions"][0] == 10 + 3 * 330
    assert sizes["pairs"][0] == 10 + 5 * 266
    boxes = (np.asarray(Image.open(tmp_path / "augmentations.png").convert("RGB")) == BOX).all(axis=2)
    assert boxes.sum() > 12 * 300  # twelve pictures with a box each


def test_a_catalog_without_a_face_says_what_to_do(built: Built, tmp_path: Path) -> None:
    clips = [clip for clip in read_catalog(built.catalog).clips if clip.name in {"blank", "blank-swap", "broken"}]
    with pytest.raises(CatalogError, match="no face was found"):
        write_preview(Catalog(built.clips.root, clips), config(), tmp_path / "out")


@pytest.mark.parametrize(("margin", "sheets"), [(0.3, [*SHEETS, "self-blends"]), (0.1, SHEETS)])
def test_faces_with_landmarks_are_shown_blended(
    built: Built, tmp_path: Path, face_mesh: Path, margin: float, sheets: list[str]
) -> None:
    """Three pairs a face. The MRI is black where target and blend are alike, and not everywhere."""
    faces = replace(config().faces, landmarks="mesh", margin=margin)
    written = write_preview(read_catalog(built.catalog), replace(config(), faces=faces), tmp_path, families=1)
    assert [path.stem for path in written] == sheets
    if len(sheets) == len(SHEETS):
        return
    sheet = np.asarray(Image.open(tmp_path / "self-blends.png").convert("RGB"))
    assert sheet.shape[1] == 10 + 4 * 266
    drawn = set()
    for row in range(3):
        top = 44 + row * (256 + 2 * 17 + 10)
        target, blend, mri = (sheet[top : top + 256, 10 + n * 266 :][:, :256].astype(int) for n in (1, 2, 3))
        assert mri.mean() >= 1
        differs, forged = np.abs(target - blend), mri.max(axis=2)
        assert differs[forged > 60].mean() > 2 * differs[forged == 0].mean()
        drawn.add(mri.tobytes())
    assert len(drawn) == 3


def test_stills_are_shown_with_their_black_mri(tmp_path: Path) -> None:
    from skimage.data import astronaut

    Image.fromarray(astronaut()).save(tmp_path / "one.png")
    catalog = Catalog(tmp_path, [Clip("ffhq", "original", "", "one", "one.png", "real", split="train")])
    write_catalog(catalog, tmp_path / "catalog.parquet")
    write_preview(read_catalog(tmp_path / "catalog.parquet"), config(), tmp_path / "out")
    sheet = np.asarray(Image.open(tmp_path / "out" / "pairs.png").convert("RGB"))
    assert sheet.shape[1] == 10 + 3 * 266
    assert not sheet[44 : 44 + 256, 10 + 2 * 266 : 10 + 2 * 266 + 256].any()


def test_pictures_are_shrunk_and_never_enlarged(tmp_path: Path) -> None:
    red, blue = (np.full((h, w, 3), c, np.uint8) for h, w, c in ((500, 1000, (200, 0, 0)), (20, 30, (0, 0, 200))))
    write_sheet(tmp_path / "sheet.png", "title", [[Cell(red, "a\nb"), Cell(blue, "x" * 200)]], (100, 100))
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert (sheet == (200, 0, 0)).all(axis=2).sum() == 100 * 50
    assert (sheet == (0, 0, 200)).all(axis=2).sum() == 20 * 30
    assert sheet.shape[1] == 10 + 2 * 110
    assert (sheet[:, -8:] == 250).all()  # the long caption is cut


def test_a_box_is_drawn_in_a_copy() -> None:
    image = np.zeros((60, 80, 3), np.uint8)
    out = marked(image, (10.2, 20.4, 40.3, 50.1), [(20, 30), (30, 30)])
    assert not image.any()
    rows, columns = np.nonzero((out == BOX).all(axis=2))
    assert (columns.min(), rows.min(), columns.max(), rows.max()) == pytest.approx((10, 20, 40, 50), abs=1)
    assert (out[30, 20] == (255, 0, 0)).all()
