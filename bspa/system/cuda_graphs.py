"""A GPU's work recorded once and replayed: small networks wait for launches more than for the GPU."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

WARM_UPS = 3


def capture(
    work: Callable[[], Tensor], *, warm_up: Callable[[], object], device: torch.device
) -> Callable[[], Tensor]:
    """Record what ``work`` has the GPU do, without doing it.

    Args:
        work: always does the same to the same tensors, and never reads one on the host.
        warm_up: does as much of it as may be done before, for libraries to choose their algorithms.
        device: the GPU.

    Returns:
        A function that does it all again, and returns the very tensor that ``work`` returned, filled anew.
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
