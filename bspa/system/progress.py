"""Progress of long jobs as plain log lines, which read well where jobs run side by side."""

from __future__ import annotations

import logging
import time

log = logging.getLogger("bspa")

PROGRESS = 25
"""Level of progress lines: above INFO, which goes to the log file only."""
logging.addLevelName(PROGRESS, "PROGRESS")
SECONDS = 10.0
"""Least time between two lines."""


def duration(seconds: float) -> str:
    """Return a time as H:MM:SS."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


class Progress:
    """Logs ``what: done/total, rate/s, H:MM:SS left`` every 10 seconds, and once at the end.

    Args:
        what: what is counted, e.g. ``images packed``.
        total: how many there are.
        start: how many an earlier attempt has done; the rate does not count them.
    """

    def __init__(self, what: str, total: int, *, start: int = 0):
        self._what, self._total, self._start = what, total, start
        self._started = self._reported = time.monotonic()

    def report(self, done: int, *, extra: str = "") -> None:
        """Log a line, with ``extra`` at its end, if the last one is long enough ago or ``done`` is all."""
        now = time.monotonic()
        if done < self._total and now - self._reported < SECONDS:
            return
        self._reported = now
        elapsed = now - self._started
        rate = (done - self._start) / max(elapsed, 1e-9)
        if done >= self._total:
            rest = f"took {duration(elapsed)}"
        else:
            rest = f"{duration((self._total - done) / rate)} left" if rate else "time left unknown"
        line = f"{self._what}: {done}/{self._total}, {rate:.1f}/s, {rest}"
        log.log(PROGRESS, "%s", f"{line}, {extra}" if extra else line)
