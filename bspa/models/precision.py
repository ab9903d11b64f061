"""Arithmetic of a network: float32, or bfloat16 where the hardware computes in it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from bspa.system.devices import cpu_flags

log = logging.getLogger("bspa")

PRECISIONS = ("auto", "float32", "bfloat16")

TRAINED_IN_FLOAT32 = ("fsrcnn",)
"""Architectures for which bfloat16 is not shown to lose nothing (docs/performance.md, No loss)."""


@dataclass(frozen=True, slots=True)
class Precision:
    """Arithmetic of the convolutions. Weights, last convolution, loss and optimiser are always float32."""

    name: str
    """``float32`` or ``bfloat16``."""
    device_type: str
    """``cpu`` or ``cuda``."""

    @contextlib.contextmanager
    def autocast(self) -> Iterator[None]:
        """Run the block in this precision."""
        with torch.autocast(self.device_type, torch.bfloat16, enabled=self.name == "bfloat16"):
            yield


def choose_precision(name: str, device: torch.device, *, arch: str = "") -> Precision:
    """Return the precision for ``device``, and log it.

    Args:
        name: one of `PRECISIONS`; ``auto`` is bfloat16 on GPUs of compute capability 8.0 and newer and on
            CPUs with AMX or AVX-512 BF16, else float32.
        device: where to compute.
        arch: architecture to train; ``auto`` is float32 for those in `TRAINED_IN_FLOAT32`.

    Raises:
        ValueError: ``name`` is not in `PRECISIONS`.
    """
    if name not in PRECISIONS:
        raise ValueError(f"compute.precision: {name!r}; allowed are {', '.join(PRECISIONS)}")
    chosen = name
    if name == "auto":
        exact = arch in TRAINED_IN_FLOAT32 or not _computes_bfloat16(device)
        chosen = "float32" if exact else "bfloat16"
    log.info("precision: %s", chosen)
    return Precision(chosen, device.type)


def _computes_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return bool({"amx_bf16", "avx512_bf16"} & cpu_flags())
