"""Networks of the package spandrel, an optional dependency, behind this package's interface.

A network keeps spandrel's parameter names, so spandrel loads the delivered files.
"""

from __future__ import annotations

import bisect
import difflib
import inspect
import typing
from typing import Any

import torch
from torch import Tensor, nn

from bspa.models.layers import Network

SCALE_ARGUMENTS = ("upscale", "scale", "up_scale", "upscaling_factor", "upscale_factor")
CHANNEL_ARGUMENTS = ("num_in_ch", "num_out_ch", "in_chans", "out_chans", "in_nc", "out_nc", "in_channels")
"""Given as 3 where a class has no default."""

PROBE = 64
"""Largest receptive radius, in LR pixels, that is measured; a larger one counts as the whole image."""


def import_spandrel() -> Any:
    """Import the package; raise a ValueError that says why it cannot be."""
    try:
        import spandrel
    except (ImportError, RuntimeError) as error:
        raise ValueError(
            f"the package spandrel cannot be imported ({type(error).__name__}: {error}). It needs a "
            "torchvision of the same build as torch; docs/extend.md, Networks of spandrel, says how to "
            "install it"
        ) from error
    return spandrel


def architectures() -> dict[str, type[nn.Module]]:
    """Return spandrel's classes of networks by name: that of the class, and of its architecture."""
    classes, ids = {}, {}
    for registered in import_spandrel().MAIN_REGISTRY.architectures():
        (base,) = typing.get_args(type(registered.architecture).__orig_bases__[0])
        found = typing.get_args(base) or (base,)
        classes.update({each.__name__: each for each in found})
        if len(found) == 1:
            ids[registered.architecture.id] = found[0]
    return {**ids, **classes}


class SpandrelNetwork(Network):
    """A network of spandrel: float RGB (n, 3, h, w) in [0, 1] -> (n, 3, s*h, s*w) float32, not clipped.

    Images are padded, as spandrel pads them, to the sizes that the architecture takes. Parameters that get no
    gradient are not trainable. There are no `features`, so UDN cannot train it.
    """

    def __init__(self, *, scale: int, name: str, **arguments: Any):
        """Build ``name`` (`architectures`) with the arguments of its class, without that of the scale.

        Raises:
            ValueError: the package cannot be imported; the name or an argument is unknown, or the class
                refuses its values; spandrel does not load the network's own weights as this network; or its
                output has another size or no gradient.
        """
        super().__init__(scale, 0)
        self.options = {"name": name, **arguments}
        network = _build(scale, name, arguments)
        with torch.random.fork_rng(devices=[]):
            reloaded = reload(network, name, scale)
            self._sizes = reloaded.size_requirements
            trained = _parameters_with_gradient(reloaded, name, scale)
        for parameter_name, parameter in network.named_parameters():
            parameter.requires_grad_(parameter.requires_grad and parameter_name in trained)
        # The parts are the network's own, under its own names; it is no part itself, which would prefix them.
        self.__dict__["_network"] = network
        self._modules, self._parameters, self._buffers = (
            network._modules, network._parameters, network._buffers
        )  # fmt: skip
        self._non_persistent_buffers_set = network._non_persistent_buffers_set

    def forward(self, x: Tensor) -> Tensor:
        """Super-resolve (n, 3, h, w)."""
        height, width = x.shape[2:]
        more_width, more_height = self._sizes.get_padding(width, height)
        # A copy, since some networks change their input.
        x = _pad(x.clone(memory_format=torch.contiguous_format), more_height, more_width)
        y = self.__dict__["_network"](x)
        return y[:, :, : height * self.scale, : width * self.scale].float()

    def train(self, mode: bool = True) -> SpandrelNetwork:
        """Set the mode of the network, too, which is no part of this one."""
        self.__dict__["_network"].train(mode)
        super().train(mode)
        return self

    def to(self, *args: Any, **kwargs: Any) -> SpandrelNetwork:
        """Move the network; its memory layout stays, since some networks view tensors by strides."""
        kwargs.pop("memory_format", None)
        super().to(*args, **kwargs)
        return self

    @property
    def receptive_radius(self) -> int | None:
        """Radius measured on noise with the present weights; None: beyond `PROBE`, or it depends on position.

        Networks with windows depend on where the windows lie, so tiles only approximate the whole image.
        """
        if self._sizes.multiple_of > 1 or self._sizes.square:
            return None
        training = self.training
        try:
            return _measure_radius(self.eval(), self.scale)
        finally:
            self.train(training)


