"""`mrigan evaluate --gan RUN`: the curves of MRI-GAN's training, and what its generators draw, for several τ."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from markupsafe import Markup
from PIL import Image, ImageDraw, ImageFont

from mrigan.data import Batch, ShardSet, check_separate, eval_batches
from mrigan.engine.distributed import choose_device
from mrigan.evaluation.figures import draw
from mrigan.evaluation.page import templates
from mrigan.evaluation.training_curves import GanRun, curves_figure, read_run
from mrigan.files import atomic_write, write_text
from mrigan.models import load_generator, predict_mri
from mrigan.mri import ssim_index
from mrigan.scoring.chosen_faces import choose_faces
from mrigan.scoring.options import ScoringOptions
from mrigan.scoring.originals import find_originals

Row = tuple[str, list[torch.Tensor | None], list[float] | None]  # name, (3, S, S) uint8 each, SSIM indices
SAMPLES = 8
SIDE, LEFT, LINE = 128, 120, 18  # px
GENERATOR = Path("model", "generator.safetensors")


def report_gans(
    runs: Sequence[str | Path],
    shards: Sequence[str | Path],
    out: str | Path,
    options: ScoringOptions = ScoringOptions(),  # noqa: B008 (frozen)
) -> Path:
    """Write gan.html, figures/gan-curves.png and figures/mri-samples.png into `out`; returns the page.

    Args:
        runs: `run.dir`s of `mrigan train gan`. shards: folders of pairs, for the samples of the split.

    Raises:
        InputError: no run. ModelError: it has no finished generator. ShardError: the shards hold no pairs.
    """
    check_separate(shards)
    read, out = [read_run(run) for run in runs], Path(out)
    png, curves = draw(partial(curves_figure, read))
    with atomic_write(out / "figures" / "gan-curves.png") as file:
        file.write(png)
    picture = io.BytesIO()
    _samples(read, ShardSet.open(list(shards), options.split, "pairs"), choose_device(options.device)).save(
        picture, "png"
    )
    with atomic_write(out / "figures" / "mri-samples.png") as file:
        file.write(picture.getvalue())
    uri = "data:image/png;base64," + base64.b64encode(picture.getvalue()).decode()
    page = (
        templates().get_template("gan.html").render(runs=read, curves=Markup(curves), samples=uri, split=options.split)
    )
    write_text(out / "gan.html", page)
    return out / "gan.html"


def _samples(runs: Sequence[GanRun], shards: ShardSet, device: torch.device) -> Image.Image:
    """Figure 10's rows: faces, their originals, true MRIs, and each run's; a column a face, fakes first."""
    ids = [int(i) for i in choose_faces(shards, SAMPLES)]
    originals = find_originals(shards, ids)
    generators = [load_generator(run.folder / GENERATOR).to(device) for run in runs]
    size = generators[0].size
    batch = _read(shards, ids, size).to(device)
    assert batch.mri is not None
    there = [i for i in originals if i is not None]
    read = iter(_read(shards, there, size).face if there else ())
    rows: list[Row] = [
        ("face", list(batch.face), None),
        ("original", [None if i is None else next(read) for i in originals], None),
        ("true MRI", list(batch.mri), None),
    ]
    for run, G in zip(runs, generators, strict=True):
        predicted = (predict_mri(G, batch.face) * 255).round().to(torch.uint8)
        rows.append((run.name, list(predicted), ssim_index(batch.mri, predicted).cpu().tolist()))
    sheet = Image.new("RGB", (LEFT + len(ids) * SIDE, LINE + len(rows) * (SIDE + LINE)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for column, label in enumerate(batch.label.tolist()):
        pen.text((LEFT + column * SIDE + SIDE / 2, 2), "fake" if label else "real", "grey", font, anchor="ma")
    for row, (name, pictures, scores) in enumerate(rows):
        y = LINE + row * (SIDE + LINE)
        pen.multiline_text((4, y + SIDE / 2 - 12), name.replace(" (", "\n("), "black", font)
        for column, image in enumerate(pictures):
            x = LEFT + column * SIDE
            if image is None:
                pen.multiline_text((x + 8, y + SIDE / 2 - 12), "not in\nthese shards", "grey", font)
                continue
            shown = Image.fromarray(np.ascontiguousarray(image.permute(1, 2, 0).cpu().numpy()))
            sheet.paste(shown.resize((SIDE, SIDE), Image.Resampling.BOX), (x, y))
            if scores is not None:
                pen.text((x + SIDE / 2, y + SIDE + 2), f"{scores[column]:.2f}", "grey", font, anchor="ma")
    return sheet


def _read(shards: ShardSet, ids: Sequence[int], size: int) -> Batch:
    with eval_batches(shards, ids, len(ids), size=size, mri=True) as batches:
        return next(batches)
