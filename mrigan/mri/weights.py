"""Read weight files without executing code in them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from mrigan.errors import ModelError


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """The dict in a file that `torch.save` wrote, with tensors on the CPU. Code in the pickle is refused, not run.

    Raises:
        ModelError: no such file, damaged, not a dict, or with objects other than tensors, numbers, text and containers.
    """
    try:
        data = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ModelError("no such weight file", where=path) from None
    except pickle.UnpicklingError as error:
        raise ModelError(
            "the file is damaged, or contains code or objects besides weights (they were not run)",
            where=path,
            fix="ask its authors for a plain state dict, or for safetensors",
        ) from error
    except (OSError, EOFError, RuntimeError, ValueError, KeyError) as error:
        raise ModelError(
            f"the weight file cannot be read: {str(error).splitlines()[0]}",
            where=path,
            fix="download it again, and compare its size and checksum",
        ) from None
    if not isinstance(data, dict):
        raise ModelError(f"the file contains a {type(data).__name__}, not a dict of weights", where=path)
    return data


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The state dict in a safetensors file, or in a file that `torch.save` wrote (.pt, .pth, .bin, .ckpt, .tar).

    Raises:
        ModelError: as `read_checkpoint`.
    """
    if Path(path).suffix != ".safetensors":
        return {str(name): tensor for name, tensor in read_checkpoint(path).items() if isinstance(tensor, Tensor)}
    try:
        return load_file(path)
    except FileNotFoundError:
        raise ModelError("no such weight file", where=path) from None
    except (SafetensorError, OSError) as error:
        raise ModelError(f"the weight file cannot be read: {error}", where=path, fix="download it again") from None
