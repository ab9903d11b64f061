"""Whether a network's steps are worth compiling, and that (`torch.compile`).

Compiling fuses what lies between the convolutions. On a CPU it costs some 15 s the first time, and 5.5 s in
each stage that finds the result in the cache that torch keeps. It saves time in proportion to the pixels.
"""

from __future__ import annotations

import logging
import os
import shutil
import sysconfig
from pathlib import Path
from typing import cast

import torch
from torch import nn

log = logging.getLogger("bspa")

WORTH_IT = {"fsrcnn": 2e9}
"""HR pixels of a stage from which on compiling pays on a CPU, by architecture (docs/performance.md).

FSRCNN's step gets a tenth faster, 9 ns a pixel. The paper's run has 5.2e9: in one stage it gains some 40 s,
in eight nothing. The others spend their time inside convolutions.
"""


def is_worth_it(arch: str, *, pixels: float, device: torch.device) -> bool:
    """Tell whether compiling pays, for a network of ``arch`` that a stage trains on ``pixels`` HR pixels.

    On a GPU the step is recorded instead, see `bspa.system.cuda_graphs`.
    """
    return device.type == "cpu" and pixels >= WORTH_IT.get(arch, float("inf"))


def has_compiler() -> bool:
    """Tell whether the C++ compiler and the headers are there that `torch.compile` needs on a CPU."""
    headers = Path(sysconfig.get_path("include"), "Python.h")
    return shutil.which(os.environ.get("CXX", "g++")) is not None and headers.exists()


def compile_network(model: nn.Module) -> nn.Module:
    """Return ``model`` to be called in its place; the parameters are the same ones."""
    return cast(nn.Module, torch.compile(model))
