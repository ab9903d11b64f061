"""The networks are those of the releases: names, shapes, function, initial weights, receptive field."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bspa.models.layers import MeanShift
from bspa.models.registry import build, count_parameters
from tests.support.networks import SCALES, SMALL, channels_last, small

EVERY = [pytest.param(arch, scale, id=f"{arch}_x{scale}") for arch in SMALL for scale in SCALES]
LOCAL = [parameter for parameter in EVERY if parameter.values[0] != "rcan"]

# What the releases hold, written down from EDSR-PyTorch, RCAN and BasicSR; FSRCNN has the names we chose. A
# line is a convolution (outputs, inputs, kernel; with a bias), "n-m" counts, "prelu" is one slope.
FRAME = """
    sub_mean 3 3 1
    add_mean 3 3 1
    head.0 64 3 3
    tail.1 3 64 3
"""
EDSR = """
    body.0-15.body.0 64 64 3
    body.0-15.body.2 64 64 3
    body.16 64 64 3
"""
RCAN = """
    body.0-9.body.0-19.body.0 64 64 3
    body.0-9.body.0-19.body.2 64 64 3
    body.0-9.body.0-19.body.3.conv_du.0 4 64 1
    body.0-9.body.0-19.body.3.conv_du.2 64 4 1
    body.0-9.body.20 64 64 3
    body.10 64 64 3
"""
MSRRESNET = """
    conv_first 64 3 3
    body.0-15.conv1 64 64 3
    body.0-15.conv2 64 64 3
    conv_hr 64 64 3
    conv_last 3 64 3
"""
FSRCNN = """
    head_conv.0 56 3 5
    head_conv.1 prelu
    body_conv.0.0 12 56 1
    body_conv.0.1 prelu
    body_conv.1-4.0 12 12 3
    body_conv.1-4.1 prelu
    body_conv.5.0 56 12 1
    body_conv.5.1 prelu
    tail_conv deconvolution 56 3 9
