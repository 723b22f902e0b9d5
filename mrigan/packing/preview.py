"""`mrigan shards preview`: what a set will show, before it is built.

Contact sheets of the recipe's methods on one frame of the catalog's own videos, and of some families' pairs with their
MRIs as they would be stored.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from mrigan.catalog import Catalog, Family
from mrigan.config import ShardsConfig
from mrigan.errors import CatalogError, ConfigError, InputError
from mrigan.imaging.distraction import SHAPE_SIZE
from mrigan.imaging.methods import Die, FixedDie
from mrigan.imaging.recipe import draw_step
from mrigan.imaging.treatment import METHODS, Step
from mrigan.outputs import PICTURE, refuse_foreign
from mrigan.packing.sheet import Cell, marked, write_sheet
from mrigan.packing.still_families import is_still
from mrigan.packing.treated import Treated
from mrigan.video import (
    Detection,
    Face,
    FaceDetector,
    FakeClip,
    FakeStill,
    Frame,
    Geometry,
    Treatment,
    cut_face,
    detector_of,
    follow,
    is_picture,
    read_frames,
    read_still,
)
from mrigan.video.landmarks import FaceMesh

BLENDS = "self-blends"
log = logging.getLogger(__name__)

SHEETS = ("noises", "augmentations", "distractions", "pairs", BLENDS)
MAX_TRIES = 50  # families in which a face is looked for
LATER = (0, 30, 60)  # frames that show how a distraction moves


@dataclass(frozen=True)
class PreviewFace:
    """A family's frame that shows a face."""

    family: Family
    treated: Treated
    frame: Frame
    face: Face


def write_preview(
    catalog: Catalog, config: ShardsConfig, out: str | Path, families: int = 4, force: bool = False
) -> list[Path]:
    """Write the sheets into the folder `out`.

    Args:
        families: shown with their pairs; treated and untreated ones take turns.
        force: replace pictures that no preview wrote.

    Raises:
        OutputError: a picture of the same name is there that no preview wrote.
        CatalogError: no face was found in the originals of the first families.
    """
    folder = Path(out)
    for name in SHEETS:
        refuse_foreign(folder / f"{name}.png", PICTURE, force)
    folder.mkdir(parents=True, exist_ok=True)
    seen = list(islice(_look(catalog, config), families))
    if not seen:
        raise CatalogError(
            f"no face was found in the originals of the first {MAX_TRIES} families",
            fix="see what a build says of them, or find smaller faces: faces.long_side=0",
        )
    plain = next((s for s in seen if s.family.fakes), seen[0])
    if plain.treated.after:  # its face was found in the treated frame
        face = _largest(detector_of(config.faces), plain.frame, plain.frame.image) or plain.face
        plain = PreviewFace(plain.family, plain.treated, plain.frame, face)
    sheets = {
        "noises": ("Noise, at native resolution", _noises(plain)),
        "augmentations": (
            "Augmentation at the ends of its range; box and points follow",
            _augmentations(plain),
        ),
        "distractions": ("Distraction, in three frames", _distractions(plain)),
        "pairs": ("Pairs as they are stored", [row for s in seen for row in _pairs(catalog, config, s)]),
    }
    if config.faces.landmarks == "mesh" and (rows := _blends(seen, config)):
        sheets[BLENDS] = ("Self-blends, as training makes them", rows)
    for name, (title, rows) in sheets.items():
        write_sheet(folder / f"{name}.png", title, rows, (320, 240) if name in SHEETS[:3] else (256, 256))
    return [folder / f"{name}.png" for name in sheets]


