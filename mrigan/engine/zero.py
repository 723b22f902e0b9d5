"""The engine on DeepSpeed's ZeRO: optimizer state (1), gradients (2) and weights (3) are shared out among the ranks.

Precision, clipping and the loss scale are ours (`Precision`, `Guarded`), so that they mean the same as under DDP.
DeepSpeed's own fp16 and bf16 would keep the weights in half precision, with a loss scale an engine.
"""

from __future__ import annotations

import copy
import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

from mrigan.config import OptimConfig, config_path
from mrigan.engine.base import NetworkEngine
from mrigan.engine.distributed import World
from mrigan.engine.interface import Tensors
from mrigan.engine.optimizer import make_optimizer
from mrigan.engine.precision import Precision
from mrigan.errors import CheckpointError, ConfigError


class ZeroEngine(NetworkEngine):
    """A network under DeepSpeed; ZeRO 0 shares nothing and works as DDP does.

    ZeRO 1 to 3 lay the weights out flat, so that `channels_last` holds for the pictures and not for the weights.

    Args:
        network, world, precision, channels_last, compile: see `NetworkEngine`.
        optim: the optimizer's settings.
        settings: DeepSpeed's, of this engine alone; see `deepspeed_settings`.
    """

    def __init__(
        self,
        network: nn.Module,
        optim: OptimConfig,
        world: World,
        settings: Mapping[str, Any],
        precision: Precision | None = None,
        *,
        channels_last: bool = False,
        compile: bool = False,
    ) -> None:
        self._deepspeed = import_deepspeed(world)
        self.stage = int(settings["zero_optimization"]["stage"])
        self._copy = copy.deepcopy(network).to(world.device) if self.stage == 3 else None
        super().__init__(network, world, precision, channels_last=channels_last, compile=compile)
        self._optimizer = make_optimizer(
            self._trained.values(), optim, self._precision, add_up=world.sum if self.stage else None
        )
        self._engine, *_ = self._deepspeed.initialize(
            model=_UnderAutocast(self.module, self._precision),
            optimizer=self._optimizer,
            config=copy.deepcopy(dict(settings)),
            dist_init_required=False,
        )

    def __call__(self, *inputs: Any) -> Any:
        return self._engine(*inputs)

    def backward(self, loss: torch.Tensor) -> None:
        self._engine.backward(self._precision.scaled(loss))

    def step(self) -> None:
        self._engine.step()
        self._settle_statistics(self._optimizer.skipped)

    @contextmanager
    def reduces(self, wanted: bool) -> Iterator[None]:
        self._engine.set_gradient_accumulation_boundary(wanted)
        try:
            yield
        finally:
            self._engine.set_gradient_accumulation_boundary(True)

    def whole(self) -> nn.Module:
        if self._copy is None:
            return self.module
        with self._gathered():
            self._copy.load_state_dict(self.module.state_dict())
        return self._copy.train(self.module.training)

    def state(self) -> tuple[Tensors, Tensors]:
        with self._gathered():
            weights = self.module.state_dict()
            if self.stage == 3:
                weights = {name: tensor.detach().clone() for name, tensor in weights.items()}
        states = [state for state in self._optimizer.state.values() if state]
        if not states:
            return weights, {}
        optimizer: dict[str, torch.Tensor] = {}
        for name, parameter in self._trained.items():
            if self._optimizer.counts:
                optimizer[f"{name}.step"] = states[0]["step"]
            for key in self._optimizer.moments:
                optimizer[f"{name}.{key}"] = self._moment(parameter, key)
        return weights, optimizer

    def load(self, weights: Tensors, optimizer: Tensors) -> None:
        """See `Engine.load`.

        Raises:
            CheckpointError: the tensors are not those of this network.
        """
        try:
            with self._gathered(modify=True):
                self.module.load_state_dict(dict(weights))
            self._keep_statistics()
            self._refresh(weights)
            moments = self._optimizer.moments
            for flat in self._flat():
                # In the middle of a run the moments stay where they are: DeepSpeed holds views of them.
                state = self._optimizer.state[flat]
                for key in moments:
                    state.setdefault(key, torch.zeros_like(flat, memory_format=torch.preserve_format))
                if self._optimizer.counts:
                    steps = optimizer[f"{next(iter(self._trained))}.step"]
                    state["step"] = steps.to(flat.device, torch.float32).clone()
            if self.stage in (1, 2):
                self._engine.optimizer._lazy_init_hp_params_optimizer_state()
            for name, parameter in self._trained.items():
                for key in moments:
                    self._set_moment(parameter, key, optimizer[f"{name}.{key}"].to(self._world.device))
        except (RuntimeError, KeyError) as error:
            raise CheckpointError(
                f"the checkpoint's tensors do not fit {type(self.module).__name__}: {error}"
            ) from None

    def _flat(self) -> list[torch.Tensor]:
        """What the optimizer steps: the parameters, or this rank's part of them in one row."""
        if self.stage == 0:
            return list(self._trained.values())
        zero = self._engine.optimizer
        return list(zero.fp32_partitioned_groups_flat if self.stage == 3 else zero.single_partition_of_fp32_groups)

    def _refresh(self, weights: Tensors) -> None:
        """After the network's weights were set: set the fp32 parts that the optimizer steps."""
        if self.stage in (1, 2):
            self._engine.optimizer.refresh_fp32_params()
        elif self.stage == 3:
            for name, parameter in self._trained.items():
                self._deepspeed.utils.safe_set_local_fp32_param(parameter, self._own_part(parameter, weights[name]))

    def _moment(self, parameter: nn.Parameter, key: str) -> torch.Tensor:
        if self.stage == 0:
            return self._optimizer.state[parameter][key]
        return self._deepspeed.utils.safe_get_full_optimizer_state(parameter, key)

    def _set_moment(self, parameter: nn.Parameter, key: str, value: torch.Tensor) -> None:
        if self.stage == 0:
            self._optimizer.state[parameter][key].copy_(value)
        elif self.stage == 3:
            part = self._own_part(parameter, value)
            self._deepspeed.utils.safe_set_local_optimizer_state(parameter, part, key)
        else:
            self._deepspeed.utils.safe_set_full_optimizer_state(parameter, value, key)

    def _own_part(self, parameter: nn.Parameter, value: torch.Tensor) -> torch.Tensor:
        """What this rank holds of `value` under ZeRO 3.

        DeepSpeed's own function for whole values fails where their size is no multiple of the number of ranks.
        """
        length, world = self._deepspeed.utils.safe_get_local_fp32_param(parameter).numel(), self._world
        padded = torch.zeros(length * world.size, device=world.device)
        padded[: value.numel()] = value.to(world.device).flatten()
        return padded[world.rank * length : (world.rank + 1) * length]

    def _gathered(self, modify: bool = False) -> AbstractContextManager[Any]:
        if self.stage < 3:
            return nullcontext()
        parameters = list(self.module.parameters())
        return self._deepspeed.zero.GatheredParameters(parameters, modifier_rank=0 if modify else None)


