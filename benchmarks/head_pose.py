"""What head poses tell about the landmarks of UADFV; how deep the mean head must be; where the mean head comes from.

    python benchmarks/head_pose.py UADFV-LANDMARKS
    python benchmarks/head_pose.py --set DIR [--source dlib]
    python benchmarks/head_pose.py --depth CLIPS
    python benchmarks/head_pose.py --mean-face PICTURES

UADFV-LANDMARKS: real/NNNN.npz and fake/NNNN_fake.npz, each `landmarks` (frames, 68 or more, 2) in crops of 256 px.
DIR: a shard set with landmarks and the splits train, val and test; each is scored by a classifier of the other two.
CLIPS: real clips of turning heads. PICTURES: frontal portraits with a neutral face.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, GroupShuffleSplit
from sklearn.svm import SVC

from mrigan.config import FacesConfig
from mrigan.data import ShardSet
from mrigan.data.landmarks import stored_landmarks
from mrigan.pose.features import pose_features
from mrigan.pose.head_pose import Camera, fit_depth
from mrigan.pose.mean_face import DEPTH, mean_face
from mrigan.pose.model import features_of
from mrigan.pose.points import CENTRAL, LEFT_EYE, MESH_OF_68, MIRRORED, POINTS_68, RIGHT_EYE, WHOLE, points_68
from mrigan.pose.svm import PoseSvm
from mrigan.shardset.landmarks import SOURCES
from mrigan.video import FaceDetector, is_picture, read_frames, read_still
from mrigan.video.landmarks import FaceMesh

CROP, CROP_FOCAL = 256, 4.0  # px, and crop widths
RANDOM_SPLITS = 20


@dataclass(frozen=True)
class Frames:
    """Landmarks (N, 68, 2), labels (N,), the number of the clip (N,) that a real clip and its fake share."""

    points: np.ndarray
    labels: np.ndarray
    clips: np.ndarray


def uadfv(folder: Path) -> Frames:
    points, labels, clips = [], [], []
    for path in sorted(folder.glob("*/*.npz")):
        frames = np.load(path)["landmarks"][:, :POINTS_68].astype(float)
        points.append(frames)
        labels += [int(path.parent.name == "fake")] * len(frames)
        clips += [int(path.stem[:4])] * len(frames)
    return Frames(np.concatenate(points), np.array(labels), np.array(clips))


def spread(values: list[float]) -> str:
    return f"{np.mean(values):.3f} ({min(values):.3f}-{max(values):.3f})"


def detection(frames: Frames) -> None:
    camera = Camera.of((CROP, CROP), CROP_FOCAL)
    faces = [(points, camera) for points in frames.points]
    found = pose_features(faces)
    answered = found.answered
    print(f"{len(faces)} frames, {answered.sum()} with a pose; without: {dict(found.reasons) or 'none'}")
    x, y, clips = found.values[answered], frames.labels[answered], frames.clips[answered]
    for C in (1.0, 10.0):
        aucs, scores = [], np.zeros(len(y))
        for train, test in GroupKFold(5).split(x, y, clips):
            scores[test] = PoseSvm.fit(x[train], y[train], C).logits(x[test])
            aucs.append(roc_auc_score(y[test], scores[test]))
        videos = np.unique(np.stack([clips, y], axis=1), axis=0)
        means = [scores[(clips == clip) & (y == label)].mean() for clip, label in videos]
        drawn = []
        for train, test in GroupShuffleSplit(RANDOM_SPLITS, test_size=0.3, random_state=0).split(x, y, clips):
            drawn.append(roc_auc_score(y[test], PoseSvm.fit(x[train], y[train], C).logits(x[test])))
        print(f"C {C:g}: frame AUC, 5 folds by clip {spread(aucs)}; {RANDOM_SPLITS} random splits {spread(drawn)}; "
              f"video AUC {roc_auc_score(videos[:, 1], means):.3f}")  # fmt: skip
    both = pose_features(faces, of=lambda poses: poses.both_vectors).values[answered]
    accuracies = [
        float((SVC().fit(both[train], y[train]).predict(both[test]) == y[test]).mean())
        for train, test in GroupKFold(5).split(both, y, clips)
    ]
    print(f"both vectors, no scaler: frame accuracy {spread(accuracies)}")
    reals = frames.points[frames.labels == 0]
    print_depths(list(reals), [camera] * len(reals))


def shard_set(folder: Path, source: str) -> None:
    parts = [ShardSet.open([folder], split) for split in ("train", "val", "test")]
    features, seconds = [], time.process_time()
    for part in parts:
        found = stored_landmarks(part, source, MESH_OF_68.tolist() if source == "mesh" else None)
        features.append(features_of(found.points, found.frame_sizes, 1.0, DEPTH).values)
    ms = 1000 * (time.process_time() - seconds) / sum(map(len, parts))
    x, y = np.concatenate(features), np.concatenate([part.labels for part in parts])
    split = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    rows = pa.concat_tables([part.rows for part in parts])
    videos = np.array(rows["clip"].to_pylist())
    kinds = np.array([f"{dataset} {method}" for dataset, method in zip(*(rows[name].to_pylist() for name in
                      ("dataset", "method")), strict=True)])  # fmt: skip
    answered, scores = np.isfinite(x).all(axis=1), np.full(len(y), np.nan)
    for each in range(len(parts)):
        train, test = answered & (split != each), answered & (split == each)
        scores[test] = PoseSvm.fit(x[train], y[train]).logits(x[test])
    print(f"{len(y)} faces, {answered.sum()} with a pose; {ms:.1f} CPU-ms a face ({source})")
    for kind in ("all fakes", *sorted(set(kinds[y == 1]))):
        of_kind = (y == 1) & ((kinds == kind) | (kind == "all fakes"))
        reals = (y == 0) & (np.char.startswith(kinds, kind.split()[0]) | (kind == "all fakes"))
        mine = answered & (of_kind | reals)
        each_video = {video: scores[mine & (videos == video)].mean() for video in set(videos[mine])}
        fake = [bool(y[videos == video][0]) for video in each_video]
        print(f"{kind:<28} frame AUC {roc_auc_score(y[mine], scores[mine]):.3f}  "
              f"video AUC {roc_auc_score(fake, list(each_video.values())):.3f} of {len(fake)}")  # fmt: skip


def print_depths(points: list[np.ndarray], cameras: list[Camera]) -> None:
    whole, central = (fit_depth(points, cameras, part) for part in (WHOLE, CENTRAL))
    print(f"depth of the mean head that fits {len(points)} real faces: {whole:.2f} (whole), {central:.2f} (central)")


def meshes(paths: list[Path], every: int) -> Iterator[tuple[np.ndarray, Camera]]:
    """The (468, 3) mesh of the largest face of each picture, and of every so many frames of each clip."""
    detector, mesh = FaceDetector(FacesConfig()), FaceMesh()
    for path in paths:
        frames = [read_still(path)] if is_picture(str(path)) else read_frames(path, every=every)
        for frame in frames:
            for face in detector.detect([frame.image])[0][:1]:
                found = mesh(frame.image, face.box)
                if found.found:
                    yield found.points.astype(float), Camera.of(frame.image.shape[1::-1])


def average(faces: list[np.ndarray]) -> np.ndarray:
    """(68, 3): the mean of faces turned, moved and scaled onto one another, with their mirror images."""
    flip = np.array([-1, 1, 1])
    both = [face - face.mean(axis=0) for points in faces for face in (points, points[MIRRORED] * flip)]
    both = [face / np.linalg.norm(face) for face in both]
    mean = both[0]
    for _ in range(5):
        turned = []
        for face in both:
            u, _, vt = np.linalg.svd(face.T @ mean)
            turned.append(face @ u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt)
        mean = np.mean(turned, axis=0)
        mean /= np.linalg.norm(mean)
    mean = (mean + mean[MIRRORED] * flip) / 2
    mean /= np.linalg.norm(mean[LEFT_EYE].mean(axis=0) - mean[RIGHT_EYE].mean(axis=0))
    return mean - mean[27:31].mean(axis=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("landmarks", type=Path, nargs="?")
    parser.add_argument("--set", type=Path, metavar="DIR")
    parser.add_argument("--source", default="mesh", choices=SOURCES)
    parser.add_argument("--depth", type=Path, nargs="+", default=[], metavar="CLIP")
    parser.add_argument("--mean-face", type=Path, nargs="+", default=[], metavar="PICTURE")
    parser.add_argument("--every", type=int, default=25, help="frames between two that are looked at")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    if args.landmarks:
        detection(uadfv(args.landmarks))
    if args.set:
        shard_set(args.set, args.source)
    if args.depth:
        found = list(meshes(args.depth, args.every))
        print_depths([points_68(mesh) for mesh, _ in found], [camera for _, camera in found])
    if args.mean_face:
        mean = average([mesh[MESH_OF_68] for mesh, _ in meshes(args.mean_face, 1)])
        print(f"at most {np.abs(mean - mean_face(1.0)).max():.3f} eye distances from the stored one")
        print("\n".join(f"({x:.3f}, {y:.3f}, {z:.3f})," for x, y, z in mean))


if __name__ == "__main__":
    main()
