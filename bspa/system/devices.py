"""Where a job computes: its threads, and one device, leased."""

from __future__ import annotations

import ctypes
import logging
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from bspa.system.locks import try_hold

log = logging.getLogger("bspa")

# Of glibc's malloc.h.
M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4


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


def choose_device(name: str = "auto") -> torch.device:
    """Choose the device to compute on, log it, and prepare the process for it.

    A CUDA device is leased for the life of the process by a lock file named by its UUID, so that jobs started
    side by side on one machine spread over its GPUs, and wait while all are taken.

    Args:
        name: ``auto`` (CUDA where a device is visible, else the CPU), ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        ValueError: ``name`` is none of these, or asks for CUDA where there is none.
    """
    kind, _, number = name.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (number and (kind != "cuda" or not number.isdigit())):
        raise ValueError(f"compute.device: {name!r}; allowed are auto, cpu, cuda and cuda:N")
    if kind == "cpu" or (kind == "auto" and not torch.cuda.is_available()):
        log.info("device: cpu, %d threads", torch.get_num_threads())
        keep_freed_memory()
        return torch.device("cpu")
    visible = torch.cuda.device_count()
    if not visible:
        raise ValueError(f"compute.device: {name!r}, but no CUDA device is visible; use auto or cpu")
    if number and int(number) >= visible:
        raise ValueError(f"compute.device: {name!r}, but only cuda:0 to cuda:{visible - 1} are visible")
    index = _lease([int(number)] if number else list(range(visible)))
    torch.cuda.set_device(index)
    # float32 means float32; the setting for less is bfloat16.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    log.info("device: cuda:%d, %s", index, torch.cuda.get_device_name(index))
    return torch.device("cuda", index)


def _lease(candidates: list[int]) -> int:
    folder = Path(tempfile.gettempdir()) / f"bspa-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    waiting_since = None
    while True:
        for index in candidates:
            uuid = torch.cuda.get_device_properties(index).uuid
            if try_hold(folder / f"{uuid}.lock"):
                return index
        if waiting_since is None:
            waiting_since = time.monotonic()
            log.info("waiting for a free GPU (%d visible, all leased)", len(candidates))
        time.sleep(1.0)


def keep_freed_memory() -> bool:
    """Let the C library keep the memory that this process frees, and use it again; return whether it can.

    By default, large tensors go back to the system at once, and every layer waits until the system has zeroed
    pages for its output: a sixth of the time of MSRResNet on a CPU, an eighth of a step of EDSR. The process
    then keeps the most memory that it ever needed. Only glibc can.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    # No allocation gets a mapping of its own, and the heap is never cut.
    kept = mallopt is not None and all([mallopt(M_MMAP_MAX, 0), mallopt(M_TRIM_THRESHOLD, -1)])
    log.debug("freed memory is %s", "kept" if kept else "given back: the C library has no mallopt")
    return kept


def cpu_flags() -> set[str]:
    """Return the processor's feature flags as Linux names them; empty on other systems."""
    if platform.system() != "Linux":
        return set()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("flags"):
            return set(line.partition(":")[2].split())
    return set()


def describe_device(device: torch.device) -> str:
    """Name the hardware: the GPU, or the processor and how many threads compute on it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    threads = torch.get_num_threads()
    name = names[0] if names else platform.processor() or platform.machine()
    return f"{name}, {threads} thread{'s' if threads > 1 else ''}"
