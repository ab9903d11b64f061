"""The networks: names and shapes of the authors' releases, initialisation, precision, receptive field."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable
from typing import get_args

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bspa.config.schema import Model as ModelSettings
from bspa.models.cpu_kernels import prelu
from bspa.models.fsrcnn import Deconvolution
from bspa.models.registry import ARCHITECTURES, build, count_parameters

SCALES = (2, 3, 4)
SMALL = {
    "edsr": {"blocks": 2, "channels": 8},
    "fsrcnn": {"d": 8, "s": 4, "m": 2},
    "msrresnet": {"blocks": 2, "channels": 8},
    "rcan": {"groups": 2, "blocks": 2, "channels": 8, "reduction": 2},
}
EVERY = [pytest.param(arch, scale, id=f"{arch}_x{scale}") for arch in SMALL for scale in SCALES]
LOCAL = [parameter for parameter in EVERY if parameter.values[0] != "rcan"]

# What the releases hold, written down from EDSR-PyTorch, RCAN and BasicSR; FSRCNN has the names we chose. A
# line is a convolution (outputs, inputs, kernel; with a bias), "n-m" counts, "prelu" is one slope.
EDSR_FRAME = """
sub_mean 3 3 1
add_mean 3 3 1
head.0 64 3 3
"""
SHUFFLE_TAILS = {
    2: "tail.0.0 256 64 3",
    3: "tail.0.0 576 64 3",
    4: "tail.0.0 256 64 3\ntail.0.2 256 64 3",
}
RELEASES = {
    **{
        ("edsr", scale): f"""
            {EDSR_FRAME}
            body.0-15.body.0 64 64 3
            body.0-15.body.2 64 64 3
            body.16 64 64 3
            {tail}
            tail.1 3 64 3
        """
        for scale, tail in SHUFFLE_TAILS.items()
    },
    **{
        ("rcan", scale): f"""
            {EDSR_FRAME}
            body.0-9.body.0-19.body.0 64 64 3
            body.0-9.body.0-19.body.2 64 64 3
            body.0-9.body.0-19.body.3.conv_du.0 4 64 1
            body.0-9.body.0-19.body.3.conv_du.2 64 4 1
            body.0-9.body.20 64 64 3
            body.10 64 64 3
            {tail}
            tail.1 3 64 3
        """
        for scale, tail in SHUFFLE_TAILS.items()
    },
    **{
        ("msrresnet", scale): f"""
            conv_first 64 3 3
            body.0-15.conv1 64 64 3
            body.0-15.conv2 64 64 3
            {tail}
            conv_hr 64 64 3
            conv_last 3 64 3
        """
        for scale, tail in {
            2: "upconv1 256 64 3",
            3: "upconv1 576 64 3",
            4: "upconv1 256 64 3\nupconv2 256 64 3",
        }.items()
    },
    **{
        ("fsrcnn", scale): """
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
        for scale in SCALES
    },
}
TRAINABLE = {
    "edsr": (1_369_859, 1_554_499, 1_517_571),
    "rcan": (15_444_643, 15_629_283, 15_592_355),
    "fsrcnn": (24_518, 24_518, 24_518),
    "msrresnet": (1_369_859, 1_554_499, 1_517_571),
}


def released_shapes(text: str) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        pattern, *words = line.split()
        names = [pattern]
        while "-" in names[0]:
            first, last = map(int, re.search(r"(\d+)-(\d+)", names[0]).groups())
            names = [
                re.sub(r"\d+-\d+", str(n), name, count=1) for name in names for n in range(first, last + 1)
            ]
        for name in names:
            if words == ["prelu"]:
                shapes[f"{name}.weight"] = (1,)
                continue
            a, b, kernel = map(int, words[-3:])
            shapes[f"{name}.weight"] = (a, b, kernel, kernel)
            shapes[f"{name}.bias"] = (b,) if words[0] == "deconvolution" else (a,)
    return shapes


def seeded(arch: str, scale: int, **options: float) -> nn.Module:
    torch.manual_seed(0)
    return build(arch, scale, **(options or SMALL[arch])).eval()


def last_layer(model: nn.Module) -> nn.Module:
    return next(getattr(model, name) for name in ("tail_conv", "conv_last", "tail") if hasattr(model, name))


