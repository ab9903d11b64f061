"""What training jobs ask of a cluster, from their work: generously, since who asks for too little is killed.

The seconds are those of an old GPU, or of a few old CPU cores. `snakemake plan` measures the device at hand.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from bspa.training.stage import Attribution, Stage

GPU_RATE, CPU_RATE = 3e12, 4e10
"""Floating-point operations a second, as convolutions of these networks get them."""
LEAST_STEP = 0.01
"""Seconds of the shortest step: small networks wait for their launches."""
START_MINUTES = 20
"""For what is no step: the queue's prologue, imports, reading, validation."""
START_MB = 3000
"""Of a process that has loaded PyTorch and its GPU libraries."""
UNKNOWN_IMAGES = 1000
"""Training photographs, where nothing says how many an archive holds."""
SHUFFLES = {2: [2], 3: [3], 4: [2, 2], 8: [2, 2, 2]}


def pixel_costs(arch: str, scale: int, options: Mapping[str, Any]) -> tuple[int, int]:
    """Return multiply-adds of a forward pass, and values that training keeps, for each LR pixel and sample.

    A network of another package counts as RCAN.
    """
    if arch == "fsrcnn":
        d, s, m = (options[name] for name in "dsm")
        return 318 * d + 2 * d * s + 9 * m * s * s, 6 * d + 3 * (m + 1) * s + 6 * scale**2
    c = options.get("channels", 64) if arch != "spandrel" else 64
    groups, blocks = (10, 20) if arch == "spandrel" else (options.get("groups", 1), options["blocks"])
    layers = groups * (2 * blocks + 1) + 1
    products, values, area = layers * 9 * c * c, 3 * layers * c, 1
    for step in SHUFFLES[scale]:
        area *= step**2
        products, values = products + 9 * c * c * area, values + 2 * c * area
    last = 27 * c + (9 * c * c if arch == "msrresnet" else 0)
    return products + area * last, values + area * (2 * c + 6)


def memory_mb(work: Stage | Attribution) -> int:
    """Return the MB to ask for: twice what a batch takes, and those of the start."""
    _, values = pixel_costs(work.arch, work.scale, work.options)
    batch = 4 * values * (work.patch // work.scale) ** 2 * work.batch / 1e6
    return 1000 * math.ceil((START_MB + 2 * batch) / 1000)


def minutes(work: Stage | Attribution, images: int | None, *, cpu: bool) -> int:
    """Return the minutes to ask for: twice those of the steps over ``images`` photographs, and a start's."""
    products, _ = pixel_costs(work.arch, work.scale, work.options)
    forward = 2 * products * (work.patch // work.scale) ** 2 * work.batch
    images = UNKNOWN_IMAGES if images is None else images
    if isinstance(work, Attribution):
        steps = work.gradient_count(images)
    else:
        steps = work.epochs * work.steps_per_epoch(images) + work.extra_steps
    step = max(LEAST_STEP, 3 * forward / (CPU_RATE if cpu else GPU_RATE))
    return START_MINUTES + math.ceil(2 * steps * step / 60)