"""
TAIL = {
    2: "tail.0.0 256 64 3",
    3: "tail.0.0 576 64 3",
    4: "tail.0.0 256 64 3\ntail.0.2 256 64 3",
    8: "tail.0.0 256 64 3\ntail.0.2 256 64 3\ntail.0.4 256 64 3",
}
UPCONV = {
    2: "upconv1 256 64 3",
    3: "upconv1 576 64 3",
    4: "upconv1 256 64 3\nupconv2 256 64 3",
    8: "upconv1 256 64 3\nupconv2 256 64 3\nupconv3 256 64 3",
}
RELEASES = {
    **{("edsr", scale): FRAME + EDSR + tail for scale, tail in TAIL.items()},
    **{("rcan", scale): FRAME + RCAN + tail for scale, tail in TAIL.items()},
    **{("msrresnet", scale): MSRRESNET + upconv for scale, upconv in UPCONV.items()},
    **{("fsrcnn", scale): FSRCNN for scale in SCALES},
}
TRAINABLE = {
    "edsr": (1_369_859, 1_554_499, 1_517_571, 1_665_283),
    "rcan": (15_444_643, 15_629_283, 15_592_355, 15_740_067),
    "fsrcnn": (24_518, 24_518, 24_518, 24_518),
    "msrresnet": (1_369_859, 1_554_499, 1_517_571, 1_665_283),
}


def released_shapes(text: str) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        pattern, *words = line.split()
        counters = [range(int(a), int(b) + 1) for a, b in re.findall(r"(\d+)-(\d+)", pattern)]
        for numbers in itertools.product(*counters):
            name = re.sub(r"\d+-\d+", "{}", pattern).format(*numbers)
            if words == ["prelu"]:
                shapes[f"{name}.weight"] = (1,)
                continue
            a, b, kernel = map(int, words[-3:])
            shapes[f"{name}.weight"] = (a, b, kernel, kernel)
            shapes[f"{name}.bias"] = (b,) if words[0] == "deconvolution" else (a,)
    return shapes


@pytest.mark.parametrize(("arch", "scale"), EVERY)
def test_names_and_shapes_are_those_of_the_release(arch: str, scale: int) -> None:
    with torch.device("meta"):
        model = build(arch, scale)
    ours = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    assert ours == released_shapes(RELEASES[arch, scale])
    assert count_parameters(model) == TRAINABLE[arch][SCALES.index(scale)]


@pytest.mark.parametrize(("arch", "scale"), EVERY)
def test_any_size_gives_scale_times_the_size(arch: str, scale: int) -> None:
    model = small(arch, scale)
    for size in [(1, 1), (1, 2), (7, 5)]:
        x = torch.rand(1, 3, *size)
        with torch.no_grad():
            assert model.features(x).shape == (1, model.feature_channels, *size)
            assert model(x).shape == (1, 3, scale * size[0], scale * size[1])


# ---- precision -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("arch", "scale"), EVERY)
def test_the_last_convolution_is_float32_under_autocast(arch: str, scale: int) -> None:
    model = small(arch, scale)
    names = {"edsr": "tail.1", "rcan": "tail.1", "msrresnet": "conv_last", "fsrcnn": "tail_conv"}
    last = model.get_submodule(names[arch])
    seen: dict[str, Tensor] = {}
    last.register_forward_hook(lambda _, inputs, output: seen.update(into=inputs[0], out=output))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert model(torch.rand(1, 3, 6, 5)).dtype == torch.float32
    assert seen["into"].dtype == torch.bfloat16, "the rest of the network should run in reduced precision"
    with torch.no_grad():  # FSRCNN's kernel sums in another order
        torch.testing.assert_close(seen["out"], last(seen["into"].float()), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("arch", SMALL)
def test_gradients_under_autocast_are_float32_and_close(arch: str) -> None:
    torch.manual_seed(0)
    model, x = small(arch, 2), torch.rand(2, 3, 8, 8)
    target = torch.rand(2, 3, 16, 16)
    trainable = [p for p in model.parameters() if p.requires_grad]
    gradients = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            y = model(x)
        found = torch.autograd.grad(functional.mse_loss(y, target), trainable)
        assert all(gradient.dtype == torch.float32 and gradient.any() for gradient in found)
        gradients.append(torch.cat([gradient.flatten() for gradient in found]))
    cosine = functional.cosine_similarity(gradients[0], gradients[1], dim=0)
    assert cosine > 0.99, f"cosine of float32 and bfloat16 gradients: {cosine:.4f}"


# ---- function ------------------------------------------------------------------------------------------


def published(arch: str, scale: int, w: dict[str, Tensor], x: Tensor, res_scale: float = 1.0) -> Tensor:
    """The four networks as their papers and releases define them, as functions of the small weights."""

    def conv(name: str, y: Tensor) -> Tensor:
        kernel = w[f"{name}.weight"]
        return functional.conv2d(y, kernel, w[f"{name}.bias"], padding=kernel.shape[-1] // 2)

    def prelu(name: str, y: Tensor) -> Tensor:
        return y.clamp(min=0) + w[f"{name}.weight"] * y.clamp(max=0)

    def leaky(y: Tensor) -> Tensor:
        return y.clamp(min=0) + 0.1 * y.clamp(max=0)

    def shuffle(step: int, y: Tensor) -> Tensor:
        n, c, height, width = y.shape
        y = y.view(n, c // step**2, step, step, height, width).permute(0, 1, 4, 2, 5, 3)
        return y.reshape(n, c // step**2, height * step, width * step)

    def attention(name: str, y: Tensor) -> Tensor:
        z = conv(f"{name}.conv_du.0", y.mean((2, 3), keepdim=True)).relu()
        return y / (1 + torch.exp(-conv(f"{name}.conv_du.2", z)))

    def block(name: str, y: Tensor) -> Tensor:
        z = conv(f"{name}.body.2", conv(f"{name}.body.0", y).relu())
        return y + (attention(f"{name}.body.3", z) if arch == "rcan" else res_scale * z)

    def group(name: str, y: Tensor) -> Tensor:
        return y + conv(f"{name}.body.2", block(f"{name}.body.1", block(f"{name}.body.0", y)))

    def upsample(names: Sequence[str], activation: Callable[[Tensor], Tensor], y: Tensor) -> Tensor:
        steps = {4: [2, 2], 8: [2, 2, 2]}.get(scale, [scale])
        for name, step in zip(names, steps, strict=False):
            y = activation(shuffle(step, conv(name, y)))
        return y

    if arch == "fsrcnn":
        y = prelu("head_conv.1", conv("head_conv.0", x))
        for step in range(4):
            y = prelu(f"body_conv.{step}.1", conv(f"body_conv.{step}.0", y))
        # Every feature pixel paints a 9 x 9 stamp; the image is the middle of what they paint.
        canvas = functional.conv_transpose2d(y, w["tail_conv.weight"], w["tail_conv.bias"], stride=scale)
        cut = {2: 4, 3: 3, 4: 3, 8: 1}[scale]
        return canvas[..., cut : cut + scale * x.shape[2], cut : cut + scale * x.shape[3]]
    if arch == "msrresnet":
        y = leaky(conv("conv_first", x))
        for n in range(2):
            y = y + conv(f"body.{n}.conv2", conv(f"body.{n}.conv1", y).relu())
        y = upsample(("upconv1", "upconv2", "upconv3"), leaky, y)
        base = functional.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False)
        return conv("conv_last", leaky(conv("conv_hr", y))) + base
    mean = (255 * torch.tensor([0.4488, 0.4371, 0.4040])).to(x.dtype).view(1, 3, 1, 1)  # kept as float32
    head = conv("head.0", 255 * x - mean)
    part = group if arch == "rcan" else block
    y = head + conv("body.2", part("body.1", part("body.0", head)))
    return (conv("tail.1", upsample(("tail.0.0", "tail.0.2", "tail.0.4"), lambda z: z, y)) + mean) / 255


@pytest.mark.parametrize(
    ("arch", "scale", "options"),
    [*((arch, scale, {}) for arch in SMALL for scale in SCALES), ("edsr", 2, {"res_scale": 0.1})],
)
def test_the_function_is_the_published_one(arch: str, scale: int, options: dict[str, float]) -> None:
    """Released weights are worth nothing in a network that computes something else."""
    model = small(arch, scale, options=SMALL[arch] | options)
    for parameter in model.parameters():  # with initial weights, most layers contribute little
        if parameter.ndim == 4 and parameter.requires_grad:
            nn.init.normal_(parameter, std=math.sqrt(2 / parameter[0].numel()))
        elif parameter.requires_grad:
            nn.init.uniform_(parameter, 0.1, 0.5)
    model = model.double()
    x = torch.rand(2, 3, 6, 5, dtype=torch.float64)
    with torch.no_grad():
        expected = published(arch, scale, model.state_dict(), x, **options)
        for y in (model(x), channels_last(model)(x.to(memory_format=torch.channels_last))):
            error = (y - expected).abs() / expected.abs().max()
            assert error.max() < 1e-10, f"relative error: median {error.median():.1e}, max {error.max():.1e}"


# ---- initialisation ------------------------------------------------------------------------------------


def assert_std(name: str, weight: Tensor, std: float) -> None:
    """Both moments within five standard errors (of a normal or a uniform distribution: kurtosis <= 3)."""
    weight, n = weight.detach().double(), weight.numel()
    found = float(weight.pow(2).mean().sqrt())
    assert abs(found / std - 1) < 5 / math.sqrt(2 * n), f"{name}: std {found:.5g}, expected {std:.5g} ({n})"
    assert abs(float(weight.mean())) < 5 * std / math.sqrt(n), f"{name}: mean {weight.mean():.2g}"


@pytest.mark.parametrize(
    ("arch", "gain"),
    [("edsr", 1 / 3), ("rcan", 1 / 3), ("msrresnet", 0.1**2 * 2), ("fsrcnn", 2 / (1 + 0.25**2))],
)
def test_initial_weights_are_the_authors(arch: str, gain: float) -> None:
    """Torch's uniform distribution, and normal ones of He et al.: the variance is gain / fan-in."""
    model = small(arch, 3, options=SMALL[arch] | ({"d": 56} if arch == "fsrcnn" else {"channels": 64}))
    for name, layer in model.named_modules():
        if not isinstance(layer, nn.Conv2d) or isinstance(layer, MeanShift):
            continue
        std = math.sqrt(gain / layer.weight[0].numel())
        assert_std(name, layer.weight, std)
        uniform = bool(layer.weight.abs().max() <= math.sqrt(3) * std)
        assert uniform == layer.bias.any() == (arch in ("edsr", "rcan")), name
    if arch == "fsrcnn":
        assert_std("tail_conv", model.get_parameter("tail_conv.weight"), 0.001)
        assert not model.get_parameter("tail_conv.bias").any()
        assert {m.weight.item() for m in model.modules() if isinstance(m, nn.PReLU)} == {0.25}


