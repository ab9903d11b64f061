"""Take NIQE's pristine model, which says what good photographs are like.

In: `perceptual: niqe:` of the config: `file` (a path or an address) and `sha256` (null: not checked; the log
gives the digest that was seen). Out: the same file, after a look at what it holds.
"""

import logging
import shutil
from pathlib import Path
from typing import Any

from bspa.data.fetch import fetch
from bspa.metrics.niqe import read_pristine_model
from bspa.system.files import atomic_path
from bspa.system.log import run_job

log = logging.getLogger("bspa")


def main(snakemake: Any) -> None:
    settings = snakemake.params.settings
    state = Path(snakemake.params.state)
    local = state / "niqe_model.npz"
    local.unlink(missing_ok=True)  # of a job that was killed: perhaps another file than is asked for now
    digest = fetch([settings["file"]], local, sha256=settings["sha256"], size=None, state=state)
    if settings["sha256"] is None:
        log.info("sha256 is %s; pin it: perceptual: niqe: sha256: %s", digest, digest)
    try:
        read_pristine_model(local)
        with atomic_path(snakemake.output[0]) as path:
            shutil.copyfile(local, path)
    except ValueError as error:
        raise ValueError(str(error).replace(str(local), settings["file"])) from error
    finally:
        local.unlink()


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
