"""Depthwise convolutions in bf16 on a CPU: oneDNN computes their gradients up to ten times slower than in float32.

The forward pass stays in bf16. Gradients are computed in float32, channels last, which is also more exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

Pair = tuple[int, int]
_CONV2D = signature(lambda input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1: None)


class DepthwiseInFloat32(TorchFunctionMode):
    """While it is entered, `F.conv2d` computes the gradients of depthwise convolutions in float32."""

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if function is F.conv2d and torch.is_grad_enabled():
            given = _CONV2D.bind(*args, **(kwargs or {}))
            given.apply_defaults()
            x, weight, bias, *numbers, groups = given.args
            if (
                1 < groups == x.shape[1] == len(weight)
                and bias is None
                and not isinstance(given.arguments["padding"], str)
            ):
                return _Depthwise.apply(x, weight, tuple(_pair(number) for number in numbers))
        return function(*args, **(kwargs or {}))


def _pair(value: Any) -> Pair:
    return (value, value) if isinstance(value, int) else tuple(value)


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, numbers: tuple[Pair, Pair, Pair]) -> Tensor:
        """`numbers`: stride, padding, dilation."""
        x = x.bfloat16()
        ctx.save_for_backward(x, weight)
        ctx.numbers = numbers
        return F.conv2d(x, weight.bfloat16(), None, *numbers, len(weight))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        wide = [t.to(torch.float32, memory_format=torch.channels_last) for t in (gradient, x)]
        mask = [ctx.needs_input_grad[0], ctx.needs_input_grad[1], False]
        of_x, of_weight, _ = torch.ops.aten.convolution_backward(
            *wide, weight.float(), None, *ctx.numbers, False, [0, 0], len(weight), mask
        )
        return None if of_x is None else of_x.to(x.dtype), of_weight, None
