"""Uncertainty-driven loss (UDN; Ning et al., NeurIPS 2021), a method to compare with.

Step 1 trains the network with a head that estimates s, the logarithm of the uncertainty of each HR sample.
Step 2 trains the network alone and weights the error by s. The head is not delivered.
Shape legend: n images, c colours, h and w HR pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from bspa.models.layers import Network, conv3x3, place_model
from bspa.models.precision import Precision
from bspa.models.registry import build
from bspa.models.weights import load_into
from bspa.training.snapshot import Snapshot
from bspa.training.stage import Stage
from bspa.training.task import Task, build_seeded

# Step 1 depends on the unit of the error; its authors use grey levels. The last ELU keeps s above -1, and s
# rises only where the error exceeds 2 exp(s) > 0.73. In [0, 1] almost no error does: s would sink to -1
# everywhere, and step 2 would weight all samples alike.
GREY_LEVELS = 255.0


class UncertaintyNetwork(nn.Module):
    """A network with a second head: LR (n, 3, h / scale, w / scale) -> SR and s, both (n, 3, h, w).

    The head upsamples the body's features to the nearest neighbour, then come its convolutions.
    """

    def __init__(self, network: Network):
        super().__init__()
        channels = network.feature_channels
        self.network = network
        self.head = nn.Sequential(
            conv3x3(channels, channels), nn.ELU(inplace=True),
            conv3x3(channels, channels), nn.ELU(inplace=True),
            conv3x3(channels, 3), nn.ELU(inplace=True),
        )  # fmt: skip

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the super-resolved image and s."""
        features = self.network.features(x)
        return self.network.upscale(features, x), self.uncertainty(features)

    def uncertainty(self, features: Tensor) -> Tensor:
        """Return s for the body's features, in float32 under autocast, too."""
        first, *others = self.head
        assert isinstance(first, nn.Conv2d)
        s = convolve_upsampled(features, first.weight, first.bias, self.network.scale)
        for layer in others:
            s = layer(s)
        return s.to(first.weight.dtype)


def convolve_upsampled(x: Tensor, weight: Tensor, bias: Tensor | None, scale: int) -> Tensor:
    """Upsample ``x`` to the nearest neighbour and convolve it, as one transposed convolution.

    This takes (scale + 2)^2 products of an LR pixel instead of 9 scale^2: 36 instead of 144 at x4.
    ``weight``: (o, c, 3, 3) of a convolution that pads with zeros.
    """
    kernel = weight.flip(2, 3).transpose(0, 1)
    shifts = [(shift, scale - 1 - shift) for shift in range(scale)]
    kernel = torch.stack([functional.pad(kernel, (*shift, 0, 0)) for shift in shifts]).sum(0)
    kernel = torch.stack([functional.pad(kernel, (0, 0, *shift)) for shift in shifts]).sum(0)
    return functional.conv_transpose2d(x, kernel, bias, stride=scale, padding=1)


def build_uncertainty(stage: Stage) -> UncertaintyNetwork:
    """Build the network as `build_seeded` does, and the head from the random numbers that follow."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stage.seed)
        return UncertaintyNetwork(build(stage.arch, stage.scale, **stage.options))


def estimate_uncertainty(model: nn.Module, lr: Tensor, hr: Tensor, precision: Precision) -> Tensor:
    """Return step 1's loss of an `UncertaintyNetwork`: mean |exp(-s) SR - exp(-s) HR| + 2 mean(s)."""
    with precision.autocast():
        output, s = model(lr)
    return (torch.exp(-s) * (GREY_LEVELS * output - GREY_LEVELS * hr).abs()).mean() + 2 * s.mean()


class WeightedByUncertainty:
    """Step 2's objective for the plain network: L1, each sample weighted by s, which step 1's network gives.

    The weights are s less its minimum over each image and colour, plus 1.
    """

    def __init__(self, estimator: UncertaintyNetwork):
        self.estimator = estimator.eval().requires_grad_(False)

    def __call__(self, model: nn.Module, lr: Tensor, hr: Tensor, precision: Precision) -> Tensor:
        """Return the loss."""
        with precision.autocast():
            output = model(lr)
        with torch.no_grad(), precision.autocast():
            s = self.estimator.uncertainty(self.estimator.network.features(lr))
        weights = s - s.amin((2, 3), keepdim=True) + 1
        return (weights * (output - hr).abs()).mean()


def prepare_uncertainty(stage: Stage, initial: Snapshot | None, _device: torch.device) -> Task:
    """Step 1: train network and head, from a snapshot of step 1 or from the seed's weights."""
    return Task(model=build_uncertainty(stage), objective=estimate_uncertainty, initial=initial)


def prepare_weighted(stage: Stage, initial: Snapshot | None, device: torch.device) -> Task:
    """Step 2: train the network alone, from step 1's snapshot ``initial``."""
    assert initial is not None
    estimator = build_uncertainty(stage)
    load_into(estimator, initial.weights, path=initial.path)
    return Task(
        model=build_seeded(stage.arch, stage.scale, stage.options, stage.seed),
        objective=WeightedByUncertainty(place_model(estimator, device)),
        initial=network_part(initial),
    )


def network_part(snapshot: Snapshot) -> Snapshot:
    """Return step 1's snapshot without the head: a snapshot of the plain network."""

    def part(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        prefix = "network."
        return {n.removeprefix(prefix): value for n, value in tensors.items() if n.startswith(prefix)}

    return replace(
        snapshot,
        weights=part(snapshot.weights),
        moments={moment: part(values) for moment, values in snapshot.moments.items()},
        average=part(snapshot.average),
    )
