"""CPU-seconds of a verdict beside the straightforward way: `python benchmarks/detect.py [VIDEO...]`.

Clips of 10 s, 720p, 30 frames/s, H.264 (x264's defaults, 4:2:0): a real one and a fake one of a person of the embedded
sample, enlarged and grained; other videos may be given instead. The networks have their full size (EfficientNet-B0 at
224 px, G at 256 px) and weights from a seed. Only the detector's last layer is fitted, to frames of the two clips that
neither way looks at, so that there is a verdict to agree on; it says nothing about deepfakes.

The straightforward way: every frame is decoded and searched for faces at full size by facenet-pytorch; of every 10th
the faces are cut out and go through the networks one by one; G's head doubles the picture before it convolves. The
other way is `mrigan detect` as it comes. Both must come to the same verdict. One thread in both ways, which take turns;
models are loaded and warm before. On a GPU also our videos a second.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import torch
from facenet_pytorch import MTCNN
from torch import Tensor, nn
from train_step import PlainHead

from mrigan.config import FacesConfig, to_dict
from mrigan.detect import Judge, Options, look
from mrigan.detect.inputs import Input
from mrigan.evaluation.videos import video_verdict
from mrigan.models import Bundle, Detector, Generator, load_bundle, predict_mri, save_bundle
from mrigan.models import loaded as bundles
from mrigan.sample.build import make_clips
from mrigan.video import INFERENCE_THRESHOLDS, FaceDetector, crop, read_frames, resize_face
from mrigan.video.tracks import iou

FACES = FacesConfig()
SECONDS, RATE, WIDTH, HEIGHT = 10, 30, 1280, 720
THRESHOLDS = {"frame": 0.5, "fraction": 0.3}
FIT = (3, 7)  # frames whose number leaves one of these after division by FACES.every: nobody is judged by them
JITTER = 6  # px by which their boxes are moved at most
LOUD = 60.0
GPU_VIDEOS = 16


class Clock:
    """CPU-seconds of this process by stage; what a stage calls is not counted twice."""

    def __init__(self) -> None:
        self.seconds, self._inner = Counter[str](), [0.0]

    def __call__(self, stage: str, act: Callable[..., Any]) -> Callable[..., Any]:
        """`act`, timed."""

        @wraps(act)
        def timed(*args: Any, **options: Any) -> Any:
            start = time.process_time()
            self._inner.append(0.0)
            try:
                return act(*args, **options)
            finally:
                spent = time.process_time() - start
                self.seconds[stage] += spent - self._inner.pop()
                self._inner[-1] += spent

        return timed

    def each(self, stage: str, items: Iterator[Any]) -> Iterator[Any]:
        """The items, each timed as it is made."""
        following = self(stage, lambda: next(items, None))
        while (item := following()) is not None:
            yield item


@dataclass(frozen=True)
class Answer:
    """A verdict, and of each face its frame, box and probability."""

    verdict: str
    faces: list[tuple[int, tuple[float, ...], float]]
    seconds: Counter[str]

    @property
    def total(self) -> float:
        return self.seconds.total()


class Straightforward:
    """The plain way, with several models: faces are found once and charged to each."""

    def __init__(self, models: dict[str, Bundle]) -> None:
        self.models = models
        self.mtcnn = MTCNN(
            keep_all=True, min_face_size=FACES.min_face, thresholds=[*INFERENCE_THRESHOLDS], factor=FACES.factor
        )
        for model in models.values():
            if model.generator is not None:
                model.generator.head = PlainHead(model.generator.head)

    @torch.no_grad()
    def __call__(self, path: Path) -> dict[str, Answer]:
        clock, faces = Clock(), []
        detect, cut = clock("faces", self.mtcnn.detect), clock("crop", self._cut)
        with av.open(str(path)) as container:
            container.streams.video[0].thread_count = 1
            decoded = (frame.to_ndarray(format="rgb24") for frame in container.decode(video=0))
            for index, image in enumerate(clock.each("decode", decoded)):
                boxes, _ = detect(image)
                if index % FACES.every == 0 and boxes is not None:
                    faces += [(index, tuple(box), cut(image, box)) for box in boxes]
        return {kind: self._judge(model, faces, clock.seconds) for kind, model in self.models.items()}

    def _judge(self, model: Bundle, faces: list[tuple[int, tuple, Tensor]], found: Counter[str]) -> Answer:
        clock, judged = Clock(), []
        predict, judge = clock("G", predict_mri), clock("detector", model.detector)
        for index, box, x in faces:
            picture = predict(model.generator, x) if model.input == "mri" else x.float() / 255
            judged.append((index, box, float(judge(picture).sigmoid())))
        return Answer(video_verdict(np.array([p for *_, p in judged]), THRESHOLDS), judged, found + clock.seconds)

    def _cut(self, image: np.ndarray, box: np.ndarray) -> Tensor:
        limit = [image.shape[1], image.shape[0]] * 2
        face = resize_face(crop(image, np.clip(box, 0, limit), FACES.margin), FACES.size, FACES.resize)
        return torch.from_numpy(face.transpose(2, 0, 1)[None].copy())


class Ours:
    """`mrigan detect` as it comes, in this process."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.judge = Judge(folder, Options(**options))

    def __call__(self, path: Path) -> Answer:
        clock, judge = Clock(), self.judge
        assert judge.detector is not None
        detect, embed, predict, read = (
            judge.detector.detect, judge.bundle.detector.embed, bundles.predict_mri, look.read_frames
        )  # fmt: skip
        judge.detector.detect = clock("faces", detect)
        judge.bundle.detector.embed = clock("detector", embed)
        bundles.predict_mri = clock("G", predict)
        look.read_frames = lambda *args: clock.each("decode", read(*args))
        try:
            verdict = clock("rest", lambda: next(judge.judge([Input(str(path), False)], [0], 0, lambda *_: None)))()
        finally:
            del judge.detector.detect, judge.bundle.detector.embed
            bundles.predict_mri, look.read_frames = predict, read
        found = [(f.frame, f.box, f.prob) for f in verdict.verdict.faces]
        return Answer(verdict.verdict.verdict, found, clock.seconds)


