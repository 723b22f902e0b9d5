"""Reading weight files without executing what is in them, or taking more memory than what they hold is worth."""

from __future__ import annotations

import hashlib
import math
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy._core.multiarray import scalar
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from mrigan.config import from_dict
from mrigan.config.fields import checked
from mrigan.errors import ConfigError, ModelError
from mrigan.foreign_files import parse_json
from mrigan.regular import open_regular
from mrigan.text import printable

MAX_BYTES = 8 << 30  # of a file
MAX_HEADER = 8 << 20  # bytes of a safetensors file's header
MAX_NAME = 300  # characters
MAX_TENSORS = 20_000  # the largest networks of timm have a few thousand
DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
          "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool}  # fmt: skip
_AGAIN = "download it again, and compare its size and checksum"


@dataclass(frozen=True)
class StoredTensor:
    """A tensor, as a safetensors header has it."""

    dtype: str = checked("F32", choices=tuple(DTYPES), required=True)
    shape: list[int] = checked(None, min=0, required=True)
    data_offsets: list[int] = checked(None, length=2, min=0, required=True)


class SafetensorsFile:
    """A safetensors file, open, whose header is checked; its tensors are read by `load`. A context manager.

    Args:
        fix: what to do about a file that cannot be used.

    Attributes:
        tensors: by name, dtype and shape. metadata: texts by name.

    Raises:
        ModelError: there is none, it is not a regular file, or its header cannot be.
    """

    def __init__(self, path: str | Path, fix: str = _AGAIN) -> None:
        self.path, self.fix = path, fix
        try:
            self._file = open_regular(path, MAX_BYTES)
        except FileNotFoundError:
            raise ModelError("no such weight file", where=path, fix=fix) from None
        except (OSError, ValueError) as error:
            raise self._unreadable(error) from None
        try:
            self.metadata, self.tensors = self._header()
        except (OSError, ValueError, ConfigError) as error:
            self._file.close()
            raise self._unreadable(error) from None

    def __enter__(self) -> SafetensorsFile:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def check(self, expected: Mapping[str, Tensor]) -> None:
        """Compare the header with the tensors that a network has. A weight may be stored in 16 bits (see `halved`).

        Raises:
            ModelError: one is missing, too many, or of another type or shape.
        """
        wrong = [f"{name} is missing" for name in expected.keys() - self.tensors.keys()]
        wrong += [f"{name} is not known" for name in self.tensors.keys() - expected.keys()]
        for name, tensor in expected.items() if not wrong else ():
            kept = self.tensors[name]
            half = kept.dtype == "F16" and tensor.dtype == torch.float32
            dtype = tensor.dtype if half else DTYPES[kept.dtype]
            if (dtype, tuple(kept.shape)) != (tensor.dtype, tuple(tensor.shape)):
                there = f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
                wrong.append(f"{name} is {kept.dtype} {tuple(kept.shape)}, and the network has {there}")
        if wrong:
            more = f" ({len(wrong)} such tensors)" if len(wrong) > 1 else ""
            raise ModelError(f"the weights do not fit the network: {min(wrong)}{more}", where=self.path,
                             fix=self.fix)  # fmt: skip

    def load(self, sha256: str = "") -> dict[str, Tensor]:
        """All tensors, on the CPU.

        Args:
            sha256: of the file's bytes; "" = any.

        Raises:
            ModelError: these are other bytes, or a weight is NaN or infinite.
        """
        try:
            self._file.seek(0)
            content = self._file.read()
            if sha256 and hashlib.sha256(content).hexdigest() != sha256:
                raise ModelError("not the file that model.json was written for: damaged, or replaced", where=self.path,
                                 fix=self.fix)  # fmt: skip
            tensors = load(content)
        except (OSError, SafetensorError, MemoryError) as error:
            raise self._unreadable(error) from None
        check_values(tensors, self.path)
        return tensors

    def _header(self) -> tuple[dict[str, str], dict[str, StoredTensor]]:
        end = self._file.seek(0, 2)
        self._file.seek(0)
        length = int.from_bytes(self._file.read(8), "little")
        if not 2 <= length <= min(MAX_HEADER, end - 8):
            raise ValueError("it is no safetensors file, or cut off: its header has no possible length")
        header = parse_json(self._file.read(length))
        if not isinstance(header, dict):
            raise ValueError("its header is no JSON object")
        metadata = header.pop("__metadata__", {})
        if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
            raise ValueError("its metadata are no texts")
        if len(header) > MAX_TENSORS:
            raise ValueError(f"it holds {len(header):,} tensors, and at most {MAX_TENSORS:,} are read")
        tensors = {}
        for name, facts in header.items():
            if not name.isprintable() or len(name) > MAX_NAME:
                raise ValueError(f"a tensor has the name {printable(name):.{MAX_NAME}}")
            tensors[name] = from_dict(StoredTensor, facts)
        stored = sum(math.prod(t.shape) * DTYPES[t.dtype].itemsize for t in tensors.values())
        if stored != end - 8 - length:
            raise ValueError(f"its header promises {stored:,} bytes of tensors, and it holds {end - 8 - length:,}")
        return metadata, tensors

    def _unreadable(self, error: Exception) -> ModelError:
        said = error.what if isinstance(error, ConfigError) else getattr(error, "strerror", None) or error
        return ModelError(f"the weight file cannot be read: {said}", where=self.path, fix=self.fix)


