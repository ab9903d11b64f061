"""A job ends with the workflow that started it: it must not write beside its successor."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

SECONDS = 1.0
"""Between two looks at the workflow."""


def end_with_workflow() -> None:
    """Send this process SIGTERM when the Snakemake that it runs under is gone; training then saves its state.

    Does nothing where Linux does not say who runs under whom, and where no Snakemake is among the ancestors.
    """
    workflow = next((pid for pid in _ancestors() if _is_snakemake(pid)), None)
    started = _started(workflow) if workflow else None
    if workflow and started:
        threading.Thread(target=_watch, args=(workflow, started), daemon=True).start()


def _watch(pid: int, started: str) -> None:
    while _started(pid) == started:
        time.sleep(SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


def _ancestors() -> list[int]:
    found, pid = [], os.getppid()
    while pid > 1 and pid not in found:
        found.append(pid)
        fields = _status(pid)
        pid = int(fields[1]) if fields else 0
    return found


def _is_snakemake(pid: int) -> bool:
    """Whether a process is `snakemake` or `python -m snakemake`; a shell only names a script of it."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return b"snakemake" in [word.rpartition(b"/")[2] for word in command.split(b"\0")[:4]]


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
