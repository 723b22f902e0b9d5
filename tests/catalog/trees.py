"""Data sets as they are published, with every name and list, and nothing in the files."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path

FF_METHODS = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures", "FaceShifter")
SCENES = ("exit_phone_room", "hugging_happy", "kitchen_pan", "kitchen_still", "outside_talking_pan_laughing",
          "outside_talking_still_laughing", "podium_speech_happy", "secret_conversation", "talking_against_wall",
          "talking_angry_couch", "walk_down_hall_angry", "walking_and_outside_surprised",
          "walking_down_indoor_hall_disgust", "walking_down_street_outside_angry",
          "walking_outside_cafe_disgusted", "meeting_serious")  # fmt: skip


def touch(root: Path, paths: Iterable[str]) -> None:
    """Empty files, with their folders."""
    folders = set()
    for path in paths:
        folder = path.rpartition("/")[0]
        if folder not in folders:
            (root / folder).mkdir(parents=True, exist_ok=True)
            folders.add(folder)
        (root / path).open("wb").close()


def dfdc(root: Path, parts: int = 50, clips: int = 119_154, reals: int = 19_154) -> None:
    """`clips` spread over the parts, each real with its share of fakes; the last fake of a part names no original."""
    for part in range(parts):
        folder = root / f"dfdc_train_part_{part}"
        folder.mkdir(parents=True)
        r = reals // parts + (part < reals % parts)
        n = clips // parts + (part < clips % parts)
        rows: dict[str, dict] = {f"r{part:02d}x{k:05d}.mp4": {"label": "REAL", "split": "train"} for k in range(r)}
        for k in range(n - r):
            row = {"label": "FAKE", "split": "train", "original": f"r{part:02d}x{k % r:05d}.mp4"}
            rows[f"f{part:02d}x{k:05d}.mp4"] = row if k < n - r - 1 else {"label": "FAKE", "split": "train"}
        touch(folder, rows)
        (folder / "metadata.json").write_text(json.dumps(rows))


def faceforensics(root: Path, pairs: list[tuple[str, str]], compressions: Iterable[str] = ("c23",),
                  methods: Iterable[str] = FF_METHODS, actors: bool = True) -> None:  # fmt: skip
    """The clips of the given pairs (each both ways round), and DeepFakeDetection: 363 reals, 3,068 fakes."""
    clips = [clip for pair in pairs for clip in pair]
    for compression in compressions:
        touch(root, (f"original_sequences/youtube/{compression}/videos/{clip}.mp4" for clip in clips))
        for method in methods:
            folder = f"manipulated_sequences/{method}/{compression}/videos"
            touch(root, (f"{folder}/{a}_{b}.mp4" for x, y in pairs for a, b in ((x, y), (y, x))))
        if actors:
            scenes = [(f"{actor:02d}", scene) for actor in range(1, 29) for scene in SCENES][:363]
            touch(root, (f"original_sequences/actors/{compression}/videos/{a}__{s}.mp4" for a, s in scenes))
            draw = random.Random(0)
            fakes = [
                f"{a}_{draw.choice([x for x in range(1, 29) if f'{x:02d}' != a]):02d}__{s}__{k:08X}"
                for k in range(3_068)
                for a, s in (scenes[k % len(scenes)],)
            ]
            touch(root, (f"manipulated_sequences/DeepFakeDetection/{compression}/videos/{f}.mp4" for f in fakes))


def faceforensics_pairs() -> dict[str, list[tuple[str, str]]]:
    """500 pairs of the 1,000 clips by split, 360/70/70, as a publisher could have drawn them."""
    clips = [f"{k:03d}" for k in range(1000)]
    random.Random(1).shuffle(clips)
    pairs = list(zip(clips[::2], clips[1::2], strict=True))
    return {"train": pairs[:360], "val": pairs[360:430], "test": pairs[430:]}


def write_pairs(folder: Path, pairs: dict[str, list[tuple[str, str]]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows in pairs.items():
        (folder / f"{split}.json").write_text(json.dumps(rows))
    return folder


def celeb_df(root: Path, listed: Iterable[str] = ()) -> None:
    """590 + 300 + 5,639 clips of 59 people, among them those of a test list (`Celeb-real/id0_0001.mp4`, ...)."""
    people = [f"id{k}" for k in range(62) if k not in (14, 15, 18)]
    reals = {path for path in listed if path.startswith("Celeb-real/")}
    fakes = {path for path in listed if path.startswith("Celeb-synthesis/")}
    for path in fakes:  # the originals of the listed fakes
        target, _, number = path.partition("/")[2].split("_")
        reals.add(f"Celeb-real/{target}_{number}")
    for k in range(10_000):
        if len(reals) < 590:
            reals.add(f"Celeb-real/{people[k % 59]}_{k // 59:04d}.mp4")
    draw = random.Random(0)
    names = sorted(reals)
    while len(fakes) < 5_639:
        target, _, number = draw.choice(names).partition("/")[2].partition("_")
        donor = draw.choice(people)
        if donor != target:
            fakes.add(f"Celeb-synthesis/{target}_{donor}_{number}")
    youtube = (f"YouTube-real/{k:05d}.mp4" for k in range(300))
    touch(root, [*reals, *fakes, *youtube])


def uadfv(root: Path) -> None:
    touch(root, [f"real/{k:04d}.mp4" for k in range(49)] + [f"fake/{k:04d}_fake.mp4" for k in range(49)])


def dfdc_preview(root: Path, people: int = 66, reals: int = 1_131, fakes: int = 4_119) -> None:
    """Names like 1255229_1260311_C_001.mp4; the last 10 people are the test set's."""
    ids = [str(1_000_003 + 7_919 * k) for k in range(people)]
    rows: dict[str, dict] = {}
    names = []
    for k in range(reals):
        target = ids[k % people]
        name = f"{target}_{'ABC'[k // people % 3]}_{k // people // 3:03d}"
        names.append((target, name))
        rows[f"original_videos/{target}/{name}.mp4"] = {"label": "real", "set": _preview_set(target, ids)}
    for k in range(fakes):
        target, name = names[k % reals]
        same = [other for other in ids if other != target and _preview_set(other, ids) == _preview_set(target, ids)]
        donor = same[(k // reals * 7 + k) % len(same)]
        folder = f"method_{'AB'[k // reals % 2]}/{target}/{name.rpartition('_')[0]}"
        rows[f"{folder}/{donor}_{name}.mp4"] = {"label": "fake", "set": _preview_set(target, ids)}
    touch(root, rows)
    (root / "dataset.json").write_text(json.dumps(rows))


def _preview_set(person: str, ids: list[str]) -> str:
    return "test" if person in ids[-10:] else "train"


def dfdc_test(root: Path, clips: int = 5_000) -> None:
    names = [f"x{k:05d}.mp4" for k in range(clips)]
    touch(root, names)
    lines = [f"{name},{k % 2}" for k, name in enumerate(names)]
    (root / "labels.csv").write_text("\n".join(["filename,label", *lines, ""]))


def ffhq(root: Path, count: int = 70_000, variants: Iterable[str] = ("thumbnails128x128",), size: int = 0) -> None:
    """Pictures of `size` bytes and their JSON; each photo shows three faces, each author has seven photos."""
    keys = {"images1024x1024": "image", "thumbnails128x128": "thumbnail", "in-the-wild-images": "in_the_wild"}
    rows = {}
    for number in range(count):
        place = f"{number // 1000 * 1000:05d}/{number:05d}.png"
        points = [[number % 97 + k / 7, k / 3] for k in range(68)]
        files = {
            key: {"file_path": f"{variant}/{place}", "file_size": size, "file_md5": "0" * 32, "face_landmarks": points}
            for variant, key in keys.items()
        }
        rows[str(number)] = {
            "category": "training" if number < count * 6 // 7 else "validation",
            "metadata": {"photo_url": f"https://www.flickr.com/photos/u/{number // 3}/", "author": f"a{number // 21}"},
            **files,
        }
    (root).mkdir(parents=True, exist_ok=True)
    (root / "ffhq-dataset-v2.json").write_text(json.dumps(rows))
    for variant in variants:
        touch(root, (f"{variant}/{n // 1000 * 1000:05d}/{n:05d}.png" for n in range(count)))
        if size:
            for n in range(count):
                (root / f"{variant}/{n // 1000 * 1000:05d}/{n:05d}.png").write_bytes(bytes(size))


def fdf(root: Path, counts: dict[str, int], metainfo: bool = True) -> None:
    """Pictures by licence, numbered through."""
    rows, paths, number = {}, [], 0
    for licence, count in counts.items():
        for _ in range(count):
            paths.append(f"images/{licence}/{number}.png")
            rows[str(number)] = {
                "author": f"a{number // 30}", "photo_url": f"http://www.flickr.com/photos/{number // 4}/",
                "category": "validation" if number % 30 == 0 else "training", "license": licence,
                "bounding_box": [0.1, 0.2, 0.8, 0.9], "landmark": [[0.5, 0.5]] * 7,
            }  # fmt: skip
            number += 1
    touch(root, paths)
    if metainfo:
        (root / "fdf_metainfo.json").write_text(json.dumps(rows))
