"""Write tensors as safetensors: they are copied to CPU memory first, and another thread writes them later."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from mrigan.files import failpoint

_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


@dataclass(frozen=True)
class TensorFile:
    """The content of one safetensors file of a checkpoint. `metadata` goes to its header."""

    tensors: Mapping[str, torch.Tensor]
    metadata: Mapping[str, str] = field(default_factory=dict)


class Snapshot:
    """Copies of tensors in CPU memory, page-locked for tensors of a GPU; the memory is reused for the next snapshot."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], torch.Tensor] = {}

    def take(self, files: Mapping[str, TensorFile]) -> dict[str, TensorFile]:
        """The files with copies of their tensors. It overwrites the copies of the last call."""
        copies = {
            name: replace(file, tensors={key: self._copy((name, key), tensor) for key, tensor in file.tensors.items()})
            for name, file in files.items()
        }
        if any(tensor.is_cuda for file in files.values() for tensor in file.tensors.values()):
            torch.cuda.current_stream().synchronize()
        return copies

    def _copy(self, place: tuple[str, str], tensor: torch.Tensor) -> torch.Tensor:
        kept = self._kept.get(place)
        if kept is None or (kept.shape, kept.dtype) != (tensor.shape, tensor.dtype):
            kept = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda)
            self._kept[place] = kept
        return kept.copy_(tensor.detach(), non_blocking=True)


def write_tensors(path: Path, file: TensorFile) -> str:
    """Write a safetensors file, and return the SHA-256 of its bytes.

    The library is not used: it joins all bytes while holding Python's lock, which stopped the training thread for 700
    ms (600 MB). Writing one tensor after the other takes half the time, and stops it for at most 9 ms. Besides, the
    library's `save_file` makes files that only their owner can read.
    """
    # Wide elements first, so that every tensor is aligned to the size of its elements.
    names = sorted(file.tensors, key=lambda name: (-file.tensors[name].element_size(), name))
    header: dict[str, object] = {"__metadata__": dict(file.metadata)} if file.metadata else {}
    end = 0
    for name in names:
        tensor = file.tensors[name]
        begin, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    digest = hashlib.sha256()
    with open(path, "xb") as written:
        for part in (len(text).to_bytes(8, "little"), text, *(_bytes(file.tensors[name]) for name in names)):
            written.write(part)
            digest.update(part)
            failpoint("tensors.part", path.name)
        written.flush()
        os.fsync(written.fileno())
    return digest.hexdigest()


def _bytes(tensor: torch.Tensor) -> Any:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