@pytest.mark.parametrize(("arch", "scale"), EVERY)
def test_names_and_shapes_are_those_of_the_release(arch, scale):
    with torch.device("meta"):
        model = build(arch, scale)
    ours = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    assert ours == released_shapes(RELEASES[arch, scale])
    assert count_parameters(model) == TRAINABLE[arch][SCALES.index(scale)]


def test_release_rules_expand():
    """The golden rules themselves: the sizes printed by the authors' programs, fixed parameters included."""
    total = sum(math.prod(shape) for shape in released_shapes(RELEASES["rcan", 4]).values())
    assert total == 15_592_379
    assert len(released_shapes(RELEASES["edsr", 4])) == 2 * (3 + 32 + 1 + 3)
    assert released_shapes(RELEASES["edsr", 2])["body.15.body.2.weight"] == (64, 64, 3, 3)


@pytest.mark.parametrize(("arch", "scale"), EVERY)
def test_any_size_gives_scale_times_the_size(arch, scale):
    model = seeded(arch, scale)
    for size in [(1, 1), (1, 2), (7, 5), (12, 9)]:
        x = torch.rand(1, 3, *size)
        with torch.no_grad():
            y = model(x)
            assert model.features(x).shape == (1, model.feature_channels, *size)
        assert y.shape == (1, 3, scale * size[0], scale * size[1])
        assert y.dtype == torch.float32
        assert y.isfinite().all()


@pytest.mark.parametrize("arch", SMALL)
def test_forward_uses_features(arch):
    """A head put on the features trains the very body that makes the image."""
    model, called = seeded(arch, 2), []
    features = model.features
    model.features = lambda x: called.append(features(x)) or called[-1]
    x = torch.rand(2, 3, 4, 5)
    assert model(x).requires_grad
    assert [f.shape for f in called] == [(2, model.feature_channels, 4, 5)]


@pytest.mark.parametrize(("arch", "scale"), EVERY)
def test_channels_last_changes_nothing(arch, scale):
    model = seeded(arch, scale).double()
    x = torch.rand(2, 3, 7, 5, dtype=torch.float64)
    with torch.no_grad():
        expected = model(x)
        model = model.to(memory_format=torch.channels_last)
        y = model(x.to(memory_format=torch.channels_last))
    error = (y - expected).abs()
    assert error.max() < 1e-12, f"error: median {error.median():.1e}, max {error.max():.1e}"
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in model.parameters() if p.ndim == 4)


# ---- precision -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("arch", "scale"), EVERY)
def test_last_convolution_is_float32_under_autocast(arch, scale):
    model = seeded(arch, scale)
    last = last_layer(model)
    last = last[-1] if isinstance(last, nn.Sequential) else last
    seen: dict[str, Tensor] = {}
    last.register_forward_hook(lambda _, inputs, output: seen.update(into=inputs[0], out=output))
    x = torch.rand(1, 3, 6, 5)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        y = model(x)
    assert y.dtype == torch.float32
    assert seen["into"].dtype == torch.bfloat16, "the rest of the network should run in reduced precision"
    own = nn.ConvTranspose2d.forward if arch == "fsrcnn" else nn.Conv2d.forward
    with torch.no_grad():
        # FSRCNN's is computed in another order, which rounds otherwise.
        torch.testing.assert_close(
            seen["out"], own(last, seen["into"].float()), rtol=1e-5 if arch == "fsrcnn" else 0, atol=1e-7
        )
        with torch.autocast("cpu", torch.bfloat16):
            reduced = own(last, seen["into"])
    assert not torch.equal(seen["out"], reduced.float())


@pytest.mark.parametrize("arch", SMALL)
def test_gradients_under_autocast_are_float32_and_close(arch):
    model, x = seeded(arch, 2), torch.rand(2, 3, 8, 8)
    target = torch.rand(2, 3, 16, 16)
    gradients = []
    for enabled in (False, True):
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            y = model(x)
        functional.mse_loss(y, target).backward()
        trainable = [p for p in model.parameters() if p.requires_grad]
        assert all(p.grad.dtype == torch.float32 for p in trainable)
        gradients.append(torch.cat([p.grad.flatten() for p in trainable]))
    cosine = functional.cosine_similarity(*gradients, dim=0)
    assert cosine > 0.99, f"cosine of float32 and bfloat16 gradients: {cosine:.4f}"


