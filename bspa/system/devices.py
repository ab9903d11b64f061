"""Where a job computes: its threads, and its devices, leased."""

from __future__ import annotations

import ctypes
import logging
import os
import platform
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from itertools import product
from pathlib import Path

import torch

from bspa.system.locks import exclusive, try_hold

log = logging.getLogger("bspa")

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h


def device_clock(device: torch.device, count: int = 1) -> Callable[[], float]:
    """Return a clock of the seconds that work takes on ``count`` such devices, whatever else runs beside it.

    On a CPU this is the processor time of the process, summed over its threads.
    """
    clock = time.process_time if device.type == "cpu" else time.monotonic
    return lambda: count * clock()


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
    return choose_devices(device, jobs_per_gpu, 1)[0]


def choose_devices(device: str, jobs_per_gpu: int, count: int) -> list[torch.device]:
    """Choose ``count`` devices as `choose_device` does, and prepare this process for the first.

    On a CPU, all are the same one.
    """
    kind, _, number = device.partition(":")
    if kind == "cpu" or (kind == "auto" and not torch.cuda.is_available()):
        log.info("device: cpu, %d threads%s", torch.get_num_threads(), f" x {count}" if count > 1 else "")
        chosen = [torch.device("cpu")] * count
        prepare_device(chosen[0])
        return chosen
    visible = torch.cuda.device_count()
    if int(number or 0) >= visible:
        raise ValueError(
            f"compute.device: {device!r}, but {visible} CUDA devices are visible; use auto or cpu"
        )
    candidates = [int(number)] if number else list(range(visible))
    if count > len(candidates):
        raise ValueError(
            f"models.NAME.devices: {count}, but {len(candidates)} CUDA devices are visible or allowed; "
            "allowed: as many or fewer"
        )
    indices: list[int] = []
    # Two jobs that each hold some of the GPUs would wait for each other for ever.
    with exclusive(_leases() / "several.lock") if count > 1 else nullcontext():
        while len(indices) < count:
            indices.append(_lease([i for i in candidates if i not in indices], jobs_per_gpu))
    for index in indices:
        log.info("device: cuda:%d, %s", index, torch.cuda.get_device_name(index))
    chosen = [torch.device("cuda", index) for index in indices]
    prepare_device(chosen[0])
    return chosen


def prepare_device(device: torch.device) -> None:
    """Prepare this process to compute on a device."""
    if device.type == "cpu":
        keep_freed_memory()
        return
    torch.cuda.set_device(device)
    # float32 means float32; the setting for less is bfloat16.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False


def _leases() -> Path:
    folder = Path(tempfile.gettempdir()) / f"bspa-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _lease(candidates: list[int], jobs_per_gpu: int) -> int:
    folder, waiting = _leases(), False
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
