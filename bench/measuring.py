"""The bare work, ours and the plain way, in turns, so that what else the machine does hits all of them."""

from __future__ import annotations

import re
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

ROUNDS, FEWEST_ROUNDS = 7, 3
MIB = 1 << 20


class Measured(NamedTuple):
    """What a contestant did in its turn."""

    seconds: float
    units: float
    peak_mib: float
    """Memory of the device at its height; on a CPU the largest process's, with the pages of files it maps."""


Contestant = Callable[[int], Measured]
"""Works for at least so many units, and tells how long that took."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One line of the table."""

    unit: str
    """What one time is of."""
    samples: float = 1
    """Samples in a unit."""
    limits: Mapping[str, Contestant]
    """The bare work in ways that might be the fastest, by what they are; the fastest is the limit."""
    ours: Contestant
    plain: Contestant
    also: Mapping[str, Contestant] = field(default_factory=dict)
    """What explains the others."""
    facts: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda result: {}
    """Further values, from those that `compare` has so far; they may replace them."""
    warm_up: bool = True
    """Whether a first turn is thrown away."""


class Meter:
    """Clock and peak memory between `start` and `stop`."""

    def __init__(self, device: torch.device | None = None):
        self._cuda = device if device and device.type == "cuda" else None

    def start(self) -> float:
        """Wait for the device, forget earlier peaks and return the time."""
        if self._cuda:
            torch.cuda.synchronize(self._cuda)
            torch.cuda.reset_peak_memory_stats(self._cuda)
        else:
            Path("/proc/self/clear_refs").write_text("5")  # sets the peak to what is resident now
        self._started = time.perf_counter()
        return self._started

    def stop(self, units: float) -> Measured:
        """Wait for the device and tell what was done since `start`."""
        if self._cuda:
            torch.cuda.synchronize(self._cuda)
        seconds = time.perf_counter() - self._started
        if self._cuda:
            return Measured(seconds, units, torch.cuda.max_memory_allocated(self._cuda) / MIB)
        return Measured(seconds, units, _peak_mib(Path("/proc/self/status").read_text()))


def repeated(work: Callable[[], object], device: torch.device | None = None, *, units: int = 1) -> Contestant:
    """Do ``work``, which is ``units`` at a time, again and again."""

    def contestant(number: int) -> Measured:
        times = -(-number // units)
        meter = Meter(device)
        meter.start()
        for _ in range(times):
            work()
        return meter.stop(times * units)

    return contestant


def run_process(command: Sequence[object], *, folder: Path, units: float = 1) -> Measured:
    """Run a program and watch the largest of its processes.

    Raises:
        RuntimeError: it failed; with the end of what it said.
    """
    peak = 0.0
    with (folder / "output.txt").open("w+", encoding="utf-8") as said:
        started = time.perf_counter()
        process = subprocess.Popen([*map(str, command)], cwd=folder, stdout=said, stderr=subprocess.STDOUT)
        while True:
            try:
                process.wait(0.05)
                break
            except subprocess.TimeoutExpired:
                peak = max(peak, _largest_mib(process.pid))
        seconds = time.perf_counter() - started
        if process.returncode:
            said.seek(0)
            raise RuntimeError(f"{' '.join(map(str, command))} failed:\n{said.read()[-2000:]}")
    return Measured(seconds, units, peak)


def _largest_mib(pid: int) -> float:
    """Peak memory of a process or of one that it started, whichever had more."""
    folder = Path("/proc", str(pid))
    try:
        own = _peak_mib((folder / "status").read_text())
        children = " ".join(file.read_text() for file in folder.glob("task/*/children")).split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0  # it has ended
    return max([own, *(_largest_mib(int(child)) for child in children)])


def _peak_mib(status: str) -> float:
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0.0


def compare(item: Item, seconds: float) -> dict[str, Any]:
    """Measure for about ``seconds``, in seven rounds, or as many as fit from three on.

    Returns:
        ``limit``, ``ours``, ``plain``: median milliseconds of a unit; ``ratio_limit``: how near ours is to
        the limit, 1 at the limit; ``ratio_plain``: how many times faster than the plain way ours is; and of
        each contestant ``spread`` (quartiles in milliseconds), ``samples_per_s`` and ``peaks_mib``.
    """
    contestants = {**item.limits, "ours": item.ours, "plain": item.plain, **item.also}
    share = seconds / (ROUNDS * len(contestants))
    numbers = {}
    for name, run in contestants.items():
        if item.warm_up:
            run(1)
        first = run(1)
        numbers[name] = max(1, int(share * first.units / first.seconds))
    times: dict[str, list[float]] = {name: [] for name in contestants}
    peaks = dict.fromkeys(contestants, 0.0)
    started = time.perf_counter()
    for done in range(ROUNDS):
        if done >= FEWEST_ROUNDS and (time.perf_counter() - started) * (done + 1) / done > 1.2 * seconds:
            break
        for name, run in contestants.items():
            measured = run(numbers[name])
            times[name].append(measured.seconds / measured.units)
            peaks[name] = max(peaks[name], measured.peak_mib)
    medians = {name: statistics.median(values) for name, values in times.items()}
    best = min(item.limits, key=medians.__getitem__)
    result: dict[str, Any] = {
        "limit": 1000 * medians[best],
        "ours": 1000 * medians["ours"],
        "plain": 1000 * medians["plain"],
        "unit": f"ms per {item.unit}",
        "peak_mib": peaks["ours"],
        "limit_is": best,
        "rounds": len(times["ours"]),
        "medians": {name: 1000 * value for name, value in medians.items()},
        "spread": {name: [*np.percentile(values, [25, 75]) * 1000] for name, values in times.items()},
        "samples_per_s": {name: item.samples / value for name, value in medians.items()},
        "peaks_mib": peaks,
    }
    result |= item.facts(result)
    return result | {
        "ratio_limit": result["limit"] / result["ours"],
        "ratio_plain": result["plain"] / result["ours"],
    }
