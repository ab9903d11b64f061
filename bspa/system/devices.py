"""Where a job computes and in what precision: one device, leased; bfloat16 where the hardware has it."""

from __future__ import annotations

import fcntl
import logging
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import IO

import torch

from bspa.system.host_memory import keep_freed_memory

log = logging.getLogger("bspa")

# A lease lasts as long as its open file: until the process ends, however it ends.
_leases: list[IO[str]] = []


def use_threads(threads: int) -> int:
    """Let torch compute with ``threads`` threads, at most one a core of this process; return the number."""
    threads = max(1, min(threads, len(os.sched_getaffinity(0))))
    torch.set_num_threads(threads)
    return threads


def choose_device(name: str = "auto") -> torch.device:
    """Return the device to compute on and log it, and prepare the process for it.

    ``auto`` is a CUDA device where one is visible, else the CPU; ``cpu``, ``cuda`` and ``cuda:N`` insist.
    A CUDA device is leased for the life of the process by a lock file on its UUID, so that jobs started
    side by side on one machine spread over its GPUs, and wait where all are taken.

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
    # float32 is to mean float32; where less will do, the precision is bfloat16.
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
            lock = (folder / f"{uuid}.lock").open("w")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
                continue
            _leases.append(lock)
            return index
        if waiting_since is None:
            waiting_since = time.monotonic()
            log.info("waiting for a free GPU (%d visible, all leased)", len(candidates))
        time.sleep(1.0)


def cpu_flags() -> set[str]:
    """Return the processor's feature flags as Linux names them; empty on other systems."""
    if platform.system() != "Linux":
        return set()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("flags"):
            return set(line.partition(":")[2].split())
    return set()
