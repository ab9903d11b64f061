"""Fetch NIQE's pristine model, the statistics of good photographs.

In: `perceptual: niqe:` of the config: `file` (a path or an address) and `sha256` (null: not checked; the log
gives the digest of the file). Out: the same file, if it is a pristine model.
"""

import logging
from pathlib import Path
from typing import Any

from bspa.data.fetch import fetch
from bspa.metrics.niqe import read_pristine_model
from bspa.system.log import run_job

log = logging.getLogger("bspa")


def main(snakemake: Any) -> None:
    settings = snakemake.params.settings
    output = Path(snakemake.output[0])
    local = output.with_name(f".given_{output.name}")
    digest = fetch([settings["file"]], local, sha256=settings["sha256"])
    if settings["sha256"] is None:
        log.info("to pin this file: perceptual: niqe: sha256: %s", digest)
    try:
        read_pristine_model(local)
        local.replace(output)
    except ValueError as error:
        raise ValueError(str(error).replace(str(local), settings["file"])) from error
    finally:
        local.unlink(missing_ok=True)


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