# ---- range of values -----------------------------------------------------------------------------------


@pytest.mark.parametrize("arch", ["edsr", "rcan"])
def test_mean_shift_is_fixed_and_that_of_div2k(arch):
    model = seeded(arch, 2)
    mean = 255 * torch.tensor([0.4488, 0.4371, 0.4040])
    for layer, sign in ((model.sub_mean, -1), (model.add_mean, 1)):
        assert torch.equal(layer.weight, torch.eye(3).view(3, 3, 1, 1))
        torch.testing.assert_close(layer.bias, sign * mean)
        assert not layer.weight.requires_grad
        assert not layer.bias.requires_grad


@pytest.mark.parametrize("arch", ["edsr", "rcan"])
def test_inside_the_range_is_0_to_255(arch):
    """With a last convolution of zero the output is the mean colour; the head sees 255 x minus the mean."""
    model = seeded(arch, 3)
    seen: list[Tensor] = []
    model.head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    nn.init.zeros_(model.tail[1].weight)
    nn.init.constant_(model.tail[1].bias, 25.5)
    x = torch.rand(1, 3, 4, 4)
    y = model(x)
    mean = torch.tensor([0.4488, 0.4371, 0.4040]).view(1, 3, 1, 1)
    torch.testing.assert_close(seen[0], 255 * (x - mean), rtol=0, atol=1e-4)
    torch.testing.assert_close(y, (mean + 0.1).expand_as(y))


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

    def upsample(names: tuple[str, str], activation: Callable[[Tensor], Tensor], y: Tensor) -> Tensor:
        for name, step in zip(names, [2, 2] if scale == 4 else [scale], strict=False):
            y = activation(shuffle(step, conv(name, y)))
        return y

    if arch == "fsrcnn":
        y = prelu("head_conv.1", conv("head_conv.0", x))
        for step in range(4):
            y = prelu(f"body_conv.{step}.1", conv(f"body_conv.{step}.0", y))
        # Every feature pixel paints a 9 x 9 stamp; the image is the middle of what they paint.
        canvas = functional.conv_transpose2d(y, w["tail_conv.weight"], w["tail_conv.bias"], stride=scale)
        cut = {2: 4, 3: 3, 4: 3}[scale]
        return canvas[..., cut : cut + scale * x.shape[2], cut : cut + scale * x.shape[3]]
    if arch == "msrresnet":
        y = leaky(conv("conv_first", x))
        for n in range(2):
            y = y + conv(f"body.{n}.conv2", conv(f"body.{n}.conv1", y).relu())
        y = upsample(("upconv1", "upconv2"), leaky, y)
        base = functional.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False)
        return conv("conv_last", leaky(conv("conv_hr", y))) + base
    mean = (255 * torch.tensor([0.4488, 0.4371, 0.4040])).to(x.dtype).view(1, 3, 1, 1)  # kept as float32
    head = conv("head.0", 255 * x - mean)
    part = group if arch == "rcan" else block
    y = head + conv("body.2", part("body.1", part("body.0", head)))
    return (conv("tail.1", upsample(("tail.0.0", "tail.0.2"), lambda z: z, y)) + mean) / 255


@pytest.mark.parametrize(
    ("arch", "scale", "options"),
    [
        *((arch, scale, {}) for arch in SMALL for scale in SCALES),
        ("edsr", 2, {"res_scale": 0.1}),
    ],
)
def test_the_function_is_the_published_one(arch, scale, options):
    """Released weights are worth nothing in a network that computes something else."""
    model = seeded(arch, scale, **SMALL[arch], **options)
    for parameter in model.parameters():  # as they start, most layers have no say
        if parameter.ndim == 4 and parameter.requires_grad:
            nn.init.normal_(parameter, std=math.sqrt(2 / parameter[0].numel()))
        elif parameter.requires_grad:
            nn.init.uniform_(parameter, 0.1, 0.5)
    model = model.double()
    x = torch.rand(2, 3, 6, 5, dtype=torch.float64)
    with torch.no_grad():
        y = model(x)
        expected = published(arch, scale, model.state_dict(), x, **options)
    error = (y - expected).abs()
    worst = float(error.max() / expected.abs().max())
    assert worst < 1e-10, f"relative error: max {worst:.1e}; absolute: median {error.median():.1e}"


