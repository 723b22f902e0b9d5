"""A fixed number of frames instead of each n-th, and detection on frames of half the size, as a model asks for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mrigan.config import FacesConfig, to_dict
from mrigan.detect import Options, detect_paths
from mrigan.detect.inputs import Input
from mrigan.detect.look import expected_frames
from mrigan.models import load_bundle, save_bundle


@pytest.fixture(scope="module")
def model(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Says fake; looks at 7 frames evenly over a video, reduced to half."""
    bundle = load_bundle(models["plain"])
    faces = to_dict(FacesConfig(frames=7, shrink=2.0, long_side=0))
    return save_bundle(tmp_path_factory.mktemp("frames") / "model", bundle.detector, faces=faces,
                       thresholds=bundle.thresholds)  # fmt: skip


def test_frames_are_spread_over_the_video(clips: Path, model: Path) -> None:
    [verdict] = detect_paths([clips / "one.mp4"], model)
    frames = [face.frame for face in verdict.faces]
    assert frames == [int(i * 47 / 6) for i in range(7)]
    assert frames[-1] == 47
    assert (
        "7 of 48 frames, evenly over the video, were looked at. --every 1 looks at all of them." in verdict.not_analysed
    )
    assert any("Faces under about 40 px were not looked for" in line for line in verdict.not_analysed)
    assert verdict.model["faces"]["frames"] == 7
    inputs = [Input(str(clips / "one.mp4"), False), Input(str(clips / "face.png"), True)]
    assert expected_frames(inputs, load_bundle(model).faces) == [7, 1]


def test_a_video_with_fewer_frames_is_looked_at_whole(clips: Path, model: Path) -> None:
    [verdict] = detect_paths([clips / "short.mp4"], model)
    assert len({face.frame for face in verdict.faces}) == 7
    [verdict] = detect_paths([clips / "short.mp4"], model, Options(every=1))
    assert [face.frame for face in verdict.faces] == list(range(9))


def test_boxes_are_those_of_the_whole_frame(clips: Path, model: Path, models: dict[str, Path]) -> None:
    [half] = detect_paths([clips / "one.mp4"], model)
    [whole] = detect_paths([clips / "one.mp4"], models["plain"])
    assert half.faces[0].frame == whole.faces[0].frame == 0
    assert np.abs(np.array(half.faces[0].box) - whole.faces[0].box).max() < 8
    assert half.faces[0].box != whole.faces[0].box