def reload(network: nn.Module, name: str, scale: int) -> Any:
    """Load a copy of the network's weights in spandrel, and return spandrel's descriptor.

    Raises:
        ValueError: spandrel does not recognise the weights, or takes them for another class or scale.
    """
    weights = {key: value.detach().cpu().clone() for key, value in network.state_dict().items()}
    try:
        found = import_spandrel().ModelLoader(device="cpu").load_from_state_dict(weights)
    except Exception as error:  # each architecture has its own
        raise ValueError(
            f"spandrel {name}: spandrel cannot load the weights of this network again "
            f"({type(error).__name__}: {error}); use other options"
        ) from error
    if type(found.model) is not type(network) or found.scale != scale:
        raise ValueError(
            f"spandrel {name}: spandrel takes the weights of this network for {type(found.model).__name__} "
            f"x{found.scale} instead of {type(network).__name__} x{scale}; use other options (some "
            "architectures need `upsampler` to enlarge the image)"
        )
    return found


def _build(scale: int, name: str, arguments: dict[str, Any]) -> nn.Module:
    known = architectures()
    if name not in known:
        raise ValueError(f"spandrel: name is {name!r}{_near(name, known)}")
    parameters = inspect.signature(known[name]).parameters
    own = next((argument for argument in SCALE_ARGUMENTS if argument in parameters), None)
    if own in arguments:
        raise ValueError(f"spandrel {name}: {own} is given; the config's `scales` say it, so leave it out")
    unknown = [argument for argument in arguments if argument not in parameters]
    if unknown:
        allowed = [parameter for parameter in parameters if parameter != own]
        raise ValueError(f"spandrel {name}: unknown option {unknown[0]!r}{_near(unknown[0], allowed)}")
    channels = {
        argument: 3
        for argument in CHANNEL_ARGUMENTS
        if argument in parameters and parameters[argument].default is inspect.Parameter.empty
    }
    try:
        return known[name](**{**channels, **arguments, **({own: scale} if own else {})})
    except Exception as error:  # each class has its own
        raise ValueError(
            f"spandrel {name}: these options make no network ({type(error).__name__}: {error})"
        ) from error


@torch.inference_mode(False)
@torch.enable_grad()
def _parameters_with_gradient(reloaded: Any, name: str, scale: int) -> set[str]:
    """Name the parameters that get a gradient in training."""
    model, side = reloaded.model.train().requires_grad_(True), 16
    more, _ = reloaded.size_requirements.get_padding(side, side)
    try:
        y = model(torch.rand(2, 3, side + more, side + more))
    except Exception as error:
        raise ValueError(
            f"spandrel {name}: it computes no output ({type(error).__name__}: {error})"
        ) from error
    expected = (2, 3, (side + more) * scale, (side + more) * scale)
    if not isinstance(y, Tensor) or tuple(y.shape) != expected:
        found = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
        raise ValueError(f"spandrel {name}: output is {found}; a network for x{scale} gives {expected}")
    if not y.requires_grad:
        raise ValueError(f"spandrel {name}: output has no gradient with these options; use others")
    y.mean().backward()
    return {key for key, parameter in model.named_parameters() if parameter.grad is not None}


def _pad(x: Tensor, more_height: int, more_width: int) -> Tensor:
    """Pad at bottom and right: mirrored as far as the image goes, then by its edge, as spandrel does."""
    height, width = min(more_height, x.shape[2] - 1), min(more_width, x.shape[3] - 1)
    if height or width:
        x = nn.functional.pad(x, (0, width, 0, height), "reflect")
    if more_height > height or more_width > width:
        x = nn.functional.pad(x, (0, more_width - width, 0, more_height - height), "replicate")
    return x


@torch.no_grad()
def _measure_radius(model: SpandrelNetwork, scale: int) -> int | None:
    parameter, centre = next(model.parameters()), PROBE + 1
    generator, side = torch.Generator().manual_seed(0), 2 * centre + 1
    image, other = (torch.rand(1, 3, side, side, generator=generator).to(parameter.device) for _ in range(2))
    block = slice(centre * scale, (centre + 1) * scale)
    whole = model(image)[..., block, block]

    def depends_beyond(radius: int) -> bool:
        near = slice(centre - radius, centre + radius + 1)
        changed = other.clone()
        changed[..., near, near] = image[..., near, near]
        return not torch.equal(model(changed)[..., block, block], whole)

    radius = bisect.bisect_left(range(PROBE + 1), True, key=lambda radius: not depends_beyond(radius))
    if radius > PROBE:
        return None
    # The same pixel in crops that begin elsewhere: another result shows that the place in the image counts.
    for more in (0, 1):
        first, last = centre - radius - more, centre + radius + 1
        here = slice((radius + more) * scale, (radius + more + 1) * scale)
        part = model(image[..., first:last, first:last])[..., here, here]
        if not torch.allclose(part, whole, rtol=1e-4, atol=1e-5):
            return None
    return radius


def _near(name: str, known: typing.Iterable[str]) -> str:
    nearest = difflib.get_close_matches(name, known := sorted(known), n=1, cutoff=0.5)
    hint = f" (did you mean {nearest[0]!r}?)" if nearest else ""
    return f"{hint}; allowed: {', '.join(known)}"
