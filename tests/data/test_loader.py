"""Loaders: the right pictures in the right order, whatever the number of workers and ranks; and damage that is told."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from mrigan.data import EpochPlan, Loader, ShardSet, eval_batches
from mrigan.data.backends import processes
from mrigan.data.backends.buffers import BufferPool
from mrigan.data.backends.worker import BatchDataset
from mrigan.data.batch import Request
from mrigan.data.samples import Samples
from mrigan.errors import ConfigError, ShardError
from tests.builders import train_loader
from tests.data.loading import WORKERS, decoded, load, same
from tests.data.shards import SIZE, encode, make_samples, picture, write_shards

pytestmark = pytest.mark.usefixtures("others")


def jitter(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An augmentation whose every value shows the generator's state."""
    return face ^ rng.integers(0, 256, face.shape, dtype=np.uint8)


def test_batches_hold_what_the_plan_names(shards: ShardSet, plan: EpochPlan) -> None:
    batches = load(shards, plan, flip=0.0)
    assert [b.step for b in batches] == list(range(7))
    for batch in batches:
        assert len(batch) == 12
        assert (batch.face.shape, batch.face.dtype) == ((12, 3, SIZE, SIZE), torch.uint8)
        assert batch.label.dtype == torch.float32
        assert batch.mri is not None
        ids, epochs = plan.batch_with_epochs(batch.step, 12)
        assert batch.ids.tolist() == ids.tolist()
        assert batch.epoch.tolist() == epochs.tolist()
        assert batch.label.tolist() == shards.labels[ids].tolist()
        for k, i in enumerate(ids):
            face, mri, _ = shards.read(i)
            assert (batch.face[k].numpy() == decoded(face)).all()
            assert (batch.mri[k].numpy() == decoded(mri)).all()
            assert batch.mri[k].any() == bool(batch.label[k])  # a real's MRI is black


@pytest.mark.parametrize(
    ("workers", "kind"), [(1, "threads"), (3, "threads"), (8, "threads"), (1, "processes"), (2, "processes")]
)
def test_workers_change_nothing(shards: ShardSet, plan: EpochPlan, workers: int, kind: str) -> None:
    alone = load(shards, plan)
    several = load(shards, plan, workers=workers, workers_are=kind)
    assert len(several) == len(alone)
    assert all(same(a, b) for a, b in zip(alone, several, strict=True))
    assert several[0].face.is_shared() == (kind == "processes")


def test_ranks_share_each_batch_and_a_resume_on_other_ranks_sees_the_same(shards: ShardSet, plan: EpochPlan) -> None:
    one = load(shards, plan, augment=jitter)
    for world, start in ((2, 0), (3, 4)):  # step 4 lies within epoch 0, step 5 straddles
        again = EpochPlan(shards.labels, 1)
        ranks = [
            load(shards, again, augment=jitter, rank=rank, world_size=world, start_step=start) for rank in range(world)
        ]
        assert {len(batches) for batches in ranks} == {7 - start}
        for whole, *parts in zip(one[start:], *ranks, strict=True):
            assert torch.equal(whole.face, torch.cat([p.face for p in parts]))
            assert torch.equal(whole.ids, torch.cat([p.ids for p in parts]))
            assert torch.equal(whole.seeds, torch.cat([p.seeds for p in parts]))


def test_an_epoch_is_told_to_the_loader(shards: ShardSet, plan: EpochPlan) -> None:
    batches = load(shards, plan, global_batch=60, stop_step=2)  # an epoch is 30 + 30
    assert [set(b.epoch.tolist()) for b in batches] == [{0}, {1}]
    assert batches[0].ids.tolist() != batches[1].ids.tolist()


