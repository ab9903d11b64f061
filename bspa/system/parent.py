"""A job ends with the workflow that started it: it must not write beside its successor.

Only Linux says who runs under whom; elsewhere, nothing here does anything.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from pathlib import Path
from types import FrameType

SECONDS = 1.0
"""Between two looks at the workflow."""


def end_with_workflow() -> None:
    """Send this process SIGTERM when the Snakemake above it is gone; training then saves its state."""
    workflow = next((pid for pid in _ancestors(os.getpid()) if _is_snakemake(pid)), None)
    started = _started(workflow) if workflow else None
    if workflow and started:
        threading.Thread(target=_watch, args=(workflow, started), daemon=True).start()


def pass_signals_on() -> None:
    """Let SIGTERM and SIGINT that reach this Snakemake alone end its jobs here, which save their state.

    By itself, Snakemake waits until they are done, which may take days.
    """
    if threading.current_thread() is not threading.main_thread():  # as in a program that calls Snakemake
        return
    for number in (signal.SIGTERM, signal.SIGINT):
        former = signal.getsignal(number)

        def pass_on(number: int, frame: FrameType | None, former: object = former) -> None:
            for pid in _jobs():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
            if callable(former):
                former(number, frame)

        signal.signal(number, pass_on)


def _jobs() -> list[int]:
    """Return the processes under this one that run a script of the workflow; not the shells around them."""
    pids = [int(folder.name) for folder in Path("/proc").glob("[0-9]*")]
    scripts = [pid for pid in pids if b".snakemake/scripts/" in b"".join(_command(pid)[1:2])]
    return [pid for pid in scripts if os.getpid() in _ancestors(pid)]


def _watch(pid: int, started: str) -> None:
    while _started(pid) == started:
        time.sleep(SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


def _ancestors(pid: int) -> list[int]:
    found: list[int] = []
    while (fields := _status(pid)) and (pid := int(fields[1])) and pid not in found:
        found.append(pid)
    return found


def _is_snakemake(pid: int) -> bool:
    """Whether a process is `snakemake` or `python -m snakemake`; a shell only names a script of it."""
    return b"snakemake" in [word.rpartition(b"/")[2] for word in _command(pid)[:4]]


def _command(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def _started(pid: int) -> str | None:
    """When a process started, in ticks of the system's clock; a number is used again, with another time."""
    fields = _status(pid)
    return None if fields is None or fields[0] == "Z" else fields[19]


def _status(pid: int) -> list[str] | None:
    """Return the fields of /proc/PID/stat after the name, which may hold anything."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
