"""Where and how large things are measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from bspa.models.registry import build

SCALE = 4


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What the chapters are given; the defaults are the paper's sizes."""

    folder: Path
    """For files; removed at the end."""
    device: torch.device
    threads: int
    tiny: bool
    patch: int = 128
    step: int = 64
    threshold: int = 48
    batch: int = 16
    scored: int = 64
    """Sub-images that are scored in a turn, or a few more."""
    sub_images: int = 4000
    photo: tuple[int, int] = (1404, 2040)
    stage_steps: int = 100
    networks: dict[str, tuple[str, dict[str, int | float]]] = field(
        default_factory=lambda: {
            "fsrcnn": ("fsrcnn", {}),
            "edsr": ("edsr", {"blocks": 16, "channels": 64}),
            "rcan": ("rcan", {"groups": 10, "blocks": 20, "channels": 64, "reduction": 16}),
            "msrresnet": ("msrresnet", {"blocks": 16, "channels": 64}),
        }
    )

    def build(self, network: str) -> torch.nn.Module:
        """Return a network on the device, every time with the same weights."""
        arch, options = self.networks[network]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return build(arch, SCALE, **options).to(self.device)


TINY: dict[str, Any] = {
    "patch": 32,
    "step": 64,
    "threshold": 64,
    "batch": 2,
    "scored": 4,
    "sub_images": 24,
    "photo": (96, 80),
    "stage_steps": 4,
    "networks": {
        "fsrcnn": ("fsrcnn", {}),
        "edsr": ("edsr", {"blocks": 1, "channels": 8}),
        "rcan": ("rcan", {"groups": 1, "blocks": 1, "channels": 8, "reduction": 4}),
        "msrresnet": ("msrresnet", {"blocks": 1, "channels": 8}),
    },
}
