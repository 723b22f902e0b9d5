"""The engine on DeepSpeed's ZeRO: optimizer state (stage 1), gradients (2) and weights (3) are split over the ranks.

Precision, clipping and the loss scale are Mrigan's (`Precision`, `GuardedOptimizer`), so that they mean the same as
under DDP. DeepSpeed's fp16 and bf16 would store the weights in half precision, with a loss scale per engine.
"""

from __future__ import annotations

import copy
import json
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

from mrigan.config import EngineConfig, OptimConfig, config_path
from mrigan.config.engines import ENGINES, zero_entry
from mrigan.engine.base import NetworkEngine
from mrigan.engine.distributed import World
from mrigan.engine.interface import Tensors
from mrigan.engine.optimizer import make_optimizer
from mrigan.engine.precision import Precision
from mrigan.errors import CheckpointError, ConfigError


class ZeroEngine(NetworkEngine):
    """A network under DeepSpeed; ZeRO 0 splits nothing, and works like DDP.

    ZeRO 1 to 3 store the weights flat, so `channels_last` applies to pictures, but not to weights.

    Args:
        network, optim, settings, world, precision: see `NetworkEngine`. `settings.config` is DeepSpeed's own file, see
            `deepspeed_settings`.
    """

    def __init__(
        self, network: nn.Module, optim: OptimConfig, settings: EngineConfig, world: World, precision: Precision
    ) -> None:
        self._deepspeed = import_deepspeed(world)
        own_settings = deepspeed_settings(settings.name, settings.config)
        self.stage = int(own_settings["zero_optimization"]["stage"])
        self._copy = copy.deepcopy(network).to(world.device) if self.stage == 3 else None
        super().__init__(network, optim, settings, world, precision)
        self.optimizer = make_optimizer(
            self.trained.values(), optim, precision, sum_over_ranks=world.sum if self.stage else None
        )
        self._engine, *_ = self._deepspeed.initialize(
            model=_UnderAutocast(self.module, precision),
            optimizer=self.optimizer,
            config=own_settings,
            dist_init_required=False,
        )

    @classmethod
    def check(cls, settings: EngineConfig, world: World) -> None:
        import_deepspeed(world)
        deepspeed_settings(settings.name, settings.config)

    def __call__(self, *inputs: Any) -> Any:
        return self._engine(*inputs)

    def backward(self, loss: torch.Tensor) -> None:
        self._engine.backward(self.precision.scaled(loss))

    def step(self) -> None:
        self._engine.step()
        self.settle_statistics(self.optimizer.skipped)

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        self._engine.set_gradient_accumulation_boundary(False)
        try:
            yield
        finally:
            self._engine.set_gradient_accumulation_boundary(True)

    def unsharded(self) -> nn.Module:
        if self._copy is None:
            return self.module
        with self._gathered():
            self._copy.load_state_dict(self.module.state_dict())
        return self._copy.train(self.module.training)

    def state_dict(self) -> tuple[Tensors, Tensors]:
        with self._gathered():
            weights = self.module.state_dict()
            if self.stage == 3:
                weights = {name: tensor.detach().clone() for name, tensor in weights.items()}
        states = [state for state in self.optimizer.state.values() if state]
        if not states:
            return weights, {}
        optimizer: dict[str, torch.Tensor] = {}
        for name, parameter in self.trained.items():
            if self.optimizer.counts_steps:
                optimizer[f"{name}.step"] = states[0]["step"]
            for key in self.optimizer.moments:
                optimizer[f"{name}.{key}"] = self._moment(parameter, key)
        return weights, optimizer

    def load_state_dict(self, weights: Tensors, optimizer: Tensors) -> None:
        """See `Engine.load_state_dict`.

        Raises:
            CheckpointError: the tensors do not belong to this network.
        """
        try:
            with self._gathered(modify=True):
                self.module.load_state_dict(dict(weights))
            self.keep_statistics()
            self._refresh(weights)
            moments = self.optimizer.moments
            for flat in self._flat():
                # If moments exist, they stay at their place in memory, because DeepSpeed holds views of them.
                state = self.optimizer.state[flat]
                for key in moments:
                    state.setdefault(key, torch.zeros_like(flat, memory_format=torch.preserve_format))
                if self.optimizer.counts_steps:
                    steps = optimizer[f"{next(iter(self.trained))}.step"]
                    state["step"] = steps.to(flat.device, torch.float32).clone()
            if self.stage in (1, 2):
                self._engine.optimizer._lazy_init_hp_params_optimizer_state()
            for name, parameter in self.trained.items():
                for key in moments:
                    self._set_moment(parameter, key, optimizer[f"{name}.{key}"].to(self.world.device))
        except (RuntimeError, KeyError) as error:
            raise CheckpointError(
                f"the checkpoint's tensors do not fit {type(self.module).__name__}: {error}"
            ) from None

    def _flat(self) -> list[torch.Tensor]:
        """The tensors that the optimizer steps: the parameters, or this rank's flat part of them."""
        if self.stage == 0:
            return list(self.trained.values())
        zero = self._engine.optimizer
        return list(zero.fp32_partitioned_groups_flat if self.stage == 3 else zero.single_partition_of_fp32_groups)

    def _refresh(self, weights: Tensors) -> None:
        """After a change of the network's weights, update the fp32 parts that the optimizer steps."""
        if self.stage in (1, 2):
            self._engine.optimizer.refresh_fp32_params()
        elif self.stage == 3:
            for name, parameter in self.trained.items():
                self._deepspeed.utils.safe_set_local_fp32_param(parameter, self._own_part(parameter, weights[name]))

    def _moment(self, parameter: nn.Parameter, key: str) -> torch.Tensor:
        if self.stage == 0:
            return self.optimizer.state[parameter][key]
        return self._deepspeed.utils.safe_get_full_optimizer_state(parameter, key)

    def _set_moment(self, parameter: nn.Parameter, key: str, value: torch.Tensor) -> None:
        if self.stage == 0:
            self.optimizer.state[parameter][key].copy_(value)
        elif self.stage == 3:
            part = self._own_part(parameter, value)
            self._deepspeed.utils.safe_set_local_optimizer_state(parameter, part, key)
        else:
            self._deepspeed.utils.safe_set_full_optimizer_state(parameter, value, key)

    def _own_part(self, parameter: nn.Parameter, value: torch.Tensor) -> torch.Tensor:
        """This rank's part of `value` under ZeRO 3.

        DeepSpeed's function for whole values fails if their size is not a multiple of the number of ranks.
        """
        length, world = self._deepspeed.utils.safe_get_local_fp32_param(parameter).numel(), self.world
        padded = torch.zeros(length * world.size, device=world.device)
        padded[: value.numel()] = value.to(world.device).flatten()
        return padded[world.rank * length : (world.rank + 1) * length]

    def _gathered(self, modify: bool = False) -> AbstractContextManager[Any]:
        if self.stage < 3:
            return nullcontext()
        parameters = list(self.module.parameters())
        return self._deepspeed.zero.GatheredParameters(parameters, modifier_rank=0 if modify else None)


