"""DALI and torchvision as decoders: what the torch loader gives, picture for picture; and one bad picture kills nobody.

Their GPU forms take the same way through the code; here DALI decodes on the CPU, and so does torchvision. What a GPU
does to the pixels is measured where one is at hand.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from mrigan.data import Batch, EpochPlan, LoaderOptions, ShardSet
from mrigan.data import loader as loaders
from mrigan.data.backends.batched import MAX_FAILURES, BatchedLoader
from mrigan.data.backends.dali import DaliDecoder, build_pipeline
from mrigan.data.backends.decoder import BatchDecodeError, BatchDecoder, Pictures, probe
from mrigan.data.backends.nvjpeg import TorchvisionDecoder
from mrigan.data.batch import Request
from mrigan.data.decode import decode
from mrigan.data.loader import open_loader
from mrigan.data.samples import Samples
from mrigan.errors import ConfigError, MriganError, ShardError
from mrigan.imaging.face_augmentation import recipe
from tests.builders import train_loader
from tests.data.shards import SIZE, Sample, make_samples, write_shards

CPU = torch.device("cpu")
GPU = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))
MAKE: dict[str, Callable[[str], BatchDecoder]] = {
    "dali": lambda device: DaliDecoder(torch.device(device), 2, 64),
    "torchvision": lambda device: TorchvisionDecoder(torch.device(device)),
}
# libjpeg-turbo decodes in both on a CPU: no difference. nvJPEG rounds its transforms in another way.
TOLERANCE = {"cpu": 0, "cuda": 24}
OPTIONS = {"global_batch": 12, "start_step": 0, "stop_step": 7, "size": SIZE, "seed": 3}


@pytest.fixture(params=MAKE)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def decoders(name: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """`library="dali"` is the decoder called `name`, so that loaders are made as users make them."""
    monkeypatch.setattr(loaders, "DaliDecoder", lambda device, threads, most: MAKE[name](str(device)))
    return name


def load(shards: ShardSet, device: str = "cpu", **changes) -> list[Batch]:
    plan = EpochPlan(shards.labels, seed=1)
    more = {"library": "dali", "decode_on": device, "device": device, "workers": 2}
    with train_loader(shards, plan, **(OPTIONS | more | changes)) as batches:
        assert isinstance(batches, BatchedLoader) or changes.get("library") == "torch"
        return list(batches)


def check(mine: list[Batch], theirs: list[Batch], tolerance: float) -> None:
    assert len(mine) == len(theirs) > 0
    for a, b in zip(mine, theirs, strict=True):
        assert a.step == b.step
        assert a.skipped == b.skipped
        for field in ("label", "ids", "epoch", "seeds"):
            assert torch.equal(getattr(a, field), getattr(b, field))
        for one, other in ((a.face, b.face), (a.mri, b.mri)):
            if one is None or other is None:
                assert one is other is None
                continue
            assert (one.shape, one.dtype) == (other.shape, torch.uint8)
            assert (one.cpu().int() - other.int()).abs().max() <= tolerance


@pytest.mark.parametrize("device", ["cpu", GPU])
@pytest.mark.parametrize("mri_format", ["jpg", "png"])
def test_the_same_batches_as_the_torch_loaders(decoders: str, device: str, mri_format: str, tmp_path: Path) -> None:
    samples = make_samples(30, 53, mri_format=mri_format)
    shards = ShardSet.open([write_shards(tmp_path / "set", samples, mri_format=mri_format)], "train", kind="pairs")
    theirs = load(shards, library="torch", decode_on="cpu")
    check(load(shards, device), theirs, TOLERANCE[device])
    check(load(shards, device, workers=0), theirs, TOLERANCE[device])
    assert any(
        not torch.equal(batch.face, same.face) for batch, same in zip(theirs, load(shards, flip=0.0), strict=True)
    )
    ranks = [load(shards, device, rank=rank, world_size=3, start_step=4) for rank in range(3)]
    for whole, *parts in zip(theirs[4:], *ranks, strict=True):
        assert torch.equal(whole.ids, torch.cat([part.ids for part in parts]))
        pictures = torch.cat([part.face for part in parts]).cpu().int()
        assert (pictures - whole.face.int()).abs().max() <= TOLERANCE[device]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_faces_are_augmented_on_the_gpu(decoders: str, pairs: Path) -> None:
    shards = ShardSet.open([pairs], "train")
    theirs = load(shards, library="torch", decode_on="cpu", augment=recipe("face", np.random.default_rng(0)))
    for a, b in zip(load(shards, "cuda", augment=recipe("face", np.random.default_rng(0))), theirs, strict=True):
        assert a.face.is_cuda
        assert (a.face.cpu().float() - b.face).abs().mean() < 2


def test_faces_alone_and_augmented_ones(decoders: str, pairs: Path) -> None:
    shards = ShardSet.open([pairs], "train")
    for changes in ({"mri": False}, {"augment": _jitter}, {"augment": recipe("face", np.random.default_rng(0))}):
        check(load(shards, **changes), load(shards, library="torch", **changes), 0)


def _jitter(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return face ^ rng.integers(0, 256, face.shape, dtype=np.uint8)


@pytest.mark.parametrize("size", [32, 24, 48])
def test_pictures_of_several_sizes_are_resized_as_opencv_does(decoders: str, size: int, tmp_path: Path) -> None:
    folders = [
        write_shards(tmp_path / "a", make_samples(6, 6, size=48)),
        write_shards(tmp_path / "b", make_samples(6, 6, size=32, seed=1), plan="q" * 64),
    ]
    shards = ShardSet.open(folders, "train", kind="pairs")
    check(load(shards, size=size), load(shards, library="torch", size=size), 1)  # OpenCV's weights are rounded


def _spoil(samples: list[Sample], which: int, kind: str) -> None:
    whole = samples[which].face
    samples[which].face = {
        "no picture": b"not a picture",
        "nothing in it": b"\xff\xd8" + bytes(300) + b"\xff\xd9",
        "cut": whole[: len(whole) // 2],
        "another format's end": whole[:-2] + b"IE",
    }[kind]


@pytest.mark.parametrize("kind", ["no picture", "nothing in it", "cut", "another format's end"])
def test_a_bad_picture_is_named_after_the_batches_before_it(decoders: str, kind: str, tmp_path: Path) -> None:
    samples = make_samples(30, 30)
    _spoil(samples, 40, kind)
    shards = ShardSet.open([write_shards(tmp_path / "bad", samples)], "train", kind="pairs")
    bad = next(i for i in range(len(shards)) if shards.key(i) == samples[40].key)
    plan = EpochPlan(shards.labels, seed=1)
    step = int(np.flatnonzero(plan.epoch(0) == bad)[0]) // 6
    options = OPTIONS | {"global_batch": 6, "stop_step": 10}
    batches = train_loader(shards, plan, library="dali", workers=2, **options)
    assert [next(batches).step for _ in range(step)] == list(range(step))
    with pytest.raises(ShardError, match=f"the face of sample {samples[40].key}") as caught:
        next(batches)
    assert next(batches, None) is None
    row = shards.rows.slice(bad, 1).to_pylist()[0]
    assert f"{row['shard']} at byte {row['face_offset']}" in str(caught.value)


@pytest.mark.parametrize("kind", ["no picture", "nothing in it"])
def test_bad_pictures_are_skipped_as_the_torch_loader_skips_them(decoders: str, kind: str, tmp_path: Path) -> None:
    samples = make_samples(30, 30)
    for which in (3, 40, 41, 50):
        _spoil(samples, which, kind)
    shards = ShardSet.open([write_shards(tmp_path / "bad", samples)], "train", kind="pairs")
    mine = load(shards, on_bad="skip", stop_step=15)
    check(mine, load(shards, library="torch", on_bad="skip", stop_step=15), 0)
    keys = {shards.key(bad.sample) for batch in mine for bad in batch.skipped}
    assert keys == {samples[which].key for which in (3, 40, 41, 50)}


class Failing:
    """A decoder that fails on its first `failures` batches, without a fault in them."""

    def __init__(self, failures: list[int]) -> None:
        self.failures = failures

    def decode(self, batches: Iterator[Pictures]) -> Iterator[list[torch.Tensor]]:
        for pictures, mirrored in batches:
            if self.failures[0]:
                self.failures[0] -= 1
                raise BatchDecodeError("out of memory")
            planes = [torch.from_numpy(decode(picture).transpose(2, 0, 1).copy()) for picture in pictures]
            yield [p.flip(2) if flip else p for p, flip in zip(planes, mirrored, strict=True)]

    def close(self) -> None:
        pass


@pytest.mark.parametrize("failures", [1, MAX_FAILURES, MAX_FAILURES + 1])
def test_a_decoder_that_fails_without_a_fault_is_helped_out_for_a_while(pairs: Path, failures: int) -> None:
    shards = ShardSet.open([pairs], "train", kind="pairs")
    left = [failures]

    def requests() -> Iterator[Request]:
        for step in range(9):
            yield Request(step, np.arange(step, step + 4), np.zeros(4, np.int64))

    samples = Samples(shards, size=SIZE, mri=True, flip=0.5)
    loader = BatchedLoader(samples, requests(), make=lambda: Failing(left), device=CPU, workers=1)
    if failures > MAX_FAILURES:
        with pytest.raises(MriganError, match="out of memory"):
            list(loader)
        return
    check(list(loader), list(open_loader(samples, requests(), 4, LoaderOptions())), 0)


@pytest.mark.parametrize("device", ["cpu", GPU])
def test_the_probe_lets_good_decoders_pass(name: str, device: str) -> None:
    decoder = MAKE[name](device)
    probe(decoder)
    decoder.close()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda p, flip: p, "differ from"),  # does not flip
        (lambda p, flip: (p.flip(2) if flip else p).flip(0), "differ from"),  # BGR
        (lambda p, flip: (p.flip(2) if flip else p) // 2 + 64, "differ from"),
    ],
)
def test_the_probe_finds_wrong_pictures(spoil: Callable, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong(Failing):
        def decode(self, batches: Iterator[Pictures]) -> Iterator[list[torch.Tensor]]:
            for pictures, mirrored in batches:
                planes = [torch.from_numpy(decode(picture).transpose(2, 0, 1).copy()) for picture in pictures]
                yield [spoil(p, flip) for p, flip in zip(planes, mirrored, strict=True)]

    probe(Failing([0]))
    with pytest.raises(BatchDecodeError, match=words):
        probe(Wrong([0]))
    monkeypatch.setattr(loaders, "TorchvisionDecoder", lambda device: Wrong([0]))
    monkeypatch.setattr(loaders, "DaliDecoder", lambda *_: Failing([1]))
    with pytest.raises(ConfigError, match="does not work on this machine: its pictures differ"):
        loaders._decoder(_Any(), 4, LoaderOptions("torch", "cuda", torch.device("cuda")))
    with pytest.raises(ConfigError, match="does not work on this machine: out of memory"):
        loaders._decoder(_Any(), 4, LoaderOptions("dali", "cuda", torch.device("cuda")))


class _Any:
    mri = True
    augment: object = None


def test_auto_takes_what_works(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    gpu = torch.device("cuda")
    made = {"dali": [0], "torchvision": [0]}
    monkeypatch.setattr(loaders, "DaliDecoder", lambda *_: Failing(made["dali"]))
    monkeypatch.setattr(loaders, "TorchvisionDecoder", lambda _: Failing(made["torchvision"]))
    assert loaders._decoder(_Any(), 4, LoaderOptions("auto", "auto", gpu)) is not None
    assert "decoded by DALI on cuda" in caplog.text
    made["dali"][0] = 1
    assert loaders._decoder(_Any(), 4, LoaderOptions("auto", "auto", gpu)) is not None
    assert "decoded by torchvision on cuda" in caplog.text
    made["dali"][0] = made["torchvision"][0] = 1
    assert loaders._decoder(_Any(), 4, LoaderOptions("auto", "auto", gpu)) is None
    assert "decoded on the CPU" in caplog.text
    for options in (
        LoaderOptions("auto", "auto", CPU),
        LoaderOptions("torch", "cpu", gpu),
        LoaderOptions("auto", "cpu", gpu),
    ):
        assert loaders._decoder(_Any(), 4, options) is None
    augmented = _Any()
    augmented.augment = _jitter
    assert loaders._decoder(augmented, 4, LoaderOptions("auto", "auto", gpu)) is None
    augmented.augment = recipe("face", np.random.default_rng(0))
    assert loaders._decoder(augmented, 4, LoaderOptions("auto", "cuda", gpu)) is not None
    augmented.augment = _jitter
    with pytest.raises(ConfigError, match="is not implemented for pictures on a GPU"):
        loaders._decoder(augmented, 4, LoaderOptions("auto", "cuda", gpu))
    with pytest.raises(ConfigError, match="training is on the CPU"):
        loaders._decoder(_Any(), 4, LoaderOptions("torch", "cuda", CPU))


def test_without_dali_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch, pairs: Path) -> None:
    for module in [name for name in sys.modules if name.startswith("nvidia.dali")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "nvidia.dali", None)
    with pytest.raises(ConfigError, match=r"mrigan\[dali\]"):
        load(ShardSet.open([pairs], "train", kind="pairs"))


@pytest.mark.parametrize(("device", "decoder", "planes"), [("cuda", "mixed", "gpu"), ("cpu", "cpu", "cpu")])
def test_the_graph(device: str, decoder: str, planes: str) -> None:
    """Operators and arguments, for a GPU too: the graph needs none before its backend is built."""
    pipeline = build_pipeline(lambda: ([], []), torch.device(device), 3, 40)
    pipeline._build_graph()
    specs = {str(op.spec).split(":")[0].removeprefix("OpSpec for "): str(op.spec) for op in pipeline._ops}
    assert set(specs) == {"ExternalSource", "decoders__Image", "CropMirrorNormalize"}
    image, out = specs["decoders__Image"], specs["CropMirrorNormalize"]
    for line in (f"device: {decoder}", "output_type: 0", "use_fast_idct: False", "jpeg_fancy_upsampling: True"):
        assert f"    {line}\n" in image
    for line in (f"device: {planes}", "dtype: 0", "output_layout: CHW", "mean: [0.000000, ]", "std: [1.000000, ]"):
        assert f"    {line}\n" in out
    assert "__Image" in out.split("Outputs")[0]  # its pictures
    assert "__ExternalSource" in out.split("Outputs")[0]  # its flips
    assert (pipeline.max_batch_size, pipeline.num_threads, pipeline.prefetch_queue_depth) == (40, 3, 2)
    assert pipeline.device_id == (0 if device == "cuda" else None)