# ---- receptive field -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("arch", "scale"), LOCAL)
def test_a_crop_with_the_radius_around_it_gives_the_whole_image(arch: str, scale: int) -> None:
    """What tiled inference relies on; one pixel less of it is not enough."""
    model, side = small(arch, scale).double(), 4
    radius = model.receptive_radius
    assert radius is not None
    start = radius + 3
    x = torch.rand(1, 3, 2 * start + side, 2 * start + side, dtype=torch.float64)
    part = slice(scale * start, scale * (start + side))
    errors = []
    with torch.no_grad():
        whole = model(x)[..., part, part]
        for margin in (radius, radius - 1):
            seen = slice(start - margin, start + side + margin)
            kept = slice(scale * margin, scale * (margin + side))
            errors.append(float((model(x[..., seen, seen])[..., kept, kept] - whole).abs().max()))
    assert errors[0] < 1e-12 * float(whole.abs().max()), errors
    assert errors[1] > errors[0], errors


@pytest.mark.parametrize(
    ("arch", "radii"), [("edsr", [36] * 4), ("msrresnet", [35] * 4), ("fsrcnn", [8, 7, 7, 7])]
)
def test_receptive_radius_of_the_published_networks(arch: str, radii: list[int]) -> None:
    with torch.device("meta"):
        assert [build(arch, scale).receptive_radius for scale in SCALES] == radii


def test_rcan_sees_the_whole_image() -> None:
    assert small("rcan").receptive_radius is None
