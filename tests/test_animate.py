"""Clips made of stills: what is drawn is what is seen, nothing tears, bytes repeat, a catalog reads them."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from mrigan.animate import Animated, animate
from mrigan.animate.backdrop import Backdrop, find_backdrop, room_of
from mrigan.animate.build import MANIFEST, clip_name
from mrigan.animate.framing import FACE, SIZES, Room, draw_framing
from mrigan.animate.head import Head, close_eyes
from mrigan.animate.motion import NOD, SWAY, TILT, TURN
from mrigan.animate.portrait import REACH, Portrait, PortraitReader
from mrigan.animate.shot import draw_shot, generator
from mrigan.animate.stage import set_stage
from mrigan.catalog import scan_catalog
from mrigan.config import FacesConfig
from mrigan.errors import InputError
from mrigan.files import FAILPOINT
from mrigan.sample.portraits import load_portraits
from mrigan.video.faces import FaceDetector
from mrigan.video.landmarks import FaceMesh

SECONDS = 0.4
LARGER = 1.5  # than the embedded portraits
NOSE, EAR, LID, RIM = 4, 234, 159, 145
PEOPLE = (
    "file,person,licence\nastronaut.png,Eileen,public domain\nstudio.png,Eileen,public domain\nadmiral.png,Grace,\n"
)


@pytest.fixture(scope="module")
def stills(tmp_path_factory: pytest.TempPathFactory, face_mesh: Path) -> Path:
    """Two people in three pictures, one of them before a plain wall; and four files that give no clip."""
    folder = tmp_path_factory.mktemp("stills")
    eileen, grace = load_portraits()
    y, x = np.mgrid[-1 : 1 : eileen.image.shape[0] * 1j, -1 : 1 : eileen.image.shape[1] * 1j]
    wall = np.stack([190 - 12 * x - 20 * y * y, 195 - 12 * x - 20 * y * y, 200 - 10 * x * x], -1)
    studio = wall + eileen.body[..., None] * (eileen.image - wall)
    for name, image in {"astronaut": eileen.image, "admiral": grace.image, "studio": studio}.items():
        picture = Image.fromarray(np.rint(image).astype(np.uint8))
        picture.resize([round(side * LARGER) for side in picture.size]).save(folder / f"{name}.png")
    shutil.copy(folder / "studio.png", folder / "zweitens.png")
    (folder / "broken.png").write_bytes((folder / "studio.png").read_bytes()[:9000])
    (folder / "empty.jpg").touch()
    Image.new("RGB", (300, 300), "green").save(folder / "lawn.png")
    (folder / "people.csv").write_text(PEOPLE)
    return folder


@pytest.fixture(scope="module")
def reader(face_mesh: Path) -> PortraitReader:
    return PortraitReader()


@pytest.fixture(scope="module")
def portrait(reader: PortraitReader, stills: Path) -> Portrait:
    return reader(stills / "studio.png")


@pytest.fixture(scope="module")
def backdrop(portrait: Portrait) -> Backdrop:
    return find_backdrop(portrait)


@pytest.fixture(scope="module")
def made(stills: Path, tmp_path_factory: pytest.TempPathFactory) -> Animated:
    return animate([stills], tmp_path_factory.mktemp("clips") / "clips", seconds=SECONDS, workers=1)


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_workers_that_are_killed_and_a_second_run_give_the_same_bytes(
    stills: Path, made: Animated, tmp_path: Path
) -> None:
    folder = tmp_path / "again"
    command = [
        sys.executable,
        "-m",
        "mrigan.cli",
        "animate",
        stills,
        "-o",
        folder,
        "--seconds",
        SECONDS,
        "--workers",
        2,
    ]
    # A kill after the admiral's first clip, and at the second try after the other; and memory full of 90, not of zeros.
    killing = os.environ | {FAILPOINT: "write.replaced admiral 1", "MALLOC_PERTURB_": "90"}
    run = subprocess.run([*map(str, command)], env=killing, capture_output=True, text=True, check=True)
    assert f"skipped {stills / 'admiral.png'}: animating it failed each time" in run.stdout
    assert f"{folder / MANIFEST}: {made.clips - 2} clips" in run.stdout
    first = hashes(folder)
    assert first.items() - hashes(made.manifest.parent).items() == {(MANIFEST, first[MANIFEST])}
    whole = animate([stills], folder, seconds=SECONDS, workers=2)
    assert whole.clips == made.clips
    assert hashes(folder) == hashes(made.manifest.parent)


def test_bad_pictures_are_counted_and_no_input_is_touched(stills: Path, made: Animated, tmp_path: Path) -> None:
    before = hashes(stills)
    reasons = {still.name: reason for still, reason in made.skipped}
    assert reasons.keys() == {"broken.png", "empty.jpg", "lawn.png", "zweitens.png"}
    assert reasons["lawn.png"] == "no face found"
    assert "zero bytes" in reasons["empty.jpg"]
    assert reasons["zweitens.png"] == "the same picture as studio.png"
    assert (made.clips, made.strangers) == (6, 0)
    with pytest.raises(InputError, match="no face found"):
        animate([stills / "lawn.png"], tmp_path / "none", workers=1)
    assert hashes(stills) == before


def test_a_catalog_reads_the_manifest(made: Animated) -> None:
    catalog, result = scan_catalog("manifest", made.manifest)
    assert not result.problems
    assert not [note for note in result.notes if "not used" in note]
    assert {clip.label for clip in catalog.clips} == {"real"}
    splits = {(clip.targets, clip.split) for clip in catalog.clips}
    assert sorted(people for people, _ in splits) == [("Eileen",), ("Grace",)]  # one split each
    assert len(catalog) == 6
    assert "public domain" in made.manifest.read_text()


def test_clips_of_other_settings_and_other_files_are_left_alone(stills: Path, made: Animated, tmp_path: Path) -> None:
    folder = made.manifest.parent
    before = hashes(folder)
    with pytest.raises(InputError, match="other settings"):
        animate([stills], folder, seconds=SECONDS, seed=1)
    assert hashes(folder) == before
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="other files"):
        animate([stills], tmp_path)


def test_every_frame_shows_the_face_as_it_was_drawn(
    stills: Path, made: Animated, reader: PortraitReader, face_mesh: Path
) -> None:
    detector, mesh = FaceDetector(FacesConfig()), FaceMesh()
    seen = found = 0
    for still in ("studio.png", "astronaut.png", "admiral.png"):
        digest, portrait = hashlib.sha256((stills / still).read_bytes()).hexdigest(), reader(stills / still)
        for number in range(2):
            shot = draw_shot(generator(0, digest, number), room_of(portrait, find_backdrop(portrait)), SECONDS)
            with av.open(str(made.manifest.parent / clip_name(Path(still), digest, number))) as container:
                frames = list(container.decode(video=0))
            assert [frame.pts * frame.time_base for frame in frames] == [
                pytest.approx(i / shot.rate, abs=1e-6) for i in range(shot.frames)
            ]
            assert {(frame.width, frame.height, frame.format.name) for frame in frames} == {
                (*shot.framing.size, "yuv420p")
            }
            for frame, zoom in zip(frames, shot.camera["zoom"], strict=True):
                image = frame.to_ndarray(format="rgb24")
                faces = detector.detect([image])[0]
                seen += 1
                if faces:
                    box = max(faces, key=lambda face: face.area).box
                    found += mesh(image, box).found
                    assert (box[2] - box[0]) / zoom == pytest.approx(shot.framing.face, rel=0.2)
    assert found >= 0.95 * seen


def test_a_moving_head_neither_tears_nor_folds(portrait: Portrait) -> None:
    head = Head(portrait, 1.0, np.zeros(2))
    height, width = portrait.image.shape[:2]
    places = np.stack(np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)), -1)
    for sign in (-1, 1):
        pose = {"yaw": sign * TURN, "pitch": NOD, "roll": TILT, "x": sign * SWAY[0], "y": SWAY[1], "jaw": 1, "smile": 1}
        at = head.source(places, pose)
        (dxx, dxy), (dyx, dyy) = ((np.gradient(at[..., i], axis=1), np.gradient(at[..., i], axis=0)) for i in (0, 1))
        assert (dxx * dyy - dxy * dyx).min() > 0.2
        assert np.abs(np.diff(at, axis=1) - (1, 0)).max() < 1.5  # px a px: no seam
        far = np.hypot(*(places - head.centre).transpose(2, 0, 1)) > REACH * head.width
        assert np.abs(at - places)[far].max() < 1e-3


def test_a_turned_face_is_seen_turned(portrait: Portrait, face_mesh: Path) -> None:
    """The network, which knows faces and not our relief, sees nose and ears go opposite ways."""
    head, mesh = Head(portrait, 1.0, np.zeros(2)), FaceMesh()
    height, width = portrait.image.shape[:2]
    places = np.stack(np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)), -1)
    rest = dict.fromkeys(("yaw", "pitch", "roll", "x", "y", "jaw", "smile"), 0.0)

    def seen(**pose: float) -> np.ndarray:
        at = head.source(places, rest | pose)
        image = cv2.remap(portrait.image, at[..., 0], at[..., 1], cv2.INTER_LINEAR)
        found = mesh(image, portrait.box)
        assert found.found
        return found.points

    def turn(points: np.ndarray) -> float:  # of the line from ear to ear, by the depth that the network sees
        across = points[454] - points[EAR]
        return float(np.degrees(np.arctan2(across[2], across[0])))

    left, right = seen(yaw=-TURN), seen(yaw=TURN)
    assert 10 < abs(turn(right) - turn(left)) < 34  # 24 degrees were asked for
    nose, ears = (right - left)[NOSE, 0], (right - left)[[EAR, 454], 0].mean()
    assert nose - ears > 0.1 * portrait.width
    up, down = seen(pitch=-NOD), seen(pitch=NOD)
    assert (down - up)[NOSE, 1] - (down - up)[[EAR, 454], 1].mean() > 0.05 * portrait.width


def test_eyes_close(portrait: Portrait, face_mesh: Path) -> None:
    mesh = FaceMesh()

    def opening(image: np.ndarray) -> float:
        points = mesh(image, portrait.box).points
        return float(points[RIM, 1] - points[LID, 1])

    closed = close_eyes(portrait.image, portrait.mesh[:, :2], 0.92)
    assert opening(closed) < 0.75 * opening(portrait.image)


def test_a_plain_wall_is_known_and_the_person_cut_out(
    portrait: Portrait, backdrop: Backdrop, reader: PortraitReader, stills: Path
) -> None:
    body = cv2.resize(load_portraits()[0].body, None, fx=LARGER, fy=LARGER)
    assert backdrop.plain
    assert np.abs(backdrop.matte - body).mean() < 0.02
    assert ((backdrop.matte > 0.5) & (body > 0.5)).sum() / ((backdrop.matte > 0.5) | (body > 0.5)).sum() > 0.96
    assert not find_backdrop(reader(stills / "astronaut.png")).plain


def test_pasting_changes_what_is_behind_and_not_the_face(portrait: Portrait, backdrop: Backdrop) -> None:
    shot = draw_shot(generator(3, "0" * 64, 0), room_of(portrait, backdrop), SECONDS)
    clear = replace(backdrop, clear=True)
    stages = [set_stage(portrait, clear, replace(shot, pasted=pasted), np.random.default_rng(1)) for pasted in (0, 1)]
    plain, pasted = stages
    assert plain.behind is None
    assert pasted.behind is not None
    matte = pasted.images[0][..., 3:] / 255
    whole = pasted.images[0][..., :3] + (1 - matte) * pasted.behind
    difference = np.abs(whole - plain.images[0]).max(2)
    x, y = plain.head.centre.astype(int)
    half = int(0.3 * plain.head.width)
    assert difference[y - half : y + half, x - half : x + half].max() <= 2
    assert difference[matte[..., 0] == 0].mean() > 10


@pytest.mark.parametrize(
    "room",
    [
        Room(300, np.inf, np.inf, np.inf, 1.6),
        Room(300, 1.5, 1.5, 1.2, 1.0),
        Room(250, 0.8, 0.9, 0.7, 0.7),
        Room(90, 4, 5, 1.5, 3),
    ],
)
def test_framings_fit(room: Room) -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_framing(rng, room) for _ in range(200)]
    assert {one.size for one in drawn} <= set(SIZES)
    for one in drawn:
        assert FACE[0] <= one.face <= min(FACE[1], 1.25 * room.face)
        assert all(side % 2 == 0 and side > 0 for side in one.view)
        assert all(start % 2 == 0 and 0 <= start <= side - part
                   for start, part, side in zip(one.corner, one.view, one.size, strict=True))  # fmt: skip
        x, y = one.place
        reach = 2.5  # px of rounding
        assert one.view[0] - x <= room.right * one.face + reach
        assert one.view[1] - y <= room.down * one.face + reach
        assert x <= room.left * one.face + reach
        assert y <= room.up * one.face + reach
    assert np.ptp([one.face for one in drawn]) > 45