def halved(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors with their matrices and kernels in 16 bits; biases and norms, which are small, keep 32."""
    return {name: t.half() if t.ndim > 1 and t.dtype == torch.float32 else t for name, t in tensors.items()}


def check_values(tensors: Mapping[str, Tensor], path: str | Path) -> None:
    """Raise ModelError where a weight is NaN or infinite, which makes every verdict nonsense, or where a tensor is
    larger than what is stored of it."""
    for name, tensor in tensors.items():
        strided = tensor.layout is torch.strided and not tensor.is_quantized
        if not strided or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise ModelError(f"the tensor {printable(name)} is not stored in full", where=path, fix=_AGAIN)
        # A sum is a single pass without memory; only where it is not finite each weight is looked at.
        if tensor.is_floating_point() and not tensor.sum().isfinite() and not tensor.isfinite().all():
            raise ModelError(f"the weights {printable(name)} hold a value that is NaN or infinite", where=path,
                             fix="train it again, or ask for an undamaged file")  # fmt: skip


def read_checkpoint(path: str | Path, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """The dict in a file that `torch.save` wrote, with tensors on the CPU. Code in the pickle is refused, not run.

    NumPy's numbers are allowed: checkpoints of 2020 hold a loss beside the weights.

    Raises:
        ModelError: no such file, damaged, not a dict, or with objects other than tensors, numbers, text and containers.
    """
    try:
        with open_regular(path, max_bytes) as file:
            if zipfile.is_zipfile(file) and any(item.compress_type for item in zipfile.ZipFile(file).infolist()):
                raise ValueError("it is compressed, as torch.save never does: it may be larger than it looks")
            file.seek(0)
            with torch.serialization.safe_globals(_numbers()):
                data = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ModelError("no such weight file", where=path) from None
    except pickle.UnpicklingError as error:
        raise ModelError(
            "the file is damaged, or contains code or objects besides weights (they were not run)",
            where=path,
            fix="ask its authors for a plain state dict, or for safetensors",
        ) from error
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, MemoryError, zipfile.BadZipFile) as error:
        said = (getattr(error, "strerror", None) or str(error)).partition("\n")[0] or "it is empty or cut off"
        raise ModelError(f"the weight file cannot be read: {said}", where=path, fix=_AGAIN) from None
    if not isinstance(data, dict):
        raise ModelError(f"the file contains a {type(data).__name__}, not a dict of weights", where=path)
    return data


def _numbers() -> list[Any]:
    """What a pickle needs for a NumPy number, under the names that NumPy 1 and 2 have for it."""
    named = [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    return [*named, np.dtype, *(type(np.dtype(kind)) for kind in ("f8", "f4", "i8"))]


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The state dict in a safetensors file, or in a file that `torch.save` wrote (.pt, .pth, .bin, .ckpt, .tar).

    Raises:
        ModelError: as `read_checkpoint`; or a weight is NaN or infinite.
    """
    if Path(path).suffix == ".safetensors":
        with SafetensorsFile(path) as file:
            return file.load()
    found = {str(name): tensor for name, tensor in read_checkpoint(path).items() if isinstance(tensor, Tensor)}
    check_values(found, path)
    return found
