"""Gradients of depthwise convolutions in bf16 are those of float32, and other convolutions are left alone."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from mrigan.engine.depthwise import DepthwiseInFloat32
from mrigan.engine.precision import Precision


def gradients(stride: int, padding: int, groups: int, mode: str) -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(2, 12, 15, 14, generator=draw).bfloat16().float().requires_grad_()
    w = torch.randn(12, 12 // groups, 3, 3, generator=draw).bfloat16().float().requires_grad_()
    if mode == "float32":
        y = F.conv2d(x, w, None, stride, padding, 1, groups)
    else:
        with Precision("bf16", torch.device("cpu")).autocast():
            y = F.conv2d(x, w, None, stride, padding, 1, groups)
        assert y.dtype == torch.bfloat16
    y.backward(torch.randn(y.shape, generator=draw).bfloat16().to(y.dtype))
    assert x.grad is not None
    assert w.grad is not None
    return [y.detach().float(), x.grad, w.grad]


@pytest.mark.parametrize(("stride", "padding"), [(1, 1), (2, 0), (2, 1)])
def test_the_gradient_is_that_of_float32(stride: int, padding: int) -> None:
    ours, exact = gradients(stride, padding, 12, "bf16"), gradients(stride, padding, 12, "float32")
    torch.testing.assert_close(ours[0], exact[0], rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(ours[1], exact[1], rtol=1e-2, atol=1e-2)  # the gradient of x is bf16, as x in the net
    torch.testing.assert_close(ours[2], exact[2], rtol=1e-5, atol=1e-4)  # a plain bf16 gradient differs by 1e-2


@pytest.mark.parametrize("groups", [1, 3])
def test_other_convolutions_are_left_alone(groups: int) -> None:
    ours = gradients(1, 1, groups, "bf16")
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(2, 12, 15, 14, generator=draw).bfloat16().float().requires_grad_()
    w = torch.randn(12, 12 // groups, 3, 3, generator=draw).bfloat16().float().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y = F.conv2d(x, w, None, 1, 1, 1, groups)
    y.backward(torch.randn(y.shape, generator=draw).bfloat16())
    assert x.grad is not None
    assert torch.equal(ours[1], x.grad)


def test_without_gradients_nothing_is_kept() -> None:
    layer = torch.nn.Conv2d(4, 4, 3, groups=4)
    with torch.inference_mode(), DepthwiseInFloat32():
        assert torch.equal(
            layer(torch.ones(1, 4, 5, 5)), F.conv2d(torch.ones(1, 4, 5, 5), layer.weight, layer.bias, groups=4)
        )