def test_flips_are_joint_and_hang_on_seed_epoch_and_key(shards: ShardSet, plan: EpochPlan) -> None:
    def flips(seed: int) -> dict[tuple[int, int], bool]:
        seen = {}
        for batch in load(shards, plan, stop_step=40, seed=seed):
            assert batch.mri is not None
            for k, i in enumerate(batch.ids.tolist()):
                face, mri, _ = (decoded(part) if part and part[:1] != b"{" else None for part in shards.read(i))
                assert face is not None
                assert mri is not None
                mirrored = not (batch.face[k].numpy() == face).all()
                step = -1 if mirrored else 1
                assert (batch.face[k].numpy() == face[:, :, ::step]).all()
                assert (batch.mri[k].numpy() == mri[:, :, ::step]).all()
                assert seen.setdefault((i, int(batch.epoch[k])), mirrored) == mirrored
        return seen

    first, other = flips(3), flips(4)
    assert len(first) == 480
    assert abs(sum(first.values()) - 240) < 66  # 6 standard deviations
    assert 150 < sum(first[s] != other[s] for s in first) < 330
    by_sample: dict[int, set[bool]] = {}
    for (i, _), mirrored in first.items():
        by_sample.setdefault(i, set()).add(mirrored)
    assert sum(len(kinds) == 2 for kinds in by_sample.values()) > 60  # not the same in every epoch


