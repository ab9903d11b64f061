"""How a workflow script runs: its log, and its users' mistakes as one line instead of a traceback.

Nothing here changes what a script computes, so this module is left out of the code digests that decide
what Snakemake runs again.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

log = logging.getLogger("bspa")


def run_job(main: Callable[[Any], None], snakemake: Any) -> None:
    """Run ``main(snakemake)`` with log lines on stderr and in the rule's log file.

    A `ValueError` or an `OSError` is the user's to mend: its message is printed alone and the exit status
    is 1. Anything else is ours and keeps its traceback.
    """
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if len(snakemake.log):
        path = Path(str(snakemake.log[0]))
        path.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(path, encoding="utf-8"))
    wildcards = " ".join(f"{name}={value}" for name, value in snakemake.wildcards.items())
    name = f"{snakemake.rule} {wildcards}".strip()
    logging.basicConfig(
        level=logging.INFO, format=f"%(asctime)s {name}: %(message)s", datefmt="%H:%M:%S", handlers=handlers
    )
    try:
        main(snakemake)
    except (ValueError, OSError) as error:
        log.error("error: %s", error)
        sys.exit(1)
    except Exception:
        log.exception("failed")
        raise
