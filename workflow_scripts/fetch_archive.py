"""Download an archive from the first of its addresses that works, check it, and unpack it to a folder.

In: `archives: NAME:` of the config: `urls` (the official address and its mirrors, or the path of your own
copy), `sha256` and `size` in bytes (null: not known), `only` (patterns of the wanted members; null: all).
Out: `results/data/archives/NAME/`, whole or not at all.

A download that was broken off is kept in `results/.state/archives/NAME/` and continued by the next run. Where
`sha256` is null, the log gives the digest that was seen, to be written into the config.
"""

import logging
import shutil
from pathlib import Path
from typing import Any

from bspa.data.fetch import fetch
from bspa.data.unpack import unpack
from bspa.system.locks import exclusive
from bspa.system.log import run_job

log = logging.getLogger("bspa")


def main(snakemake: Any) -> None:
    name = snakemake.wildcards.archive
    archive = snakemake.params.archive
    state = Path(snakemake.params.state)
    folder = Path(snakemake.output[0])
    with exclusive(state / "lock"):
        if folder.exists():
            shutil.rmtree(folder)  # Snakemake has removed it, then a script orphaned by the last run made it
        path = state / f"{name}.archive"
        digest = fetch(archive["urls"], path, sha256=archive["sha256"], size=archive["size"], state=state)
        if archive["sha256"] is None:
            log.info("sha256 of %s is %s; pin it: archives: %s: sha256: %s", name, digest, name, digest)
        unpack(path, folder, only=archive.get("only"))
        shutil.rmtree(state)


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