class _UnderAutocast(nn.Module):
    """The network as DeepSpeed calls it: that one leaves the caller's autocast, and the network enters it again."""

    def __init__(self, network: nn.Module, precision: Precision) -> None:
        super().__init__()
        self.network, self.precision = network, precision

    def forward(self, *inputs: Any) -> Any:
        with self.precision.autocast():
            return self.network(*inputs)


def import_deepspeed(world: World) -> Any:
    """DeepSpeed, told which accelerator to use, and which of the node's processes this is.

    Raises:
        ConfigError: it is not installed.
    """
    os.environ.setdefault("LOCAL_RANK", str(world.local_rank))
    if world.device.type == "cpu":
        os.environ["DS_ACCELERATOR"] = "cpu"
    try:
        import deepspeed
    except ImportError as error:
        raise ConfigError(
            f"this engine needs DeepSpeed, which is not installed ({error})",
            where="engine.name",
            fix="pip install 'mrigan[deepspeed]', or engine.name=ddp",
        ) from None
    deepspeed.utils.logger.setLevel(logging.ERROR)  # it warns of every optimizer that is not its own
    # A function of torch that DeepSpeed calls at every step has a new name.
    warnings.filterwarnings("ignore", r"`torch\.distributed\.\w+` is deprecated", FutureWarning)
    # Its messages between processes of one machine: minutes of compiling at the first start on CPUs, and gloo does it.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    return deepspeed


def deepspeed_settings(name: str, path: str = "") -> dict[str, Any]:
    """DeepSpeed's settings for `zero0` … `zero3`: the shipped `configs/deepspeed/<name>.json`, or those in `path`.

    Raises:
        ConfigError: no such file, no JSON, another stage than the name says, or what Mrigan sets itself.
    """
    file = config_path(path or f"deepspeed/{name}.json")
    try:
        settings = json.loads(file.read_bytes())
        stage = settings["zero_optimization"]["stage"]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"no settings of DeepSpeed: {error!r}", where=file) from None
    if f"zero{stage}" != name:
        raise ConfigError(f"engine.name={name}, and the file is for ZeRO stage {stage}", where=file)
    ours = {"fp16", "bf16", "torch_autocast", "gradient_clipping", "optimizer", "gradient_accumulation_steps"}
    if wrong := sorted(ours & settings.keys()):
        raise ConfigError(
            f"{', '.join(wrong)} cannot be set here",
            where=file,
            fix="take them out; train.precision, optim.* and engine.accumulate decide, whatever the engine",
        )
    # It would clip to a norm of 1 where nothing is said.
    return {"train_micro_batch_size_per_gpu": 1, "zero_allow_untested_optimizer": True, "gradient_clipping": 0.0,
            **settings}  # fmt: skip
