"""Small networks of spandrel, and the package itself where torchvision is missing."""

from __future__ import annotations

import enum
import importlib
import importlib.util
import sys
import types
from typing import Any

import pytest

SMALL: dict[str, dict[str, Any]] = {
    "SwinIR": {
        "depths": [2], "num_heads": [2], "embed_dim": 12, "window_size": 8, "mlp_ratio": 2,
        "upsampler": "pixelshuffledirect",
    },
    "SPAN": {"feature_channels": 8},
    "RealPLKSR": {"dim": 16, "n_blocks": 2, "kernel_size": 7},
    "HAT": {
        "depths": [1], "num_heads": [2], "embed_dim": 12, "window_size": 8, "mlp_ratio": 2,
        "squeeze_factor": 2, "upsampler": "pixelshuffle",
    },
}  # fmt: skip


def options(name: str, **changed: Any) -> dict[str, Any]:
    """Return the options of a small network."""
    return {"name": name, **SMALL.get(name, {}), **changed}


def require_spandrel() -> Any:
    """Import spandrel, or skip the test.

    spandrel imports three names of torchvision, for networks that are no upscalers. Where there is no
    torchvision, these names stand in for it while spandrel is imported; an installed torchvision is used.
    """
    if "spandrel" in sys.modules:
        return sys.modules["spandrel"]
    stand_in: dict[str, types.ModuleType] = {}
    if importlib.util.find_spec("torchvision") is None:
        names = ("torchvision", "torchvision.transforms", "torchvision.transforms.functional")
        stand_in = {name: types.ModuleType(name) for name in names}
        functional: Any = stand_in[names[-1]]
        functional.InterpolationMode = enum.Enum("InterpolationMode", ["NEAREST", "BILINEAR"])
        functional.rotate = functional.normalize = None
    sys.modules.update(stand_in)
    try:
        return importlib.import_module("spandrel")
    except (ImportError, RuntimeError) as error:
        return pytest.skip(f"spandrel cannot be imported: {error}")
    finally:
        for name in stand_in:
            del sys.modules[name]
