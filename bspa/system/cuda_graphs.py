"""Record a GPU's work once and replay it: small networks spend most time on launches."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor

log = logging.getLogger("bspa")

WARM_UPS = 3


def capture(
    work: Callable[[], Tensor], *, warm_up: Callable[[], object], device: torch.device
) -> Callable[[], Tensor]:
    """Record the GPU operations of ``work``, without running them; return a function that runs them.

    Args:
        work: the same operations on the same tensors at each call, without reading one on the host. The
            function returns its tensor, filled anew.
        warm_up: as much of the work as may be run before, for libraries to choose their algorithms.
        device: the GPU.
    """
    current, stream = torch.cuda.current_stream(device), torch.cuda.Stream(device)
    stream.wait_stream(current)
    with torch.cuda.stream(stream):
        for _ in range(WARM_UPS):
            warm_up()
    current.wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = work()

    def replay() -> Tensor:
        graph.replay()
        return result

    return replay


def capture_or_run(
    work: Callable[[], Tensor], *, warm_up: Callable[[], object], device: torch.device
) -> Callable[[], Tensor]:
    """Record ``work`` as `capture` does, each result a tensor of its own; return ``work`` if CUDA refuses."""
    try:
        replay = capture(work, warm_up=warm_up, device=device)
    except RuntimeError as error:
        log.warning("CUDA cannot record this work (%s): it runs operation by operation, slower", error)
        return work
    return lambda: replay().clone()