def make_videos(folder: Path) -> list[Path]:
    """A real and a fake clip of one person, 960 × 720 px between its own mirror images, with grain."""
    rng, paths = np.random.default_rng(0), []
    grain = rng.normal(0, 3, (HEIGHT, WIDTH, 1)).astype(np.float32)
    kinds = {"original": "small-real.mp4", "paste": "small-fake.mp4"}
    make_clips(0, SECONDS * RATE, folder, 0, kinds)
    for name in ("real", "fake"):
        paths.append(folder / f"{name}.mp4")
        with av.open(str(paths[-1]), "w") as container:
            stream = container.add_stream("libx264", rate=RATE, options={"preset": "medium", "crf": "23"})
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            for frame in read_frames(folder / f"small-{name}.mp4", every=1):
                image = cv2.resize(frame.image, (HEIGHT * 4 // 3, HEIGHT), interpolation=cv2.INTER_CUBIC)
                side = (WIDTH - image.shape[1]) // 2
                wide = cv2.copyMakeBorder(image, 0, 0, side, side, cv2.BORDER_REFLECT)
                noisy = wide + np.roll(grain, frame.index * 37, axis=1)
                picture = noisy.clip(0, 255).astype(np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())
    return paths


@torch.no_grad()
def make_model(folder: Path, kind: str, faces: Tensor, labels: np.ndarray) -> Path:
    """A model of full size: random weights, norms set to the faces' statistics, the last layer fitted to the labels."""
    from sklearn.linear_model import LogisticRegression

    torch.manual_seed(0)
    generator = Generator().eval() if kind == "mri" else None
    if generator is not None:  # as loud as the deep levels, or a box that moves by 1 px makes another picture
        generator.down[0].conv.weight.mul_(LOUD)
    detector = Detector("tf_efficientnet_b0.ns_jft_in1k").eval()
    pictures = faces.float() / 255 if generator is None else torch.cat([predict_mri(generator, f[None]) for f in faces])
    norms = [module for module in detector.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.train().momentum = None
    detector(pictures)
    detector.eval()
    hidden = detector.embed(pictures)
    scale = float(hidden.relu().std())
    fitted = LogisticRegression(C=1.0, max_iter=1000).fit(hidden.relu().numpy() / scale, labels)
    last = detector.head[-1]
    last.weight.copy_(torch.from_numpy(fitted.coef_ / scale))
    last.bias.copy_(torch.from_numpy(fitted.intercept_))
    return save_bundle(folder / kind, detector, kind, generator, faces=to_dict(FACES), thresholds=THRESHOLDS)


def known_faces(videos: list[Path]) -> tuple[Tensor, np.ndarray]:
    """Faces of frames that are not judged, (N, 3, 256, 256) uint8, and the number (N,) of each one's video."""
    search, cut, of, rng = FaceDetector(FACES), [], [], np.random.default_rng(0)
    for number, path in enumerate(videos):
        wanted = [index for index in range(SECONDS * RATE) if index % FACES.every in FIT]
        for frame in read_frames(path, indices=wanted):
            for face in search.detect([frame.image])[0][:1]:
                box = np.add(face.box, rng.integers(-JITTER, JITTER + 1, 4))
                cut.append(resize_face(crop(frame.image, box, FACES.margin), FACES.size, FACES.resize))
                of.append(number)
    return torch.from_numpy(np.stack(cut).transpose(0, 3, 1, 2).copy()), np.array(of)


def told(name: str, answers: list[Answer]) -> float:
    """Print what a way cost; returns its CPU-seconds a video."""
    seconds = sum((answer.seconds for answer in answers), Counter[str]())
    each = {stage: value / len(answers) for stage, value in seconds.most_common()}
    total = sum(each.values())
    print(f"  {name:<18}{total:8.2f} CPU-s a video: {', '.join(f'{stage} {v:.2f}' for stage, v in each.items())}")
    return total


def agree(theirs: Answer, ours: Answer) -> str:
    """How far two answers agree, in words."""
    pairs = [
        (max((b for b in theirs.faces if b[0] == face[0]), key=lambda b: iou(b[1], face[1]), default=None), face)
        for face in ours.faces
    ]
    apart = [abs(a[2] - b[2]) for a, b in pairs if a is not None and iou(a[1], b[1]) > 0.5]
    mean = [np.mean([p for *_, p in answer.faces]) for answer in (theirs, ours)]
    return (
        f"{theirs.verdict} and {ours.verdict}; faces {len(theirs.faces)} and {len(ours.faces)}, {len(apart)} the same; "
        f"mean probability {mean[0]:.3f} and {mean[1]:.3f}; of a face apart by {np.mean(apart):.3f}, "
        f"at most {max(apart):.3f}"
    )


def compare(models: dict[str, Path], videos: list[Path]) -> None:
    plain = Straightforward({kind: load_bundle(folder) for kind, folder in models.items()})
    precisions = ("fp32", "bf16") if has_bf16() else ("fp32",)
    theirs: dict[str, list[Answer]] = {kind: [] for kind in models}
    for path in videos:
        for kind, answer in plain(path).items():
            theirs[kind].append(answer)
    for kind, folder in models.items():
        print(f"\n{kind} model; the straightforward way and ours:")
        cost, same = told("straightforward", theirs[kind]), True
        for precision in precisions:
            way = Ours(folder, device="cpu", precision=precision)
            way(videos[0])
            ours = [way(path) for path in videos]
            print(f"{'':20}{cost / told(f'mrigan, {precision}', ours):.1f} times fewer CPU-seconds")
            for path, a, b in zip(videos, theirs[kind], ours, strict=True):
                print(f"    {path.name}: {agree(a, b)}")
                same &= a.verdict == b.verdict
        print(f"  same verdicts: {'yes' if same else 'NO'}")


def on_gpu(folder: Path, videos: list[Path]) -> None:
    """Our videos a second, by one process."""
    judge = Judge(folder, Options(device="cuda"))
    inputs = [Input(str(path), False) for path in videos]
    list(judge.each(inputs))
    many = inputs * (GPU_VIDEOS // len(inputs) or 1)
    start = time.perf_counter()
    list(judge.each(many))
    print(f"  on {torch.cuda.get_device_name()}: {len(many) / (time.perf_counter() - start):.2f} videos/s")


def has_bf16() -> bool:
    """Whether this processor multiplies bf16 by itself."""
    info = Path("/proc/cpuinfo")
    return info.is_file() and any(name in info.read_text() for name in ("amx_bf16", "avx512_bf16"))


def main(given: list[Path]) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        made = make_videos(folder)
        faces, labels = known_faces(made)
        models = {kind: make_model(folder / "models", kind, faces, labels) for kind in ("face", "mri")}
        compare(models, given or made)
        if torch.cuda.is_available():
            for model in models.values():
                on_gpu(model, given or made)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="*", type=Path, metavar="VIDEO")
    given = parser.parse_args().videos
    if missing := [str(path) for path in given if not path.is_file()]:
        parser.error(f"no such file: {', '.join(missing)}")
    main(given)
