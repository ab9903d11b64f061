"""Run a workflow script: its log, its signals, and its users' mistakes as one line without a traceback."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from bspa.system.progress import PROGRESS

log = logging.getLogger("bspa")

NAMED = {"scale": "x{}", "seed": "seed {}", "cycle": "cycle {}"}
"""Wildcards whose value alone does not say what it is."""


def job_name(rule: str, wildcards: Mapping[str, str]) -> str:
    """Name a job by its rule and wildcards, e.g. ``train_uniform edsr_mini x4 bspa seed 0 cycle 1``."""
    return " ".join([rule, *(NAMED.get(name, "{}").format(value) for name, value in wildcards.items())])


def run_job(main: Callable[[Any], None], snakemake: Any) -> None:
    """Run ``main(snakemake)`` with log lines on stderr and in the rule's log file.

    The log file gets every line; the terminal gets progress, warnings and errors. The user can mend a
    `ValueError` or an `OSError`: the message is printed alone and the exit status is 1. Other exceptions keep
    their traceback. SIGINT and SIGTERM end the job with status 128 + their number.
    """
    terminal = logging.StreamHandler(sys.stderr)
    handlers: list[logging.Handler] = [terminal]
    if len(snakemake.log):
        path = Path(str(snakemake.log[0]))
        path.parent.mkdir(parents=True, exist_ok=True)
        terminal.setLevel(PROGRESS)
        handlers.append(logging.FileHandler(path, encoding="utf-8"))
    name = job_name(snakemake.rule, dict(snakemake.wildcards.items())).replace("%", "%%")
    logging.basicConfig(
        level=logging.INFO, format=f"%(asctime)s {name}: %(message)s", datefmt="%H:%M:%S", handlers=handlers
    )
    try:
        with _exit_on_signals():
            main(snakemake)
    except (ValueError, OSError) as error:
        log.error("error: %s", error)
        sys.exit(1)
    except SystemExit as stop:
        if isinstance(stop.code, int) and stop.code > 128:
            log.warning("stopped by %s", signal.Signals(stop.code - 128).name)
        raise
    except Exception:
        log.exception("failed")
        raise


@contextmanager
def _exit_on_signals() -> Iterator[None]:
    def leave(number: int, frame: FrameType | None) -> NoReturn:
        del frame
        raise SystemExit(128 + number)

    previous = {number: signal.signal(number, leave) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