def _look(catalog: Catalog, config: ShardsConfig) -> Iterator[PreviewFace]:
    """Families in a seeded order, treated and untreated ones in turns, with a frame that shows a face."""
    detector = detector_of(config.faces)
    families = [family for family in catalog.families() if family.original is not None]
    families.sort(key=lambda f: hashlib.sha256(f"{config.pack.seed} {f.id}".encode()).digest())
    every = [(family, Treated.of(family, config, lambda _: nullcontext())) for family in families]
    treated = [pair for pair in every if pair[1].treatment]
    plain = [pair for pair in every if not pair[1].treatment]
    turns = [pair for both in zip(treated, plain, strict=False) for pair in both]
    turns += treated[len(plain) :] + plain[len(treated) :]
    for family, how in turns[:MAX_TRIES]:
        assert family.original is not None
        try:
            frames = _some_frames(catalog.path(family.original), config.faces.every)
        except InputError:
            continue  # a build reports the reason
        for frame in frames:
            face = _largest(detector, frame, how.image(frame) if how.detected else frame.image)
            if face is not None and how.face(face, frame.image) is not None:
                yield PreviewFace(family, how, frame, face)
                break


def _some_frames(path: Path, every: int) -> list[Frame]:
    """The second, third and first of the frames that are sampled: fades and title cards come first."""
    if is_picture(str(path)):
        return [read_still(path)]
    frames = list(read_frames(path, indices=[0, every, 2 * every]))
    return frames[1:] + frames[:1]


def _largest(detector: FaceDetector, frame: Frame, image: np.ndarray) -> Face | None:
    faces: list[Detection] = detector.detect([image])[0]
    return Face(frame.index, frame.time, 0, faces[0].box, faces[0].prob, faces[0].points) if faces else None


def _noises(seen: PreviewFace) -> list[list[Cell]]:
    image, (x0, y0, x1, y1) = seen.frame.image, seen.face.box
    h, w = image.shape[:2]
    left, upper = (int(min(max((a + b - part) / 2, 0), max(whole - part, 0)))
                   for a, b, part, whole in ((x0, x1, 320, w), (y0, y1, 240, h)))  # fmt: skip
    cells = [Cell(image, f"as decoded, {seen.family.id}")]
    for name in METHODS["noise"]:
        step = draw_step("noise", name, Die(0, seen.family.id))
        cells.append(Cell(_alone(step, seen).apply(image, 0), _described(step)))
    return _rows([Cell(c.image[upper : upper + 240, left : left + 320], c.caption) for c in cells], 4)


def _augmentations(seen: PreviewFace) -> list[list[Cell]]:
    image = seen.frame.image
    size = image.shape[1], image.shape[0]
    cells = [Cell(marked(image, seen.face.box, seen.face.points), f"as decoded, {size[0]} x {size[1]}")]
    for name in METHODS["augmentation"]:
        low, high = (draw_step("augmentation", name, FixedDie(number)) for number in (0, 1))
        for step in (low,) if low == high else (low, high):
            treatment = _alone(step, seen)
            picture, moved = treatment.apply(image, 0), treatment.move(seen.face.box, seen.face.points, size)
            cells.append(Cell(marked(picture, *moved) if moved else picture, _described(step)))
    return _rows(cells, 4)


def _distractions(seen: PreviewFace) -> list[list[Cell]]:
    rows = []
    for number, name in enumerate(METHODS["distraction"]):
        step = draw_step("distraction", name, Die(number, seen.family.id))
        if "size" in step.settings:  # the smallest of them are a dot
            step = replace(step, settings={**step.settings, "size": max(SHAPE_SIZE)})
        treatment, image = _alone(step, seen), seen.frame.image
        pictures = {frame: treatment.apply(image, frame) for frame in LATER}
        if name.startswith("spontaneous"):
            shown = ((frame, treatment.apply(image, frame)) for frame in range(1000))
            pictures = dict(islice(((frame, picture) for frame, picture in shown if picture is not image), len(LATER)))
        rows.append([Cell(picture, f"{_described(step)}\nframe {frame}") for frame, picture in pictures.items()])
    return rows


