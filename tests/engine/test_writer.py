"""Checkpoints on their way to disk: copies, files that the library reads, a thread whose errors are not lost."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from mrigan.engine.tensor_file import Snapshot, TensorFile, write_tensors
from mrigan.engine.writer import BackgroundWriter
from mrigan.errors import CheckpointError

PATIENCE = 60.0


def tensors() -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    return {
        "nhwc": torch.rand(4, 3, 5, 5, generator=draw).to(memory_format=torch.channels_last),
        "part": torch.rand(6, 6, generator=draw)[1::2, ::3],
        "half": torch.rand(7, generator=draw).bfloat16(),
        "count": torch.tensor(12),
        "flag": torch.tensor([True, False, True]),
        "none": torch.empty(0, 3),
        "é": torch.rand(1, dtype=torch.float64, generator=draw),
    }


def test_the_library_reads_what_is_written(tmp_path: Path) -> None:
    path, written = tmp_path / "a.safetensors", tensors()
    digest = write_tensors(path, TensorFile(written, {"mrigan": '{"step": 3}'}))
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    read = load_file(path)
    assert read.keys() == written.keys()
    for name, tensor in written.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor)
    with safe_open(path, framework="pt") as file:
        assert file.metadata() == {"mrigan": '{"step": 3}'}
    again = dict(reversed(written.items()))
    assert write_tensors(tmp_path / "b.safetensors", TensorFile(again, {"mrigan": '{"step": 3}'})) == digest


def test_no_tensor_at_all(tmp_path: Path) -> None:
    write_tensors(tmp_path / "a.safetensors", TensorFile({}))
    assert load_file(tmp_path / "a.safetensors") == {}


def test_a_snapshot_keeps_what_was() -> None:
    live, snapshot = tensors(), Snapshot()
    copies = snapshot.take({"net": TensorFile(live, {"a": "b"})})["net"]
    before = {name: tensor.clone() for name, tensor in live.items()}
    for tensor in live.values():
        tensor.zero_()
    assert copies.metadata == {"a": "b"}
    assert all(torch.equal(copies.tensors[name], before[name]) for name in live)
    again = snapshot.take({"net": TensorFile(live)})["net"]
    assert all(torch.equal(again.tensors[name], live[name]) for name in live)
    assert all(again.tensors[name] is copies.tensors[name] for name in live)  # the memory is used again


def test_writing_goes_on_beside() -> None:
    may_end, order = threading.Event(), []

    def slow() -> None:
        assert may_end.wait(PATIENCE)
        order.append("first written")

    writer = BackgroundWriter(lambda: None)
    writer.submit(slow)
    order.append("went on")
    may_end.set()
    writer.submit(lambda: order.append("second written"))  # waits for the first
    order.append("second begun")
    writer.wait()
    assert order[0] == "went on"
    assert order.index("first written") < order.index("second begun")
    assert order[-1] == "second written" or order[-2] == "second written"


def test_an_error_is_told_at_once_and_raised_at_the_next_call() -> None:
    told, begun = threading.Event(), []

    def fail() -> None:
        raise CheckpointError("the disk is full")

    writer = BackgroundWriter(told.set)
    writer.submit(fail)
    assert told.wait(PATIENCE)
    with pytest.raises(CheckpointError, match="disk is full"):
        writer.submit(lambda: begun.append(1))
    assert not begun
    writer.wait()  # said once
    writer.submit(lambda: begun.append(2))
    writer.wait()
    assert begun == [2]
