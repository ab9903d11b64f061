"""Progress of long jobs as plain log lines, which read well where jobs run side by side."""

from __future__ import annotations

import logging
import time

log = logging.getLogger("bspa")


class Reporter:
    """Logs how many of ``total`` things are done, how fast, and the time left, every ``seconds``."""

    def __init__(self, what: str, total: int, *, seconds: float = 10.0):
        self._what, self._total, self._seconds = what, total, seconds
        self._started = self._reported = time.monotonic()

    def report(self, done: int) -> None:
        """Log a line if the last one is long enough ago, or ``done`` is all."""
        now = time.monotonic()
        if done < self._total and now - self._reported < self._seconds:
            return
        self._reported = now
        rate = done / max(now - self._started, 1e-9)
        line = f"{done} of {self._total} {self._what}, {rate:.1f}/s"
        left = round((self._total - done) / max(rate, 1e-9))
        log.info(f"{line}, {left // 3600}:{left // 60 % 60:02}:{left % 60:02} left" if left else line)