def _pairs(catalog: Catalog, config: ShardsConfig, seen: PreviewFace) -> Iterator[list[Cell]]:
    """A row for the original, or for each of at most two fakes: both frames with the box, both faces, the MRI."""
    original, treated, frame = seen.family.original, seen.treated, seen.frame
    assert original is not None
    what = treated.treatment
    how = ", ".join(_described(step, short=True) for step in what.steps) if what else "as decoded"

    def cut(image: np.ndarray, box: Sequence[float]) -> np.ndarray:
        return cut_face(image, box, config.faces)

    image, face = treated.image(frame), treated.face(seen.face, frame.image)
    assert face is not None
    real = Cell(marked(image, face.box, face.points), f"{original.id}\nframe {frame.index}: {how}")
    shown = 0
    still = is_still(catalog, original)
    fakes = [fake for fake in seen.family.fakes if is_still(catalog, fake) == still][:2]
    if fakes:
        paths = [catalog.path(fake) for fake in fakes]
        whole = treated.boxes(seen.face.box, Geometry((frame.image.shape[1], frame.image.shape[0])), frame)[0]
        stills: Sequence[FakeClip | FakeStill]
        stills = [FakeStill(path, config.pairs, [whole] if whole else []) for path in paths]
        with nullcontext(stills) if still else follow(paths, config.pairs, [frame.index]) as clips:
            for fake, clip in zip(fakes, clips, strict=True):
                paired = clip.pair(frame)
                box = treated.boxes(seen.face.box, paired.geometry, frame)[1] if paired.geometry else None
                if box is None:
                    continue
                original_image, fake_image = treated.pair(frame, paired)
                faces = cut(original_image, box), cut(fake_image, box)
                clean = treated.mri_pair(frame, paired)
                mri = _mri(*((cut(clean[0], box), cut(clean[1], box)) if clean else faces), config)
                shown += 1
                yield [real, Cell(marked(fake_image, box), f"{fake.id}\nborder differs by {paired.difference:.1f}"),
                       Cell(faces[0], "the original's face"), Cell(faces[1], "the fake's face: stored"),
                       Cell(mri, f"its MRI ({config.mri.metric}): stored\nmean {mri.mean():.1f} of 255")]  # fmt: skip
    if not shown:
        yield [real, Cell(cut(image, face.box), "the real face: stored"),
               Cell(np.zeros((config.faces.size,) * 2 + (3,), np.uint8), "its MRI: black, stored")]  # fmt: skip


def _blends(seen: Sequence[PreviewFace], config: ShardsConfig) -> list[list[Cell]]:
    """Rows of self-blends of each family's original; none if the set is not made for them."""
    from mrigan.mri.self_blends import PairRecipe  # here, because it imports torch
    from mrigan.packing.preview_blends import blend_rows

    try:
        PairRecipe().check(config.faces)
    except ConfigError as error:
        log.warning("no sheet of self-blends: %s", error.what)
        return []
    mesh, rows = FaceMesh(), list[list[Cell]]()
    for each in seen:
        face = each.treated.face(each.face, each.frame.image)
        assert face is not None
        image = np.ascontiguousarray(each.treated.image(each.frame))
        rows += blend_rows(each.family.id, image, face.box, config, mesh)
    return rows


def _mri(original: np.ndarray, fake: np.ndarray, config: ShardsConfig) -> np.ndarray:
    import torch

    from mrigan.mri import mri_image

    a, b = (torch.from_numpy(face).permute(2, 0, 1)[None] for face in (original, fake))
    image = mri_image(a, b, config.mri.metric, weights=config.mri.weights)[0]
    return np.asarray(image.round().to(torch.uint8).permute(1, 2, 0).numpy())


def _alone(step: Step, seen: PreviewFace) -> Treatment:
    return Treatment(0, seen.family.id, (step,))


def _described(step: Step, *, short: bool = False) -> str:
    """A step in words."""
    name = step.name.replace("_", " ")
    hidden = {"start", "colour", "text", "scale", "thickness", "shape", "fraction"} if short else {"start"}
    values = [f"{key} {_value(value)}" for key, value in step.settings.items() if key not in hidden]
    return f"{name}: {', '.join(values)}" if values else name


def _value(value: object) -> str:
    if isinstance(value, list):
        return " x ".join(str(v) for v in value)
    return f"{value:.2g}" if isinstance(value, float) else str(value)


def _rows(cells: list[Cell], width: int) -> list[list[Cell]]:
    return [cells[i : i + width] for i in range(0, len(cells), width)]
