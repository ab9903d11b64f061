"""The CPU kernels of FSRCNN give torch's results."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional

from bspa.models.cpu_kernels import LeakyByParameter
from bspa.models.fsrcnn import Deconvolution


@pytest.mark.parametrize("value", [0.25, 0.0, 1.0, -0.5])
def test_prelu_is_torchs_forward_and_backward(value: float) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 4, 5, generator=generator, dtype=torch.float64)
    x[0, 0, 0, :2] = torch.tensor([0.0, -0.0])
    direction = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    inputs = x.requires_grad_(), torch.full((1,), value, dtype=torch.float64, requires_grad=True)
    ours, expected = LeakyByParameter.apply(*inputs), functional.prelu(*inputs)
    assert torch.equal(ours, expected)
    gradients = (torch.autograd.grad(y, inputs, direction) for y in (ours, expected))
    torch.testing.assert_close(*gradients)


def test_the_slopes_gradient_is_summed_in_float32() -> None:
    x = torch.full((1, 1, 64, 64), -1.0, dtype=torch.bfloat16, requires_grad=True)
    slope = torch.full((1,), 0.25, requires_grad=True)
    LeakyByParameter.apply(x, slope).backward(torch.ones_like(x))
    assert slope.grad is not None
    assert slope.grad.dtype == torch.float32
    assert slope.grad.item() == -4096


@pytest.mark.parametrize(("kernel", "scale"), [*itertools.product([5, 7, 9], [2, 3, 4]), (9, 8)])
def test_upscaling_is_torchs_transposed_convolution(scale: int, kernel: int) -> None:
    torch.manual_seed(0)
    layer = Deconvolution(5, 3, kernel=kernel, scale=scale).double()
    x = torch.rand(2, 5, 6, 7, dtype=torch.double, requires_grad=True)
    fast, plain = layer(x), nn.ConvTranspose2d.forward(layer, x)
    assert fast.shape == (2, 3, 6 * scale, 7 * scale)
    torch.testing.assert_close(fast, plain, rtol=1e-12, atol=1e-12)
    inputs = [x, *layer.parameters()]
    gradients = (torch.autograd.grad(y.square().sum(), inputs) for y in (fast, plain))
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)
