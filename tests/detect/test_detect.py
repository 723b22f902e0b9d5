"""Videos and pictures in, verdicts out, with real files."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch

from mrigan.config import FacesConfig
from mrigan.detect import Judge, Options, Verdict, detect_paths, look
from mrigan.detect.findings import Findings
from mrigan.detect.inputs import Input
from mrigan.detect.scorer import Scorer
from mrigan.errors import ConfigError, ModelError
from mrigan.models import Bundle, load_bundle
from mrigan.models.known_faces import fit_known_faces
from mrigan.video import Frame
from tests.clips import write_audio, write_clip
from tests.detect.conftest import moving
from tests.detect.schema import check


def as_json(verdicts: list[Verdict]) -> list[dict]:
    return [verdict.to_json() for verdict in verdicts]


def one(path: Path, model: Path, **options: object) -> dict:
    verdicts = as_json(detect_paths([path], model, Options(**options)))  # type: ignore[arg-type]
    check(verdicts)
    [verdict] = verdicts
    return verdict


def test_a_clip_of_one_person(clips: Path, models: dict[str, Path]) -> None:
    before = hashlib.sha256((clips / "one.mp4").read_bytes()).hexdigest()
    fake = one(clips / "one.mp4", models["fake"])
    assert (fake["verdict"], fake["reason"], fake["fraction"]) == ("fake", None, 1.0)
    assert fake["probability"] == pytest.approx(1 / (1 + np.exp(-3)), abs=0.01)
    assert [face["frame"] for face in fake["faces"]] == [0, 10, 20, 30, 40]
    assert [face["time"] for face in fake["faces"]] == pytest.approx([0, 0.4, 0.8, 1.2, 1.6])
    assert {face["person"] for face in fake["faces"]} == {0}
    for face in fake["faces"]:
        x0, y0, x1, y1 = face["box"]
        assert 50 < x0 < x1 < 210  # the portrait's face lies in the upper middle
        assert 30 < y0 < y1 < 210
    assert fake["thresholds"] == {"frame": 0.7, "fraction": 0.3, "min_faces": 3}
    assert fake["model"]["input"] == "face"
    assert fake["model"]["thresholds_source"] == "searched on 8 val videos"
    assert fake["model"]["validation"] == {"tpr": 0.75, "tnr": 0.5}
    assert len(fake["model"]["sha256"]) == 64
    real = one(clips / "one.mp4", models["real"])
    assert (real["verdict"], real["fraction"]) == ("real", 0.0)
    assert hashlib.sha256((clips / "one.mp4").read_bytes()).hexdigest() == before


def test_the_model_is_given_the_face_with_its_margin(
    clips: Path, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    bundle = load_bundle(models["mri"])
    given: list[torch.Tensor] = []
    weigh = Bundle.weigh
    monkeypatch.setattr(Bundle, "weigh", lambda self, faces: (given.append(faces), weigh(self, faces))[1])
    [verdict] = as_json(detect_paths([clips / "face.png"], bundle))
    x0, y0, x1, y1 = (int(v) for v in verdict["faces"][0]["box"])
    dx, dy = int((x1 - x0) * 0.1), int((y1 - y0) * 0.1)
    face = Image.open(clips / "face.png").crop((x0 - dx, y0 - dy, x1 + dx, y1 + dy))
    large = np.asarray(face.resize((256, 256), Image.Resampling.BILINEAR)).astype(int)  # to enlarge by area is bilinear
    [seen] = given
    assert (seen.shape, seen.dtype) == ((1, 3, 256, 256), torch.uint8)
    assert np.abs(seen[0].permute(1, 2, 0).numpy() - large).mean() < 3
    probs, mris = bundle.predict(seen)
    assert verdict["faces"][0]["prob"] == pytest.approx(probs.item(), abs=1e-6)
    assert mris is not None


def test_two_people_are_two_persons(clips: Path, models: dict[str, Path]) -> None:
    verdict = one(clips / "two.mp4", models["fake"])
    assert [(p["person"], p["faces"]) for p in verdict["persons"]] == [(0, 5), (1, 5)]
    sides = {(face["person"], face["box"][0] > 256) for face in verdict["faces"]}
    assert len(sides) == 2


def test_pictures_need_one_face_and_videos_three(clips: Path, models: dict[str, Path]) -> None:
    picture = one(clips / "face.png", models["fake"])
    assert (picture["verdict"], len(picture["faces"]), picture["interval"]) == ("fake", 1, None)
    short = one(clips / "short.mp4", models["fake"])
    assert (short["verdict"], short["reason"], len(short["faces"])) == ("undecided", "too_few_faces", 1)
    assert "--every 1" in short["not_analysed"][0]["detail"]
    assert one(clips / "short.mp4", models["fake"], every=1)["verdict"] == "fake"
    without = one(clips / "noface.mp4", models["fake"])
    assert (without["verdict"], without["reason"]) == ("undecided", "no_face")


def test_cropped_faces_are_judged_whole(clips: Path, models: dict[str, Path], tmp_path: Path) -> None:
    verdict = one(clips / "face.png", models["fake"], cropped=True)
    assert (verdict["verdict"], verdict["faces"][0]["box"]) == ("fake", [0.0, 0.0, 256.0, 256.0])
    assert verdict["not_analysed"] == []
    assert one(clips / "noface.mp4", models["fake"], cropped=True, every=5)["verdict"] == "fake"
    misnamed = tmp_path / "face.xyz"
    shutil.copy(clips / "face.png", misnamed)
    assert one(misnamed, models["fake"])["verdict"] == "fake"  # known by its content
    assert one(clips / "one.mp4", models["fake"], pictures=True)["reason"] == "unreadable"


def test_a_model_of_cut_faces_judges_cut_faces_only(clips: Path, models: dict[str, Path]) -> None:
    bundle = load_bundle(models["fake"])
    bundle = replace(bundle, card=replace(bundle.card, faces=replace(bundle.faces, cropped=True)))
    with pytest.raises(ConfigError, match="were cut already") as error:
        Judge(bundle, Options())
    assert "--cropped" in str(error.value.fix)
    [item] = as_json(detect_paths([clips / "face.png"], bundle, Options(cropped=True)))
    assert (item["verdict"], item["faces"][0]["box"]) == ("fake", [0.0, 0.0, 256.0, 256.0])


def test_a_cut_off_clip_is_judged_by_what_is_there(clips: Path, models: dict[str, Path], tmp_path: Path) -> None:
    whole = (clips / "one.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) * 85 // 100])
    verdict = one(tmp_path / "cut.mp4", models["real"])
    assert verdict["verdict"] == "real"
    assert 3 <= len(verdict["faces"]) < 5
    assert verdict["not_analysed"][0]["what"] == "rest_of_file"


def test_no_face_of_a_damaged_frame_is_judged(
    clips: Path, models: dict[str, Path], portrait: np.ndarray, tmp_path: Path
) -> None:
    """A hole in a file of full length: the decoder fills it up with what was there, and says so of the first only."""
    path = write_clip(tmp_path / "hole.mp4", moving(portrait, 96), options={"g": "48"})
    with av.open(str(path)) as container:
        packets = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    for pos, size in packets[25:29]:
        data[pos : pos + size] = bytes(size)
    path.write_bytes(data)
    verdict = one(path, models["fake"])
    assert [face["frame"] for face in verdict["faces"]] == [0, 10, 20, 50, 60, 70, 80, 90]
    missed = {entry["what"]: entry["detail"] for entry in verdict["not_analysed"]}
    assert re.fullmatch(
        r"2\d of 96 frames are damaged or cannot be decoded; no face of them was looked at\.", missed["damaged_frames"]
    )
    assert "8 of 96" in missed["frames"]
    data = data[: len(data) // 2] + bytes(len(data) - len(data) // 2)
    path.write_bytes(data)  # the index, which lies at the end, is gone
    [unreadable] = one(path, models["fake"])["not_analysed"]
    assert "moov atom not found" in unreadable["detail"]
    assert "download it again" in unreadable["detail"]


def test_what_cannot_be_read_has_no_verdict(clips: Path, models: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "zero.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "list.mp4").write_text(f"ffconcat version 1.0\nfile '{clips / 'one.mp4'}'\n")
    (tmp_path / "hls.mp4").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{clips / 'one.mp4'}\n")
    (tmp_path / "head.mp4").write_bytes((clips / "two.mp4").read_bytes()[:3000])
    (tmp_path / "cut.png").write_bytes((clips / "face.png").read_bytes()[:3000])
    write_audio(tmp_path / "sound.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    files = sorted(tmp_path.iterdir())
    verdicts = as_json(detect_paths([*files, clips / "one.mp4", tmp_path / "gone.mp4"], models["fake"]))
    check(verdicts)
    assert [v["reason"] for v in verdicts] == ["unreadable"] * len(files) + [None, "unreadable"]
    assert all(v["verdict"] == "undecided" for v in verdicts if v["reason"])
    assert all(v["not_analysed"][0]["what"] == "file" for v in verdicts if v["reason"])
    assert len(list(tmp_path.iterdir())) == len(files)


def test_the_examples_are_the_most_suspicious_faces(clips: Path, models: dict[str, Path]) -> None:
    judge = Judge(models["fake"], Options(every=4))
    [judged] = judge.each([Input(str(clips / "one.mp4"), False)], examples=3)
    probs = sorted((face.prob for face in judged.verdict.faces), reverse=True)
    assert len(probs) == 12
    assert [e.prob for e in judged.examples] == probs[:3]
    for example in judged.examples:
        assert example.face.shape == (256, 256, 3)
        assert example.mri is not None
        assert (example.mri.shape, example.mri.dtype) == ((64, 64, 3), np.uint8)
    [plain] = Judge(models["plain"], Options()).each([Input(str(clips / "face.png"), True)], examples=3)
    assert [e.mri for e in plain.examples] == [None]


def test_memory_does_not_grow_with_the_video(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = 500  # 98 MB of pictures

    def endless(path: str, *, every: int, changes: list[object]) -> Iterator[Frame]:
        return (Frame(i, i / 25, np.zeros((256, 256, 3), np.uint8)) for i in range(frames))

    monkeypatch.setattr(look, "read_frames", endless)
    monkeypatch.setattr(look, "probe", lambda path: SimpleNamespace(frames=frames, others=()))
    bundle = SimpleNamespace(weigh=lambda faces: (torch.zeros(len(faces), 1), None), draws_mris=False)
    tracemalloc.start()
    scorer = Scorer(bundle, FacesConfig(), keep=4)  # type: ignore[arg-type]
    seen = look.find(Input("x.mp4", False), 0, scorer, None, look.in_silence)
    scorer.flush()
    scorer.complete(seen, 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(seen.probs) == frames
    assert len(seen.examples) == 4
    assert peak < 40e6


def test_the_face_detector_gets_as_many_frames_as_memory_allows() -> None:
    gpu, cpu = SimpleNamespace(batch=32), SimpleNamespace(batch=8)
    hd, huge = Findings(size=(1280, 720)), Findings(size=(16_000, 4_000))
    lengths = [look._chunk_length(f, d) for f, d in ((hd, gpu), (huge, gpu), (hd, cpu), (Findings(), gpu))]  # type: ignore[arg-type]
    assert lengths == [32, 1, 8, 1]


def test_a_model_that_gives_no_number_is_no_verdict(clips: Path, models: dict[str, Path]) -> None:
    bundle = load_bundle(models["fake"])
    with torch.no_grad():
        bundle.detector.head[-1].bias.fill_(float("nan"))
    with pytest.raises(ModelError, match="is not a number"):
        detect_paths([clips / "face.png"], bundle)


def test_a_distance_that_is_no_number_is_no_verdict(clips: Path, models: dict[str, Path]) -> None:
    bundle = load_bundle(models["fake"])
    faces = torch.randint(0, 256, (6, 3, 64, 64), dtype=torch.uint8)
    bundle.known = known = fit_known_faces(bundle.maps_of(faces), torch.tensor([0, 0, 1, 1, 2, 2]))
    assert detect_paths([clips / "face.png"], bundle)[0].measured["distance"].median > 0
    assert known is not None
    for layer in known.layers.values():
        layer.scale.fill_(1e-45)  # above 0, as the file is checked for
    with pytest.raises(ModelError, match="is not a number"):
        detect_paths([clips / "face.png"], bundle)


def test_no_such_device(models: dict[str, Path]) -> None:
    for device in ("quantum", "cuda:99"):
        with pytest.raises(ConfigError, match=device):
            Judge(models["fake"], Options(device=device))


def test_a_verdict_quotes_little_of_a_huge_model_json(clips: Path, models: dict[str, Path], tmp_path: Path) -> None:
    """Each verdict says what judged it; megabytes from a stranger's model.json do not go into each of a thousand."""
    folder = shutil.copytree(models["plain"], tmp_path / "model")
    card = json.loads((folder / "model.json").read_text())
    long = "x" * 10_000
    card["provenance"] = {f"{i} {long}": long for i in range(100)}
    card["provenance"]["thresholds"] = {"source": long}
    card["data"] = {"about": long, "datasets": [long] * 100}
    (folder / "model.json").write_text(json.dumps(card))
    [verdict] = as_json(detect_paths([clips / "noface.mp4"], folder))
    check([verdict])
    assert len(json.dumps(verdict)) < 60_000
    assert verdict["learned_from"] == f"{long[:299]}…"
