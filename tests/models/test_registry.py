"""Networks by name: their options, and refusals that say what is allowed."""

from __future__ import annotations

import inspect
import math
import re
from typing import Any, get_args

import pytest

from bspa.config.schema import Model as ModelSettings
from bspa.models.registry import ARCHITECTURES, build


def test_architectures_options_and_defaults_are_those_of_the_config() -> None:
    offered = {}
    for settings in get_args(get_args(ModelSettings)[0]):
        (arch,) = get_args(settings.model_fields["arch"].annotation)
        options = settings.model_fields["options"].annotation.model_fields
        offered[arch] = {name: field.default for name, field in options.items()}
    assert offered.pop("spandrel").keys() == {"name"}  # the others are those of spandrel's classes
    ours = {}
    for arch, network in ARCHITECTURES.items():
        if arch == "spandrel":
            continue
        parameters = inspect.signature(network).parameters
        assert {p.kind for p in parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}
        ours[arch] = {name: p.default for name, p in parameters.items() if name != "scale"}
    assert ours == offered


@pytest.mark.parametrize(
    ("arch", "scale", "options", "parts"),
    [
        ("edrs", 2, {}, ["'edrs'", "'edsr'?", "edsr, fsrcnn, msrresnet, rcan"]),
        ("vit", 2, {}, ["'vit'", "edsr, fsrcnn, msrresnet, rcan"]),
        ("edsr", 2, {"chanels": 8}, ["edsr", "'chanels'", "'channels'?", "blocks, channels, res_scale"]),
        ("fsrcnn", 2, {"blocks": 8}, ["fsrcnn", "'blocks'", "d, initial, m, s, value_range"]),
        ("edsr", 5, {}, ["edsr: scale", "5", "2, 3, 4, 8"]),
        ("fsrcnn", 2.0, {}, ["fsrcnn: scale", "2.0", "2, 3, 4, 8"]),
        ("edsr", 2, {"blocks": 0}, ["edsr: blocks", "0", "from 1"]),
        ("edsr", 2, {"channels": 8.0}, ["edsr: channels", "8.0"]),
        ("edsr", 2, {"channels": "64"}, ["edsr: channels", "'64'"]),
        ("edsr", 2, {"blocks": True}, ["edsr: blocks", "True"]),
        ("edsr", 2, {"res_scale": 0}, ["edsr: res_scale", "0", "above 0"]),
        ("edsr", 2, {"res_scale": math.nan}, ["edsr: res_scale", "nan"]),
        ("rcan", 2, {"reduction": 0}, ["rcan: reduction", "0"]),
        ("rcan", 2, {"channels": 32, "reduction": 12}, ["RCAN: reduction", "12", "channels", "32"]),
    ],
)
def test_wrong_options_are_named(arch: str, scale: Any, options: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(ValueError, match=".*".join(map(re.escape, parts))):
        build(arch, scale, **options)


def test_options_make_smaller_networks() -> None:
    rcan = build("rcan", 4, groups=2, blocks=3, channels=32, reduction=8)
    shapes = {name: tuple(value.shape) for name, value in rcan.state_dict().items()}
    assert shapes["body.1.body.2.body.3.conv_du.0.weight"] == (4, 32, 1, 1)
    assert shapes["body.1.body.3.weight"] == shapes["body.2.weight"] == (32, 32, 3, 3)
    assert "scale=4, groups=2, blocks=3, channels=32, reduction=8" in repr(rcan)
