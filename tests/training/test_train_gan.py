"""A run of MRI-GAN from the outside: its folder, its numbers, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import structural_similarity

from mrigan.data import ShardSet
from mrigan.data.decode import decode
from mrigan.engine.distributed import World
from mrigan.errors import CheckpointError, ConfigError, MriganError, ShardError
from mrigan.models import generator_info, load_generator
from mrigan.scoring.chosen_faces import choose_faces, class_mean
from mrigan.training.callbacks.guard import DivergedError
from mrigan.training.task import StepResult
from tests.data.shards import make_samples, write_shards
from tests.training.runs import (
    ROOT,
    STEPS,
    finish,
    gan_config,
    hashes,
    logged,
    run_gan,
    start_gan,
    state,
    status,
    wait_for_step,
    write_tiny_shards,
)


def test_the_folder_of_a_finished_run(undisturbed: Path) -> None:
    assert status(undisturbed)["state"] == "finished"
    assert sorted(p.name for p in (undisturbed / "checkpoints").iterdir() if p.is_dir())[-1] == f"step-{STEPS:06d}"
    # Evaluated every 8 steps and at each checkpoint (every 5 steps, and the last)
    assert sorted(logged(undisturbed, "val/ssim")) == [5, 8, 10, 15, 16]
    assert {p.name for p in (undisturbed / "pictures").iterdir()} == {f"step-{s:06d}.png" for s in (5, 8, 10, 15, 16)}
    losses = logged(undisturbed)
    assert sorted(losses) == list(range(1, STEPS + 1))
    assert np.mean([losses[s] for s in range(12, 17)]) < np.mean([losses[s] for s in range(1, 6)])
    assert all(0 <= wait <= 1 for wait in logged(undisturbed, "data_wait").values())


def test_the_best_generator_is_the_model(undisturbed: Path, shards: Path) -> None:
    """Best of the checkpoints by the mean SSIM of the held-out faces, which scikit-image confirms."""
    scores = logged(undisturbed, "val/ssim")
    best = json.loads((undisturbed / "checkpoints" / "best.json").read_bytes())
    assert best["step"] == max((5, 10, 15, 16), key=lambda step: scores[step])
    model = undisturbed / "model" / "generator.safetensors"
    info = generator_info(model)
    assert (info["step"], info["ssim"]) == (best["step"], best["score"])
    G = load_generator(model)
    at_best = load_generator(undisturbed / "checkpoints" / f"step-{best['step']:06d}" / "generator.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(G.state_dict().values(), at_best.state_dict().values(), strict=True))
    held_out = ShardSet.open([str(shards)], "val", "pairs")
    indices: dict[int, list[float]] = {0: [], 1: []}
    for i in range(len(held_out)):  # fewer than 256: all
        face, true, _ = (decode(part) if k < 2 and part else part for k, part in enumerate(held_out.read(int(i))))
        x = torch.from_numpy(face.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
        with torch.no_grad():
            predicted = ((G(x) + 1) * 127.5).round().clamp(0, 255).byte()[0].permute(1, 2, 0).numpy()
        ssim = structural_similarity(true, predicted, gaussian_weights=True, sigma=1.5, data_range=255,
                                     use_sample_covariance=False, channel_axis=-1)  # fmt: skip
        indices[held_out.labels[i]].append(ssim)
    assert [len(indices[label]) for label in (0, 1)] == [6, 9]
    assert best["score"] == pytest.approx(np.mean([np.mean(each) for each in indices.values()]), abs=1e-3)
    black = logged(undisturbed, "val/ssim_black")[best["step"]]
    assert 0.5 < black < 1  # the reals' MRIs are black, the fakes' are not
    assert info["ssim_black"] == pytest.approx(black)


def test_the_picture_grid_shows_eight_triples(undisturbed: Path) -> None:
    with Image.open(undisturbed / "pictures" / f"step-{STEPS:06d}.png") as grid:
        assert grid.size == (12 + 2 * (3 * 128 + 12), 28 + 4 * (16 + 128 + 12))  # 64 px, shown at twice their size
        pixels = np.asarray(grid)
    for row in range(4):  # fakes on the left, reals on the right; the true MRI is the second picture of three
        true = pixels[38 + row * 156 : 38 + row * 156 + 128]
        assert true[:, 12 + 128 : 12 + 256].mean() > 20
        assert true[:, 408 + 128 : 408 + 256].max() <= 8  # black


def test_held_out_faces_are_half_fake(shards: Path) -> None:
    held_out = ShardSet.open([str(shards)], "val", "pairs")
    assert held_out.labels[choose_faces(held_out, 8)].tolist() == [1] * 4 + [0] * 4
    assert len(choose_faces(held_out, 14)) == 14  # 6 reals, so 8 fakes
    assert sorted(choose_faces(held_out, 99)) == list(range(15))


def test_held_out_faces_come_from_as_many_families_as_there_are(tmp_path: Path) -> None:
    """A family gives a second face only when all others have given one, so that one long clip does not decide."""
    samples = make_samples(40, 40, split="val", size=16)
    families = {0: [12, 10, 10, 2, 2, 2, 1, 1], 1: [33, 3, 2, 2]}  # faces a family
    for label, sizes in families.items():
        rows = [row for row in samples if row.label == ("fake" if label else "real")]
        for row, family in zip(rows, np.repeat(np.arange(len(sizes)), sizes), strict=True):
            row.row["family"] = f"{label} family {family}"
    write_shards(tmp_path / "shards", samples)
    held_out = ShardSet.open([str(tmp_path / "shards")], "val")
    found = [held_out.rows["family"][int(i)].as_py() for i in choose_faces(held_out, 24)]
    counts = {name: found.count(name) for name in dict.fromkeys(found)}
    reals = sorted((n for name, n in counts.items() if name[0] == "0"), reverse=True)
    fakes = sorted((n for name, n in counts.items() if name[0] == "1"), reverse=True)
    assert (reals, fakes) == ([2, 2, 2, 2, 1, 1, 1, 1], [5, 3, 2, 2])
    again = ShardSet.open([str(tmp_path / "shards")], "val")
    assert choose_faces(held_out, 24).tolist() == choose_faces(again, 24).tolist()


def test_the_best_g_is_chosen_by_at_least_256_faces(tmp_path: Path) -> None:
    from mrigan.config import GanConfig, load_config

    assert load_config(GanConfig, "gan/paper.yaml", ["run.dir=x"]).eval.faces >= 256
    with pytest.raises(ConfigError, match="at least 256"):
        load_config(GanConfig, "gan/paper.yaml", ["run.dir=x", "eval.faces=16"])


def test_black_gains_nothing_from_many_reals() -> None:
    """Black is right for a real face: were the faces averaged together, a set of reals would make it win."""
    ssim, fake = torch.tensor([1.0] * 90 + [0.4] * 10), torch.tensor([False] * 90 + [True] * 10)
    assert class_mean(ssim, fake) == pytest.approx(0.7)
    assert class_mean(ssim[:90], fake[:90]) == pytest.approx(1.0)


def test_bf16_runs(shards: Path, undisturbed: Path, tmp_path: Path) -> None:
    run_gan(shards, tmp_path, "train.precision=bf16", "train.steps=2")
    for step in (1, 2):
        assert logged(tmp_path)[step] == pytest.approx(logged(undisturbed)[step], rel=0.05)
        assert logged(tmp_path)[step] != logged(undisturbed)[step]


def test_other_settings_are_refused_and_listed(shards: Path, undisturbed: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(undisturbed, run)
    with pytest.raises(CheckpointError) as refused:
        run_gan(shards, run, "optim.lr=0.001", "train.seed=4", "eval.every=3", "data.workers=0")
    assert "optim.lr: 0.0002 → 0.001" in str(refused.value)
    assert "train.seed: 0 → 4" in str(refused.value)
    assert "eval.every" not in str(refused.value)
    assert "--new" in str(refused.value)
    other = write_tiny_shards(tmp_path / "other")
    with pytest.raises(CheckpointError, match="data_hash"):
        run_gan(_without_one(other), run)
    assert hashes(run) == hashes(undisturbed)


def _without_one(folder: Path) -> Path:
    """The same shards with one sample fewer."""
    import hashlib

    import pyarrow.parquet as pq

    table = pq.read_table(folder / "samples.parquet")
    pq.write_table(table.slice(1), folder / "samples.parquet")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["samples_sha256"] = hashlib.sha256((folder / "samples.parquet").read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_moved_shards_are_the_same_shards(shards: Path, undisturbed: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(undisturbed, run)
    shutil.copytree(shards, tmp_path / "moved")
    run_gan(tmp_path / "moved", run)


def test_new_moves_the_old_run_aside(shards: Path, undisturbed: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(undisturbed, run)
    run_gan(shards, run, "train.steps=1", "optim.lr=0.001", new=True)
    run_gan(shards, run, "train.steps=1", new=True)
    assert hashes(tmp_path / "run.old-1") == hashes(undisturbed)
    assert state(tmp_path / "run.old-2", 1)["config"]["optim"]["lr"] == 0.001
    assert state(run, 1)["step"] == 1


def test_new_does_not_move_what_is_no_run(shards: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(CheckpointError, match="not a run"):
        run_gan(shards, tmp_path, new=True)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_two_jobs_never_share_a_folder(shards: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start_gan(shards, run, "train.steps=100000", "data.workers=0")
    wait_for_step(run, 1, process)
    with pytest.raises(CheckpointError, match="another job"):
        run_gan(shards, run, "train.steps=100000", "data.workers=0")
    process.kill()
    finish(process)
    assert status(run)["state"] == "running"


@pytest.mark.parametrize(("overrides", "expected"), [
    (["train.steps=0"], "length of the training"),
    (["data.shards="], "data.shards"),
    (["train.device=cuda"], "GPU"),
    (["model.size=48"], "power of two"),
], ids=["no length", "no shards", "no GPU", "odd size"])  # fmt: skip
def test_wrong_settings(shards: Path, tmp_path: Path, overrides: list[str], expected: str) -> None:
    if "train.device=cuda" in overrides and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(MriganError, match=expected):
        run_gan(shards, tmp_path / "run", *overrides)


def test_a_batch_that_the_ranks_cannot_share(shards: Path, tmp_path: Path) -> None:
    from mrigan.training.data import TrainingData
    from mrigan.training.gan import GanTask

    task = GanTask(gan_config(shards, tmp_path, "train.batch_size=7"))
    with pytest.raises(ConfigError, match="use a multiple of 2"):
        TrainingData.open(task, World(0, 2, 0, torch.device("cpu")))


def test_errors_of_the_command_line(shards: Path, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from mrigan.cli.app import app

    given = ["train", "gan", "gan/cpu-smoke.yaml", f"run.dir={tmp_path / 'run'}"]
    unknown = CliRunner().invoke(app, [*given, f"data.shards={shards}", "optim.learning_rate=1"])
    assert unknown.exit_code == 2
    assert "did you mean" in unknown.output
    wrong = CliRunner().invoke(app, [*given, f"data.shards={shards}", "train.steps=many"])
    assert wrong.exit_code == 2
    missing = CliRunner().invoke(app, [*given, f"data.shards={tmp_path / 'none'}"])
    assert missing.exit_code == 1
    assert not (tmp_path / "run").exists()  # nothing is written before all is known to be right


def test_faces_without_mris_are_refused(tmp_path: Path) -> None:
    faces = write_tiny_shards(tmp_path / "faces", pairs=False)
    with pytest.raises(ShardError, match="no MRIs"):
        run_gan(faces, tmp_path / "run")


def test_a_missing_split_is_named(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(ShardError, match="'holdout'"):
        run_gan(shards, tmp_path / "run", "data.val_split=holdout")


def test_a_diverged_run_stops_and_keeps_its_last_sound_checkpoint(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mrigan.training import gan

    def broken(*args: object, **kwargs: object) -> StepResult:
        result = gan_step(*args, **kwargs)
        loss = result.losses["generator"] * (math.nan if args[2].step >= 6 else 1.0)
        return dataclasses.replace(result, losses={**result.losses, "generator": loss})

    gan_step = gan.gan_step
    monkeypatch.setattr(gan, "gan_step", broken)
    with pytest.raises(DivergedError, match="generator = nan"):
        run_gan(shards, tmp_path, "tracking.log_every=1000")
    assert status(tmp_path)["state"] == "failed"
    assert [p.name for p in (tmp_path / "checkpoints").glob("step-*")] == ["step-000005"]


def test_shipped_recipes_load_and_differ_as_the_papers_text_and_code_do() -> None:
    from mrigan.config import DetectorConfig, GanConfig, load_config

    paper, authors = (load_config(GanConfig, f"gan/{name}.yaml", ["run.dir=x"]) for name in ("paper", "authors"))
    assert (paper.loss.adversarial, paper.loss.per_root) == ("log", "image")
    assert (authors.loss.adversarial, authors.loss.per_root) == ("least_squares", "batch")
    assert (authors.train.batch_size, authors.optim.lr, authors.model.width) == (128, 2e-4, 64)
    for name in ("face", "mri"):
        detector = load_config(DetectorConfig, f"detector/{name}.yaml", ["run.dir=x"])
        assert (detector.optim.lr, detector.loss.smoothing, detector.data.input) == (1e-4, [0.05, 0.95], name)
    with pytest.raises(ConfigError):
        load_config(GanConfig, "gan/paper.yaml")  # run.dir has no default


def test_shipped_variants_differ_where_their_names_say() -> None:
    from mrigan.config import GanConfig, differences, load_config, to_dict

    paper = to_dict(load_config(GanConfig, "gan/paper.yaml", ["run.dir=x"]))
    changed = {}
    for path in (ROOT / "configs" / "gan").glob("*.yaml"):
        variant = to_dict(load_config(GanConfig, path, ["run.dir=x"]))
        changed[path.stem] = {line.partition(":")[0] for line in differences(paper, variant)}
    machine = {"train.precision", "engine.channels_last", "data.workers"}
    assert changed["paper-tau-0.5"] == changed["paper-tau-0.7"] == {"loss.tau"}
    assert changed["ddp-8"] == machine
    assert changed["zero2"] == machine | {"engine.name"}
    assert changed["h100"] == machine | {"engine.compile"}
    assert changed.keys() >= {"paper", "authors", "cpu-smoke", "demo"}
