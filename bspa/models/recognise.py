"""Tell the network of a state dict from its names and shapes, for error messages."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor


def recognise(state_dict: Mapping[str, Tensor]) -> str | None:
    """Describe the network of ``state_dict``, e.g. ``EDSR(scale=4, blocks=16, channels=64)``.

    What the shapes do not tell is left out: FSRCNN's scale, EDSR's res_scale. None: unknown or incomplete.
    """

    def count(pattern: str) -> int:
        return sum(re.fullmatch(pattern, name) is not None for name in state_dict)

    def outputs(name: str) -> int:
        return state_dict[name].shape[0]

    def has(*names: str) -> bool:
        return all(name in state_dict and state_dict[name].ndim == 4 for name in names)

    def scale(first: str, second: str) -> int | None:
        return 4 if has(second) else {4: 2, 9: 3}.get(outputs(first) // state_dict[first].shape[1])

    found: dict[str, int | None]
    if has("head_conv.0.weight", "body_conv.0.0.weight"):
        found = {"d": outputs("head_conv.0.weight"), "s": outputs("body_conv.0.0.weight")}
        return _describe("FSRCNN", found | {"m": count(r"body_conv\.\d+\.0\.weight") - 2})
    if has("conv_first.weight", "upconv1.weight"):
        found = {"scale": scale("upconv1.weight", "upconv2.weight")}
        found |= {"blocks": count(r"body\.\d+\.conv1\.weight"), "channels": outputs("conv_first.weight")}
        return _describe("MSRResNet", found)
    if not has("head.0.weight", "tail.0.0.weight"):
        return None
    found = {"scale": scale("tail.0.0.weight", "tail.0.2.weight")}
    channels = outputs("head.0.weight")
    squeeze = "body.0.body.0.body.3.conv_du.0.weight"
    if has(squeeze):
        found["groups"] = count(r"body\.\d+\.body\.0\.body\.0\.weight")
        found["blocks"] = count(r"body\.0\.body\.\d+\.body\.0\.weight")
        return _describe("RCAN", found | {"channels": channels, "reduction": channels // outputs(squeeze)})
    found["blocks"] = count(r"body\.\d+\.body\.0\.weight")
    return _describe("EDSR", found | {"channels": channels})


def _describe(name: str, found: Mapping[str, int | None]) -> str:
    return f"{name}({', '.join(f'{option}={value}' for option, value in found.items())})"