class _UnderAutocast(nn.Module):
    """The network for DeepSpeed, which leaves the caller's autocast: the network enters it again."""

    def __init__(self, network: nn.Module, precision: Precision) -> None:
        super().__init__()
        self.network, self.precision = network, precision

    def forward(self, *inputs: Any) -> Any:
        with self.precision.autocast():
            return self.network(*inputs)


def import_deepspeed(world: World) -> Any:
    """DeepSpeed, with its accelerator and this process's local rank set.

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
    deepspeed.utils.logger.setLevel(logging.ERROR)  # it warns about every optimizer of others
    # DeepSpeed calls a function of torch by its old name at every step.
    warnings.filterwarnings("ignore", r"`torch\.distributed\.\w+` is deprecated", FutureWarning)
    # Its own messages between processes of a machine would take minutes to compile on CPUs; gloo does the same.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    return deepspeed


def deepspeed_settings(name: str, path: str = "") -> dict[str, Any]:
    """DeepSpeed's settings for `zero0` … `zero3`: the shipped `configs/deepspeed/<name>.json`, or those in `path`.

    Raises:
        ConfigError: there is no such file, it is not JSON, is for another stage, or sets what Mrigan sets itself.
    """
    file = config_path(path or f"deepspeed/{name}.json")
    try:
        settings = json.loads(file.read_bytes())
        stage = settings["zero_optimization"]["stage"]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"not a settings file for DeepSpeed: {error!r}", where=file) from None
    if ENGINES[name] != zero_entry(stage):
        raise ConfigError(f"engine.name={name}, but the file is for ZeRO stage {stage}", where=file)
    set_by_mrigan = {"fp16", "bf16", "torch_autocast", "gradient_clipping", "optimizer", "gradient_accumulation_steps"}
    if wrong := sorted(set_by_mrigan & settings.keys()):
        raise ConfigError(
            f"{', '.join(wrong)} cannot be set here",
            where=file,
            fix="remove them; train.precision, optim.* and engine.accumulate decide for all engines",
        )
    # By default DeepSpeed clips to a norm of 1.
    return {"train_micro_batch_size_per_gpu": 1, "zero_allow_untested_optimizer": True, "gradient_clipping": 0.0,
            **settings}  # fmt: skip