def test_every_fsrcnn_convolution_but_the_last_has_a_prelu():
    layers = [m for m in build("fsrcnn", 2).modules() if isinstance(m, nn.Conv2d | nn.PReLU)]
    assert [type(layer) for layer in layers] == [nn.Conv2d, nn.PReLU] * 7
    assert all(layer.num_parameters == 1 for layer in layers[1::2])


# ---- initialisation ------------------------------------------------------------------------------------


def assert_std(name: str, weight: Tensor, std: float) -> None:
    """Both moments within five standard errors (of a normal or a uniform distribution: kurtosis <= 3)."""
    weight, n = weight.detach(), weight.numel()
    found = float(weight.double().pow(2).mean().sqrt())
    assert abs(found / std - 1) < 5 / math.sqrt(2 * n), f"{name}: std {found:.5g}, expected {std:.5g} ({n})"
    assert abs(float(weight.double().mean())) < 5 * std / math.sqrt(n), f"{name}: mean {weight.mean():.2g}"


def fan_in(layer: nn.Conv2d) -> int:
    return layer.in_channels * math.prod(layer.kernel_size)


def convolutions(model: nn.Module, kind: type[nn.Module] = nn.Conv2d) -> dict[str, nn.Module]:
    fixed = ("sub_mean", "add_mean")
    return {n: m for n, m in model.named_modules() if isinstance(m, kind) and n not in fixed}


@pytest.mark.parametrize(("arch", "options"), [("edsr", {"blocks": 2}), ("rcan", {"groups": 1, "blocks": 2})])
def test_edsr_and_rcan_start_as_torch_starts(arch, options):
    for name, layer in convolutions(seeded(arch, 3, **options)).items():
        bound = 1 / math.sqrt(fan_in(layer))
        assert layer.weight.abs().max() <= bound
        assert layer.bias.abs().max() <= bound
        assert_std(name, layer.weight, bound / math.sqrt(3))
        assert layer.bias.abs().max() > 0


@pytest.mark.parametrize("scale", SCALES)
def test_msrresnet_starts_at_a_tenth_of_kaiming(scale):
    for name, layer in convolutions(seeded("msrresnet", scale, blocks=2)).items():
        std = 0.1 * math.sqrt(2 / fan_in(layer))
        assert_std(name, layer.weight, std)
        assert layer.weight.abs().max() > math.sqrt(3) * 1.2 * std, f"{name}: not a normal distribution"
        assert not layer.bias.any()


def test_fsrcnn_starts_as_he_for_prelu_and_a_small_deconvolution():
    model = seeded("fsrcnn", 4, d=56)
    for name, layer in convolutions(model).items():
        assert_std(name, layer.weight, math.sqrt(2 / ((1 + 0.25**2) * fan_in(layer))))
        assert not layer.bias.any()
    assert_std("tail_conv", model.tail_conv.weight, 0.001)
    assert not model.tail_conv.bias.any()
    assert all(layer.weight.item() == 0.25 for layer in convolutions(model, nn.PReLU).values())


# ---- receptive field -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("arch", "scale"), LOCAL)
def test_receptive_radius_by_gradient(arch, scale):
    """The gradient of one LR pixel's outputs reaches exactly the radius, and not a pixel further."""
    model = seeded(arch, scale).double()
    radius = model.receptive_radius
    centre = radius + 2
    x = torch.rand(1, 3, 2 * centre + 1, 2 * centre + 1, dtype=torch.float64, requires_grad=True)
    block = slice(scale * centre, scale * (centre + 1))
    model(x)[:, :, block, block].square().sum().backward()
    rows, columns = x.grad.abs().sum((0, 1)).nonzero(as_tuple=True)
    reach = max(int((rows - centre).abs().max()), int((columns - centre).abs().max()))
    assert reach == radius


