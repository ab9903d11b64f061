"""Where a job computes: its threads, and one device, leased."""

from __future__ import annotations

import ctypes
import logging
import os
import platform
import tempfile
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path

import torch

from bspa.system.locks import try_hold

log = logging.getLogger("bspa")

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h


def device_clock(device: torch.device) -> Callable[[], float]:
    """Return a clock of the seconds that work takes on ``device``, whatever else runs beside it.

    On a CPU this is the processor time of the process, summed over its threads.
    """
    return time.process_time if device.type == "cpu" else time.monotonic


def use_threads(threads: int) -> int:
    """Let torch compute with ``threads`` threads, at most one a core of this process; return the number."""
    threads = max(1, min(threads, len(os.sched_getaffinity(0))))
    torch.set_num_threads(threads)
    return threads


def choose_device(device: str = "auto", jobs_per_gpu: int = 1) -> torch.device:
    """Choose the device of a ``compute.device``, log it, and prepare the process for it.

    A CUDA device is leased for the life of the process, so that jobs started side by side on one machine
    spread over its GPUs, ``jobs_per_gpu`` on each, and wait while all are taken.
    """
    kind, _, number = device.partition(":")
    if kind == "cpu" or (kind == "auto" and not torch.cuda.is_available()):
        log.info("device: cpu, %d threads", torch.get_num_threads())
        keep_freed_memory()
        return torch.device("cpu")
    visible = torch.cuda.device_count()
    if int(number or 0) >= visible:
        raise ValueError(
            f"compute.device: {device!r}, but {visible} CUDA devices are visible; use auto or cpu"
        )
    index = _lease([int(number)] if number else list(range(visible)), jobs_per_gpu)
    torch.cuda.set_device(index)
    # float32 means float32; the setting for less is bfloat16.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    log.info("device: cuda:%d, %s", index, torch.cuda.get_device_name(index))
    return torch.device("cuda", index)


def _lease(candidates: list[int], jobs_per_gpu: int) -> int:
    folder = Path(tempfile.gettempdir()) / f"bspa-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    waiting = False
    while True:
        for place, index in product(range(jobs_per_gpu), candidates):
            if try_hold(folder / f"{torch.cuda.get_device_properties(index).uuid}-{place}.lock"):
                return index
        if not waiting:
            log.info("waiting for a free GPU (%d visible, all leased)", len(candidates))
        waiting = True
        time.sleep(1.0)


def keep_freed_memory() -> None:
    """Let the C library keep the memory that this process frees, and use it again; only glibc can.

    By default, large tensors go back to the system at once, and every layer waits until the system has zeroed
    pages for its output: a sixth of the time of MSRResNet on a CPU, an eighth of a step of EDSR. The process
    then keeps the most memory that it ever needed.
    """
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(M_MMAP_MAX, 0)  # no allocation gets a mapping of its own
        mallopt(M_TRIM_THRESHOLD, -1)  # and the heap is never cut


def cpu_flags() -> set[str]:
    """Return the processor's feature flags as Linux names them; empty on other systems."""
    return set(_cpuinfo("flags").split())


def describe_device(device: torch.device) -> str:
    """Name the hardware: the GPU, or the processor and how many threads compute on it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    name = _cpuinfo("model name") or platform.processor() or platform.machine()
    return f"{name}, {threads} thread{'s' if threads > 1 else ''}"


def _cpuinfo(field: str) -> str:
    """Return what Linux says of the first processor; empty if it says nothing, and on other systems."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(field)), "")
