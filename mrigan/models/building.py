"""A network and the file of its weights: shapes first, memory then."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

from mrigan.errors import ConfigError, ModelError
from mrigan.weights import SafetensorsFile

N = TypeVar("N", bound=nn.Module)


def build(make: Callable[[], N], file: SafetensorsFile, sha256: str = "") -> N:
    """The network that `make` gives, with the weights in `file`, on the CPU.

    It is first made without memory (on torch's meta device) and compared with the file's header; then it takes the
    file's tensors as they are. No weight is drawn at random, or copied.

    Raises:
        ModelError: `make` refuses, or the file is not of this network, is not the one of `sha256`, or is damaged.
    """
    try:
        with torch.device("meta"):
            network = make()
        file.check(network.state_dict())
        tensors = file.load(sha256)
        if any(buffer.is_meta for name, buffer in network.named_buffers() if name not in tensors):
            network = make()  # it computes some of its tensors itself
        network.load_state_dict(tensors, assign=True)
    except (ConfigError, RuntimeError, TypeError) as error:
        said = error.what if isinstance(error, ConfigError) else str(error).partition("\n")[0]
        raise ModelError(f"the network cannot be built from its file: {said}", where=file.path, fix=file.fix) from None
    return network
