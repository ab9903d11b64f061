"""Measurements side by side: contestants take turns, so that other work on the machine slows all of them."""

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

Record = dict[str, Any]


class Measured(NamedTuple):
    """A turn of a contestant."""

    seconds: float
    units: float
    peak_mib: float = 0.0
    """Peak memory of the device; on a CPU of this process, with the pages of the files that it maps."""


Contestant = Callable[[int], Measured]
"""Does at least the given number of units and measures them."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """A line of the table."""

    unit: str
    """What a time is per."""
    limits: Mapping[str, Contestant]
    """Ways to do the bare work, by description; the fastest is the limit."""
    ours: Contestant
    """What the workflow does."""
    also: Mapping[str, Contestant] = field(default_factory=dict)
    """Further measurements, which explain the others."""
    facts: Callable[[Record], Record] = lambda result: {}
    """Returns further values, which replace those of `compare` that have the same name."""
    warm_up: bool = True
    """Whether the first turn is thrown away."""


def repeated(work: Callable[[], object], device: torch.device | None = None, *, units: int = 1) -> Contestant:
    """Return a contestant that repeats ``work``, which does ``units`` at a time."""

    def contestant(number: int) -> Measured:
        times = -(-number // units)

        def work_times() -> None:
            for _ in range(times):
                work()

        return measure_once(work_times, device, units=times * units)

    return contestant


def measure_once(
    work: Callable[[], object], device: torch.device | None = None, *, units: int = 1
) -> Measured:
    """Measure the time and the peak memory of ``work``."""
    cuda = device is not None and device.type == "cuda"
    if cuda:
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
    else:
        Path("/proc/self/clear_refs").write_text("5")  # the peak is what is resident now
    started = time.perf_counter()
    work()
    if cuda:
        torch.cuda.synchronize(device)
    seconds = time.perf_counter() - started
    peak = torch.cuda.max_memory_allocated(device) / MIB if cuda else memory_mib("VmHWM")
    return Measured(seconds, units, peak)


def run_process(command: Sequence[object], *, folder: Path) -> Measured:
    """Run a program in ``folder``, with its output in output.txt there.

    Raises:
        RuntimeError: it failed; with the end of its output.
    """
    output = folder / "output.txt"
    started = time.perf_counter()
    with output.open("w", encoding="utf-8") as file:
        ran = subprocess.run([*map(str, command)], cwd=folder, stdout=file, stderr=subprocess.STDOUT)
    if ran.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))} failed:\n{output.read_text()[-2000:]}")
    return Measured(time.perf_counter() - started, 1)


def memory_mib(key: str) -> float:
    """Return memory of this process: ``VmHWM`` (peak) or ``RssAnon`` (private) of Linux."""
    found = re.search(rf"{key}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def compare(item: Item, seconds: float) -> Record:
    """Measure for about ``seconds``: seven rounds, or as many as fit, but three at least.

    Returns:
        ``limit``, ``ours``: median milliseconds of a unit; ``ratio_limit``: limit / ours, 1 at the limit;
        ``peak_mib`` of ours; and for each contestant ``medians`` and ``spread`` (quartiles), in milliseconds.
    """
    contestants = {**item.limits, "ours": item.ours, **item.also}
    share = seconds / (ROUNDS * len(contestants))
    numbers = {}
    for name, run in contestants.items():
        if item.warm_up:
            run(1)
        first = run(1)
        numbers[name] = max(1, int(share * first.units / first.seconds))
    turns: dict[str, list[Measured]] = {name: [] for name in contestants}
    started = time.perf_counter()
    for done in range(ROUNDS):
        if done >= FEWEST_ROUNDS and (time.perf_counter() - started) * (done + 1) / done > 1.2 * seconds:
            break
        for name, run in contestants.items():
            turns[name].append(run(numbers[name]))
    times = {name: [1000 * turn.seconds / turn.units for turn in of_one] for name, of_one in turns.items()}
    medians = {name: statistics.median(values) for name, values in times.items()}
    best = min(item.limits, key=medians.__getitem__)
    result = {
        "limit": medians[best], "ours": medians["ours"], "unit": f"ms per {item.unit}",
        "peak_mib": max(turn.peak_mib for turn in turns["ours"]),
        "limit_is": best, "rounds": len(times["ours"]), "medians": medians,
        "spread": {name: [*np.percentile(values, [25, 75])] for name, values in times.items()},
    }  # fmt: skip
    result |= item.facts(result)
    return result | {"ratio_limit": result["limit"] / result["ours"]}
