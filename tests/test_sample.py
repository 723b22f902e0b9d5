"""The embedded sample: readable as DFDC, the same bytes from one seed, faces that are found, fakes that keep inside."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest

from mrigan.catalog import audit, scan_catalog
from mrigan.demo import SPLIT
from mrigan.errors import ConfigError, InputError
from mrigan.sample import make_sample

SMALL = {"people": 2, "seconds": 0.48}  # 12 frames: two sampled ones


@pytest.fixture(scope="module")
def sample(tmp_path_factory) -> Path:
    return make_sample(tmp_path_factory.mktemp("sample") / "set", workers=1, **SMALL)


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def frames(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_the_dfdc_reader_reads_it(sample):
    catalog, result = scan_catalog("dfdc", sample)
    [problem] = result.problems  # two videos without labels, for the verdict
    assert problem.examples == ("unseen",)
    assert [(family.original is not None, len(family.fakes)) for family in catalog.families()] == [(True, 4), (True, 4)]
    assert all(catalog.path(clip).is_file() for clip in catalog.clips)
    assert {path.name for path in (sample / "unseen").iterdir()} == {"real.mp4", "fake.mp4"}
    assert "no benchmark" in (sample / "README.txt").read_text()


def test_the_demo_splits_by_part(tmp_path):
    """28 people, laid out as the sample lays them out, without the videos' content."""
    for number in range(28):
        part = tmp_path / f"dfdc_train_part_{number // 2}"
        part.mkdir(exist_ok=True)
        rows = json.loads((part / "metadata.json").read_text()) if number % 2 else {}
        rows[f"r{number}.mp4"] = {"label": "REAL", "split": "train"}
        fake = {"label": "FAKE", "split": "train", "original": f"r{number}.mp4"}
        rows |= {f"f{number}{k}.mp4": fake for k in range(4)}
        (part / "metadata.json").write_text(json.dumps(rows))
        for name in rows:
            (part / name).touch()
    catalog, _ = scan_catalog("dfdc", tmp_path, fractions=SPLIT)
    assert audit(catalog) == []
    sizes = {split: sum(clip.split == split for clip in catalog.clips) for split in ("train", "val", "test")}
    assert sizes == {"train": 80, "val": 20, "test": 40}


def test_one_seed_gives_the_same_bytes_with_any_number_of_workers(sample, tmp_path):
    again = make_sample(tmp_path / "again", workers=2, **SMALL)
    assert hashes(again) == hashes(sample)
    marker = json.loads((sample / "sample.json").read_text())
    assert marker["files"] == {name: digest for name, digest in hashes(sample).items() if name != "sample.json"}


def test_fakes_change_the_face_and_nothing_else(sample):
    clips = json.loads((sample / "sample.json").read_text())["clips"]
    originals = {clip["person"]: frames(sample / name) for name, clip in clips.items() if clip["kind"] == "original"}
    assert {clip["kind"] for clip in clips.values()} == {"original", "self", "poisson", "paste", "generator"}
    for name, clip in clips.items():
        fake, original = frames(sample / name), originals[clip["person"]]
        assert len(fake) == len(original) == 12
        assert fake[0].shape == original[0].shape == (288, 384, 3)
        if clip["kind"] == "original":
            continue
        for index in (0, 10):
            difference = np.abs(fake[index].astype(int) - original[index]).max(-1)
            face, around = difference[110:230, 150:235], difference.copy()
            around[60:280, 100:285] = 0
            assert (face > 20).sum() > 32  # the rule by which packing keeps a changed face
            assert around.mean() < 1.5, (name, clip)  # the encoder's own noise


def test_a_detector_finds_every_person_of_the_default_sample():
    """One face in the first frame of each original, at the thresholds that packing uses."""
    from facenet_pytorch import MTCNN

    from mrigan.sample.motion import render
    from mrigan.sample.people import make_person
    from mrigan.sample.portraits import load_portraits

    detector = MTCNN(keep_all=True, min_face_size=20, thresholds=[0.85, 0.95, 0.95])
    portraits = load_portraits()
    for number in range(15):  # the last one is the unseen person
        image = np.clip(next(iter(render(make_person(0, number, portraits), 0, 1))).image, 0, 255).astype(np.uint8)
        boxes, _ = detector.detect(image)
        assert boxes is not None, number
        assert len(boxes) == 1, number
        assert boxes[0][2] - boxes[0][0] >= 110, number


def test_people_differ():
    from mrigan.sample.people import make_person

    faces = [make_person(0, number).image[150:290, 170:300].reshape(-1) for number in range(4)]
    for i, a in enumerate(faces):
        for b in faces[:i]:
            assert np.abs(a - b).mean() > 12


def test_a_finished_sample_is_reused_and_nothing_foreign_is_touched(sample, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in sample.rglob("*")}
    assert make_sample(sample, **SMALL) == sample
    assert {path: path.stat().st_mtime_ns for path in sample.rglob("*")} == before
    with pytest.raises(InputError, match="other settings"):
        make_sample(sample, seed=1, **SMALL)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years")
    with pytest.raises(InputError, match="it was not changed"):
        make_sample(tmp_path / "mine", **SMALL)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]
    with pytest.raises(InputError, match="it was not changed"):
        make_sample(tmp_path / "mine" / "thesis.tex", **SMALL)
    for wrong in ({"people": 1}, {"seconds": 0.01}):
        with pytest.raises(ConfigError, match="2 to 1000 people"):
            make_sample(tmp_path / "new", **{**SMALL, **wrong})
    assert {path.name for path in tmp_path.iterdir()} == {"mine"}


def test_a_changed_file_is_noticed(sample, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("sample.json", "README.txt"):
        (copy / name).write_bytes((sample / name).read_bytes())
    with pytest.raises(InputError, match="is missing or changed"):
        make_sample(copy, **SMALL)


def test_two_at_once(tmp_path):
    partial = tmp_path / ".set.partial"
    partial.mkdir()
    held = os.open(partial, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another process"):
            make_sample(tmp_path / "set", **SMALL)
    finally:
        os.close(held)


def test_killed_and_started_again(sample, tmp_path):
    out = tmp_path / "set"
    options = ["--people", "2", "--seconds", "0.48", "--workers", "1"]
    command = [sys.executable, "-m", "mrigan.cli", "sample", str(out), *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while process.poll() is None and not list(tmp_path.glob(".set.partial/*/*.mp4")) and time.monotonic() < deadline:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not out.exists()
    assert list(tmp_path.glob(".set.partial/*/*.mp4"))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert hashes(out) == hashes(sample)
    assert {path.name for path in tmp_path.iterdir()} == {"set"}