def test_augmentation_draws_from_seed_epoch_and_key_only(shards: ShardSet, plan: EpochPlan) -> None:
    a, b = (
        load(shards, plan, augment=jitter, workers=w, workers_are=kind, global_batch=n, stop_step=120 // n)
        for w, kind, n in ((0, "threads", 12), (2, "processes", 20))
    )
    faces = [torch.cat([batch.face for batch in batches]) for batches in (a, b)]
    assert torch.equal(*faces)
    assert a[0].mri is None
    assert not torch.equal(a[0].face, load(shards, plan, augment=jitter, seed=4)[0].face)
    by_sample: dict[int, list[torch.Tensor]] = {}
    for batch in a:
        for i, face in zip(batch.ids.tolist(), batch.face, strict=True):
            by_sample.setdefault(i, []).append(face)
    assert all(not torch.equal(*pair) for pair in by_sample.values() if len(pair) == 2)  # two epochs


def test_pictures_of_another_size_are_resized_alike(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "big", make_samples(2, 3, size=64, mri_format="png"), mri_format="png")
    shards = ShardSet.open([folder], "train", kind="pairs")
    batch = next(eval_batches(shards, range(5), 5, size=SIZE))
    assert batch.mri is not None
    for k in range(5):
        for mine, data in zip((batch.face[k], batch.mri[k]), shards.read(k), strict=False):
            mean = decoded(data).reshape(3, SIZE, 2, SIZE, 2).mean(axis=(2, 4))  # area = the mean of 2 x 2
            assert np.abs(mine.numpy() - mean).max() <= 0.76
    assert next(eval_batches(shards, range(5), 5, size=96)).face.shape == (5, 3, 96, 96)


@WORKERS
def test_eval_batches_keep_the_order_and_the_rest(shards: ShardSet, workers: int, kind: str) -> None:
    ids = [7, 3, 3, 80, 0, 11, 5]
    batches = list(eval_batches(shards, ids, 3, workers=workers, workers_are=kind, size=SIZE, mri=False))
    assert [len(b) for b in batches] == [3, 3, 1]
    assert torch.cat([b.ids for b in batches]).tolist() == ids
    assert (batches[2].face[0].numpy() == decoded(shards.read(5)[0])).all()
    assert all(b.mri is None for b in batches)
    assert list(eval_batches(shards, [], 3, workers=workers, workers_are=kind, size=SIZE)) == []


def test_torchs_random_state_is_left_alone(shards: ShardSet, plan: EpochPlan) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    for kind in ("threads", "processes"):
        load(shards, plan, workers=1, workers_are=kind, stop_step=2)
        list(eval_batches(shards, [1, 2], 1, workers=1, workers_are=kind, size=SIZE))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_loader_within_a_loader_leaves_it_whole(shards: ShardSet, plan: EpochPlan) -> None:
    expected = load(shards, plan)
    for kind, inner in (("threads", "processes"), ("processes", "threads"), ("processes", "processes")):
        options = {"global_batch": 12, "start_step": 0, "stop_step": 7, "size": SIZE, "seed": 3}
        with train_loader(shards, plan, workers=2, workers_are=kind, **options) as batches:
            for k, batch in enumerate(batches):
                assert same(batch, expected[k])
                if k in (1, 4):
                    assert len(list(eval_batches(shards, range(9), 2, workers=1, workers_are=inner, size=SIZE))) == 5
        assert k == 6


def test_workers_decode_after_opencv_used_threads_here(shards: ShardSet, plan: EpochPlan) -> None:
    import cv2

    cv2.GaussianBlur(np.zeros((2000, 2000, 3), np.uint8), (0, 0), 5)  # starts OpenCV's threads, which a fork loses
    torch.ones(300, 300) @ torch.ones(300, 300)
    for kind in ("threads", "processes"):
        assert len(load(shards, plan, workers=2, workers_are=kind, stop_step=2, augment=_blur)) == 2


def _blur(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    import cv2

    big = cv2.GaussianBlur(cv2.resize(face, (1024, 1024)), (0, 0), 3)
    return cv2.resize(big, face.shape[:2])


def test_a_dataset_travels_to_a_spawned_process(shards: ShardSet) -> None:
    dataset = pickle.loads(pickle.dumps(BatchDataset(Samples(shards, size=SIZE, mri=True))))
    request = Request(0, np.array([4, 2]), np.array([0, 0]))
    assert same(dataset[request], BatchDataset(Samples(shards, size=SIZE, mri=True))[request])


@WORKERS
def test_a_flipped_bit_stops_with_its_place(pairs: Path, tmp_path: Path, workers: int, kind: str, others: set) -> None:
    folder = Path(shutil.copytree(pairs, tmp_path / "pairs"))
    shards = ShardSet.open([folder], "train")
    row = shards.rows.slice(40, 1).to_pylist()[0]
    with open(folder / row["shard"], "r+b") as file:
        file.seek(row["face_offset"] + row["face_size"] // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 64]))
    batches = eval_batches(shards, range(83), 4, workers=workers, workers_are=kind, size=SIZE)
    seen: list[int] = []
    with pytest.raises(ShardError) as caught:
        seen.extend(i for batch in batches for i in batch.ids.tolist())
    assert seen == list(range(40))  # all before it, in order
    for part in (row["key"], row["shard"], str(row["face_offset"]), "shards verify"):
        assert part in str(caught.value)
    assert caught.value.where is not None
    assert "Traceback" not in str(caught.value)
    assert next(batches, None) is None
    assert set(multiprocessing.active_children()) <= others


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"not a picture", "the mri of sample .* is not a whole JPEG or PNG"),
        (encode(picture(1))[:-40], "is not a whole"),
        (b"\xff\xd8" + bytes(300) + b"\xff\xd9", "cannot be decoded"),
    ],
)
def test_a_picture_written_wrong_is_named(tmp_path: Path, data: bytes, words: str) -> None:
    samples = make_samples(2, 2)
    samples[3].mri = data
    shards = ShardSet.open([write_shards(tmp_path / "bad", samples)], "train")
    with pytest.raises(ShardError, match=words):
        list(eval_batches(shards, range(4), 4, size=SIZE))
    assert len(list(eval_batches(shards, range(4), 4, size=SIZE, mri=False))) == 1  # not asked for, not decoded


@WORKERS
def test_an_error_in_an_augmentation_is_not_hidden(shards: ShardSet, plan: EpochPlan, workers: int, kind: str) -> None:
    with pytest.raises(RuntimeError, match="mine"):
        load(shards, plan, augment=_fails, workers=workers, workers_are=kind)