@pytest.mark.parametrize(("arch", "scale"), LOCAL)
def test_pixels_beyond_the_radius_never_change_the_output(arch, scale):
    model = seeded(arch, scale).double()
    radius = model.receptive_radius
    size, at = 3 * radius, radius + 1
    x = torch.rand(1, 3, size, size, dtype=torch.float64)
    changed = x.clone()
    changed[..., at, at] += 1e3
    with torch.no_grad():
        difference = (model(changed) - model(x)).abs().amax((0, 1))
    by_pixel = difference.view(size, scale, size, scale).amax((1, 3))
    distance = (torch.arange(size) - at).abs()
    outside = torch.maximum(distance[:, None], distance[None, :]) > radius
    assert by_pixel[~outside].max() > 0
    assert by_pixel[outside].max() == 0, f"{int((by_pixel[outside] > 0).sum())} pixels changed"


@pytest.mark.parametrize(("arch", "scale"), LOCAL)
def test_a_crop_with_the_radius_around_it_gives_the_whole_image(arch, scale):
    """What tiled inference relies on; one pixel less is not enough."""
    model = seeded(arch, scale).double()
    radius, side = model.receptive_radius, 4
    x = torch.rand(1, 3, 2 * radius + side + 6, 2 * radius + side + 6, dtype=torch.float64)
    start = radius + 3
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


def test_receptive_radius_of_the_published_networks():
    with torch.device("meta"):
        assert [build("edsr", s).receptive_radius for s in SCALES] == [36, 36, 36]
        assert [build("msrresnet", s).receptive_radius for s in SCALES] == [35, 35, 35]
        assert [build("fsrcnn", s).receptive_radius for s in SCALES] == [8, 7, 7]


def test_rcan_sees_the_whole_image():
    model = seeded("rcan", 2).double()
    assert model.receptive_radius is None
    x = torch.rand(1, 3, 40, 40, dtype=torch.float64)
    changed = x.clone()
    changed[..., 0, 0] += 1
    with torch.no_grad():
        difference = (model(changed) - model(x)).abs().amax((0, 1))
    assert (difference > 0).all()


# ---- options -------------------------------------------------------------------------------------------


def test_architectures_options_and_defaults_are_those_of_the_config():
    offered = {}
    for settings in get_args(get_args(ModelSettings)[0]):
        (arch,) = get_args(settings.model_fields["arch"].annotation)
        options = settings.model_fields["options"].annotation.model_fields
        offered[arch] = {name: field.default for name, field in options.items()}
    ours = {}
    for arch, network in ARCHITECTURES.items():
        parameters = inspect.signature(network).parameters
        ours[arch] = {name: p.default for name, p in parameters.items() if name != "scale"}
    assert ours == offered


def test_constructors_are_keyword_only():
    for network in ARCHITECTURES.values():
        kinds = {p.kind for p in inspect.signature(network).parameters.values()}
        assert kinds == {inspect.Parameter.KEYWORD_ONLY}


@pytest.mark.parametrize(
    ("arch", "scale", "options", "message"),
    [
        ("edrs", 2, {}, r"'edrs', did you mean 'edsr'\? Known are: edsr, fsrcnn, msrresnet, rcan"),
        ("vit", 2, {}, "'vit'; Known are"),
        ("edsr", 2, {"chanels": 8}, r"edsr: unknown option 'chanels', did you mean 'channels'\?.*res_scale"),
        ("fsrcnn", 2, {"blocks": 8}, "fsrcnn: unknown option 'blocks'; Known are: d, m, s"),
        ("rcan", 2, {"scale_": 8}, "rcan: unknown option"),
        ("edsr", 5, {}, "scale is 5; allowed are 2, 3 and 4"),
        ("fsrcnn", 2.0, {}, r"scale is 2\.0"),
        ("edsr", 2, {"blocks": 0}, "EDSR: blocks is 0"),
        ("edsr", 2, {"channels": -1}, "EDSR: channels is -1"),
        ("edsr", 2, {"channels": 8.0}, r"EDSR: channels is 8\.0"),
        ("edsr", 2, {"channels": "64"}, "EDSR: channels is '64'"),
        ("edsr", 2, {"blocks": True}, "EDSR: blocks is True"),
        ("edsr", 2, {"res_scale": 0}, "EDSR: res_scale is 0"),
        ("edsr", 2, {"res_scale": math.nan}, "EDSR: res_scale is nan"),
        ("edsr", 2, {"res_scale": "1"}, "EDSR: res_scale is '1'"),
        ("fsrcnn", 2, {"m": 0}, "FSRCNN: m is 0"),
        ("rcan", 2, {"groups": 0}, "RCAN: groups is 0"),
        ("rcan", 2, {"reduction": 0}, "RCAN: reduction is 0"),
        ("rcan", 2, {"channels": 32, "reduction": 12}, "RCAN: reduction 12 does not divide channels 32"),
    ],
)
def test_wrong_options_are_named(arch, scale, options, message):
    with pytest.raises(ValueError, match=message):
        build(arch, scale, **options)


