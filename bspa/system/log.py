"""Run a workflow script: its log, its signals, and its users' mistakes as one line without a traceback."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from bspa.system.digests import check_digests, remove_digests, write_digests
from bspa.system.origin import how_it_ran
from bspa.system.parent import end_with_workflow
from bspa.system.progress import PROGRESS

log = logging.getLogger("bspa")

NAMED = {"scale": "x{}", "seed": "seed {}", "cycle": "cycle {}"}
"""Wildcards whose value alone does not say what it is."""


def job_name(rule: str, wildcards: Mapping[str, str]) -> str:
    """Name a job by its rule and wildcards, e.g. ``train_uniform edsr_mini x4 bspa seed 0 cycle 1``."""
    return " ".join([rule, *(NAMED.get(name, "{}").format(value) for name, value in wildcards.items())])


def run_job(main: Callable[[Any], None], snakemake: Any) -> None:
    """Run ``main(snakemake)`` with log lines on stderr and in the rule's log file.

    Inputs are compared with the digests that their jobs left; the outputs get theirs, and a note of how they
    were computed.

    The log file gets every line; the terminal gets progress, warnings and errors. The user can mend a
    `ValueError` or an `OSError`: the message is printed alone and the exit status is 1. Other exceptions keep
    their traceback. SIGINT and SIGTERM end the job with status 128 + their number.
    """
    path = Path(str(snakemake.log[0]))
    path.parent.mkdir(parents=True, exist_ok=True)
    terminal, file = logging.StreamHandler(sys.stderr), logging.FileHandler(path, encoding="utf-8")
    terminal.setLevel(PROGRESS)
    name = job_name(snakemake.rule, dict(snakemake.wildcards.items())).replace("%", "%%")
    line = f"%(asctime)s {name}: %(message)s"
    logging.basicConfig(level=logging.INFO, format=line, datefmt="%H:%M:%S", handlers=[terminal, file])
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    end_with_workflow()
    try:
        check_digests(snakemake.input)
        remove_digests(snakemake.output)
        main(snakemake)
        write_digests(snakemake.output, how_it_ran(snakemake))
    except (ValueError, OSError) as error:
        log.error("error: %s", error)
        sys.exit(1)
    except _Stopped as stop:
        log.warning("stopped by %s", stop.signal.name)
        raise
    except Exception:
        log.exception("failed")
        raise


class _Stopped(SystemExit):
    def __init__(self, number: int):
        super().__init__(128 + number)
        self.signal = signal.Signals(number)


def _leave(number: int, _: FrameType | None) -> None:
    raise _Stopped(number)
