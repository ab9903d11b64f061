"""Arithmetic of a network: float32, or bfloat16 where the hardware supports it."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch

from bspa.system.devices import cpu_flags

log = logging.getLogger("bspa")

TRAINED_IN_FLOAT32 = ("fsrcnn", "spandrel")
"""Architectures that may lose quality in bfloat16 (docs/performance.md, No loss), or were not measured."""


@dataclass(frozen=True, slots=True)
class Precision:
    """Arithmetic of the convolutions; weights, last convolution, loss and optimiser are always float32."""

    name: str
    """``float32`` or ``bfloat16``."""
    device_type: str
    """``cpu`` or ``cuda``."""

    def autocast(self) -> torch.autocast:
        """Return a context that computes in this precision."""
        return torch.autocast(self.device_type, torch.bfloat16, enabled=self.name == "bfloat16")


def choose_precision(name: str, device: torch.device, *, arch: str = "") -> Precision:
    """Return the precision for ``device``, and log it.

    Args:
        name: ``float32``, ``bfloat16`` or ``auto``: bfloat16 on GPUs from compute capability 8.0 and on CPUs
            with AMX or AVX-512 BF16, else float32.
        device: where to compute.
        arch: the architecture to train; ``auto`` is float32 for those in `TRAINED_IN_FLOAT32`.
    """
    if name == "auto":
        reduced = _supports_bfloat16(device) and arch not in TRAINED_IN_FLOAT32
        name = "bfloat16" if reduced else "float32"
    log.info("precision: %s", name)
    return Precision(name, device.type)


def _supports_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return bool({"amx_bf16", "avx512_bf16"} & cpu_flags())