def _fails(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    raise RuntimeError("mine")


def test_closing_early_stops_the_workers(shards: ShardSet, plan: EpochPlan, others: set) -> None:
    threads = threading.active_count()
    for kind in ("threads", "processes"):
        batches = train_loader(
            shards, plan, global_batch=12, start_step=0, stop_step=10**5, workers=2, workers_are=kind, size=SIZE
        )
        assert isinstance(batches, Loader)
        next(batches)
        assert len(set(multiprocessing.active_children()) - others) == (2 if kind == "processes" else 0)
        assert kind == "processes" or threading.active_count() > threads
        batches.close()
        assert set(multiprocessing.active_children()) <= others
        assert kind == "processes" or threading.active_count() == threads
        assert next(batches, None) is None
        batches.close()


def test_wrong_use_is_told_before_anything_runs(shards: ShardSet, plan: EpochPlan, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="12 cannot be divided evenly among 5"):
        load(shards, plan, world_size=5)
    with pytest.raises(ValueError, match="'fork' is none of threads, processes"):
        load(shards, plan, workers_are="fork")
    with pytest.raises(ValueError, match="plan is for 2 samples"):
        load(shards, EpochPlan([0, 1], 0))
    with pytest.raises(ValueError, match="does not match its MRI"):
        load(shards, plan, augment=jitter, mri=True)
    faces = ShardSet.open([write_shards(tmp_path / "f", make_samples(2, 2, pairs=False), kind="faces")], "train")
    with pytest.raises(ShardError, match="hold no MRIs"):
        eval_batches(faces, [0], 1, mri=True)
    assert next(eval_batches(faces, [0], 1, size=SIZE)).mri is None


def test_too_little_shared_memory_is_told_before_anything_runs(
    shards: ShardSet, plan: EpochPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "PREFETCH", 10**12)
    with pytest.raises(ConfigError, match=r"shared memory(.|\n)*workers_are=threads(.|\n)*--shm-size"):
        load(shards, plan, workers=2, workers_are="processes")
    assert len(load(shards, plan, workers=2)) == 7


def test_a_batch_moves_its_pictures(shards: ShardSet, plan: EpochPlan) -> None:
    batch = load(shards, plan, stop_step=1)[0]
    moved = batch.to("meta")
    assert moved.mri is not None
    assert {t.device.type for t in (moved.face, moved.mri, moved.label)} == {"meta"}
    assert {t.device.type for t in (moved.ids, moved.epoch, moved.seeds)} == {"cpu"}
    assert same(batch.to("cpu"), batch)
    assert load(shards, plan, stop_step=1, augment=jitter)[0].to("meta").mri is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="pinned memory needs a GPU")
def test_pinned_batches(shards: ShardSet, plan: EpochPlan) -> None:
    batch = load(shards, plan, stop_step=1, workers=1, pin_memory=True)[0]
    assert batch.face.is_pinned()
    assert batch.to("cuda").face.is_cuda


def test_memory_is_used_again_once_nothing_looks_at_it() -> None:
    memory = BufferPool()
    first = memory((2, 3, 4, 4))
    place, planes, part = first.data_ptr(), first.numpy(), first[1, :, ::2]
    part.fill_(7)
    assert memory((2, 3, 4, 4)).data_ptr() != place
    del first
    assert memory((2, 3, 4, 4)).data_ptr() != place
    del planes
    assert memory((2, 3, 4, 4)).data_ptr() != place  # a view is left
    assert (part == 7).all()
    del part
    assert memory((4, 3, 2, 4)).data_ptr() == place
    assert memory((5,)).shape == (5,)


def test_a_kept_batch_is_not_written_to_again(shards: ShardSet, plan: EpochPlan) -> None:
    options = {"global_batch": 12, "start_step": 0, "stop_step": 40, "workers": 2, "size": SIZE, "seed": 3}
    with train_loader(shards, plan, **options) as batches:
        first = next(batches)
        face, copy = first.face[3], first.face[3].clone()
        del first
        places = {batch.face.data_ptr() for batch in batches}
    assert torch.equal(face, copy)
    assert len(places) < 10