def test_options_make_smaller_networks():
    edsr = build("edsr", 4, blocks=4, channels=32)
    assert len(edsr.body) == 5
    assert edsr.head[0].out_channels == edsr.feature_channels == 32
    rcan = build("rcan", 4, groups=2, blocks=3, channels=32, reduction=8)
    assert len(rcan.body) == 3
    assert len(rcan.body[0].body) == 4
    assert rcan.body[0].body[0].body[3].conv_du[0].out_channels == 4
    assert repr(rcan).splitlines()[1].strip() == "scale=4, groups=2, blocks=3, channels=32, reduction=8"


@pytest.mark.parametrize("arch", SMALL)
def test_networks_learn(arch):
    """A few steps on one batch: every trainable parameter gets a gradient and the loss falls well."""
    model = seeded(arch, 2).train()
    coarse = torch.rand(4, 3, 3, 3)
    hr = functional.interpolate(coarse, scale_factor=8, mode="bicubic").clamp(0, 1)
    lr = functional.avg_pool2d(hr, 2)
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=2e-3)
    losses = []
    for _ in range(60):
        optimiser.zero_grad()
        loss = functional.l1_loss(model(lr), hr)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert all(p.grad is not None and p.grad.any() for p in model.parameters() if p.requires_grad)
    assert losses[-1] < 0.75 * losses[0], f"{losses[0]:.4f} -> {losses[-1]:.4f}"


def test_the_prelu_of_a_layer_is_torchs_forward_and_backward() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 4, 5, generator=generator, dtype=torch.float64)
    x[0, 0, 0, :2] = torch.tensor([0.0, -0.0])
    for value in (0.25, 0.0, 1.0, -0.5):
        slope = torch.full((1,), value, dtype=torch.float64, requires_grad=True)
        inputs = x.clone().requires_grad_(), slope
        ours, expected = prelu(*inputs), functional.prelu(*inputs)
        assert torch.equal(ours, expected)
        direction = torch.randn(x.shape, generator=generator, dtype=torch.float64)
        for a, b in zip(*(torch.autograd.grad(y, inputs, direction) for y in (ours, expected)), strict=True):
            torch.testing.assert_close(a, b)


def test_the_slopes_gradient_is_summed_in_float32() -> None:
    x = torch.full((1, 1, 64, 64), -1.0, dtype=torch.bfloat16, requires_grad=True)
    slope = torch.full((1,), 0.25, requires_grad=True)
    prelu(x, slope).backward(torch.ones_like(x))
    assert slope.grad is not None
    assert slope.grad.dtype == torch.float32
    assert slope.grad.item() == -4096


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("kernel", [5, 7, 9])
def test_the_upscaling_convolution_is_torchs_transposed_one(scale: int, kernel: int) -> None:
    torch.manual_seed(0)
    layer = Deconvolution(5, 3, kernel=kernel, scale=scale).double()
    x = torch.rand(2, 5, 6, 7, dtype=torch.double, requires_grad=True)
    fast, plain = layer(x), nn.ConvTranspose2d.forward(layer, x)
    assert fast.shape == (2, 3, 6 * scale, 7 * scale)
    torch.testing.assert_close(fast, plain, rtol=1e-12, atol=1e-12)
    inputs = [x, *layer.parameters()]
    gradients = (torch.autograd.grad(y.square().sum(), inputs) for y in (fast, plain))
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
