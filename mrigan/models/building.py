"""Build a network from the file of its weights: the shapes are checked before memory is allocated."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

from mrigan.errors import ConfigError, ModelError
from mrigan.weights import SafetensorsFile

N = TypeVar("N", bound=nn.Module)


def build(make: Callable[[], N], file: SafetensorsFile, sha256: str = "") -> N:
    """The network that `make` returns, with the weights in `file`, on the CPU.

    It is first built without memory (on torch's meta device) and compared with the file's header; then it takes over
    the file's tensors. No weight is drawn at random, or copied.

    Raises:
        ModelError: `make` refuses, or the file belongs to another network, has another `sha256`, or is damaged.
    """
    try:
        with torch.device("meta"):
            network = make()
        file.check(network.state_dict())
        types = {name: tensor.dtype for name, tensor in network.state_dict().items()}
        tensors = {name: tensor.to(types[name]) for name, tensor in file.load(sha256).items()}
        if any(buffer.is_meta for name, buffer in network.named_buffers() if name not in tensors):
            network = make()  # because it computes some of its tensors
        network.load_state_dict(tensors, assign=True)
    except (ConfigError, RuntimeError, TypeError) as error:
        reason = error.what if isinstance(error, ConfigError) else str(error).partition("\n")[0]
        raise ModelError(
            f"the network cannot be built from its file: {reason}", where=file.path, fix=file.fix
        ) from None
    return network
