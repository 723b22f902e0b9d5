"""The library in a program of one's own: `mrigan.load_model`, `mrigan.detect`, `mrigan.mri_image`."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

import mrigan
from mrigan.detect import Judge, Options, Verdict, detect_paths
from mrigan.detect.inputs import expand
from mrigan.errors import ConfigError, InputError, ModelError, MriganError
from mrigan.models import load_bundle
from mrigan.sample import make_sample
from tests.builders import run_example


@pytest.fixture(scope="module")
def model(models: dict[str, Path]) -> mrigan.detect.Model:  # type: ignore[name-defined]
    return mrigan.load_model(models["mri"])


def faces(count: int, h: int = 90, w: int = 70) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, h, w, 3), np.uint8)


def test_faces_of_every_kind(model, models: dict[str, Path], clips: Path) -> None:  # type: ignore[no-untyped-def]
    given = faces(3)
    probs = model.predict(given)
    assert (probs.shape, probs.dtype) == ((3,), np.float32)
    assert ((probs > 0) & (probs < 1)).all()
    # The oracle: the networks themselves, on faces of the model's size brought to it by area (MTCNN's default step).
    small = np.stack([cv2.resize(face, (256, 256), interpolation=cv2.INTER_AREA) for face in faces(3, 512, 512)])
    bundle = load_bundle(models["mri"])
    oracle = bundle.predict(torch.from_numpy(small.transpose(0, 3, 1, 2).copy()))[0].numpy()
    np.testing.assert_allclose(model.predict(faces(3, 512, 512)), oracle, atol=1e-3)
    np.testing.assert_allclose(model.predict(list(given)), probs, atol=1e-6)
    np.testing.assert_allclose(model.predict(given[1]), probs[1:2], atol=1e-6)
    np.testing.assert_allclose(model.predict(torch.from_numpy(given)), probs, atol=1e-6)
    np.testing.assert_allclose(model.predict([Image.fromarray(face) for face in given]), probs, atol=1e-6)
    path = clips / "face.png"
    mixed = model.predict([path, str(path), np.asarray(Image.open(path).convert("RGB"))])
    assert mixed[0] == pytest.approx(mixed[2], abs=1e-6)
    [verdict] = mrigan.detect(path, model, cropped=True)
    assert verdict.faces[0].prob == pytest.approx(mixed[0], abs=1e-6)
    assert model.predict([]).shape == (0,)
    assert model.predict(np.zeros((0, 9, 9, 3), np.uint8)).shape == (0,)


def test_faces_that_are_none(model, clips: Path) -> None:  # type: ignore[no-untyped-def]
    for wrong, what in (
        (faces(2).astype(np.float32) / 255, "float32"),
        (faces(2).transpose(0, 3, 1, 2), "height × width × 3"),
        (faces(2)[..., :2], "90 × 70 × 2"),
        (faces(1)[:, :0], "0 × 70 × 3"),
        ([faces(1)], "1 × 90 × 70 × 3"),
        (7, "given as int"),
        ({"a": 1}, "given as dict"),
        ([None], "object"),
        ("no such file.png", "no such file"),
        ([clips / "one.mp4"], "picture"),
    ):
        with pytest.raises(InputError, match=what):
            model.predict(wrong)


def test_what_cannot_be_loaded(models: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        mrigan.load_model(tmp_path)
    with pytest.raises(ConfigError):
        mrigan.load_model(models["fake"], device="quantum")
    with pytest.raises(ConfigError):
        mrigan.load_model(models["fake"], precision="fp64")
    with pytest.raises(MriganError):
        mrigan.detect("a.mp4", models["fake"], rule="top")


def test_verdicts_have_types(clips: Path, models: dict[str, Path], capfd: pytest.CaptureFixture[str]) -> None:
    model = mrigan.load_model(models["fake"])
    assert (model.input, model.thresholds, model.face_size) == ("face", {"frame": 0.7, "fraction": 0.3}, 256)
    paths = [clips / "two.mp4", clips / "noface.mp4", "gone.mp4", "@list.txt", "https://a.b/c.mp4"]
    two, without, *unreadable = mrigan.detect(paths, model)
    assert (two.verdict, two.reason, two.path) == ("fake", None, str(paths[0]))
    assert two.faces[0].box[2] > two.faces[0].box[0]
    assert [person.faces for person in two.persons] == [5, 5]
    assert two.interval is not None
    assert (without.verdict, without.reason, without.probability, without.faces) == ("undecided", "no_face", None, ())
    assert [v.reason for v in unreadable] == ["unreadable"] * 3
    assert "Mrigan opens no URL" in unreadable[-1].not_analysed[0]
    assert capfd.readouterr() == ("", "")  # a library prints nothing
    assert Verdict.from_json(two.to_json()) == two
    by_command = detect_paths([clips / "two.mp4"], models["fake"])[0]
    assert {k: v for k, v in two.to_json().items() if k != "model"} == {
        k: v for k, v in by_command.to_json().items() if k != "model"
    }
    assert len(mrigan.detect(clips, model, every=40)) == 5


def test_names_that_mean_something_elsewhere(
    clips: Path, models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "private.txt").write_text("secret")
    (tmp_path / "a.png").symlink_to(clips / "face.png")
    for name in ("@private.txt", "*.png", "[a].png"):
        [verdict] = mrigan.detect([name], models["fake"])
        assert (verdict.path, verdict.reason) == (name, "unreadable")


def test_the_package_is_light_and_the_room_can_be_called(tmp_path: Path) -> None:
    code = (
        "import sys, mrigan\n"
        "assert not {'torch', 'numpy', 'av', 'rich'} & set(sys.modules), 'heavy'\n"
        "assert {'detect', 'load_model', 'mri_image'} <= set(dir(mrigan))\n"
        "try: mrigan.nothing\n"
        "except AttributeError: pass\n"
        "import mrigan.detect; from mrigan.detect import Judge; from mrigan import detect, load_model\n"
        "assert callable(mrigan.detect) and detect is mrigan.detect and Judge\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
    assert list(inspect.signature(mrigan.detect).parameters)[:2] == ["paths", "model"]
    assert "literally" in (mrigan.detect.detect.__doc__ or "")  # type: ignore[attr-defined]
    assert mrigan.mri_image(torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 64, 64)).sum() == 0


def test_the_examples(models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sample = make_sample(tmp_path / "sample", people=2, seconds=0.4, workers=1)
    video = next((sample / "unseen").glob("fake*.mp4"))
    capsys.readouterr()
    lines = run_example("judge_videos.py", video, "--model", models["fake"], capsys=capsys)
    assert lines[0].startswith(f"fake: {video} (score 0.95")
    assert lines[1].startswith("  person 1: ")
    [judged] = Judge(models["fake"], Options()).each(expand([video])[0], examples=2)
    folder = tmp_path / "faces"
    folder.mkdir()
    for number, example in enumerate(judged.examples):
        cv2.imwrite(str(folder / f"{number}.png"), example.face[..., ::-1])
    capsys.readouterr()
    lines = run_example("score_faces.py", folder, "--model", models["fake"], capsys=capsys)
    assert [line.split()[1] for line in sorted(lines, key=lambda line: line.split()[1])] == ["0.png", "1.png"]
    assert float(lines[0].split()[0]) == pytest.approx(judged.examples[0].prob, abs=1e-3)
