"""Download an archive from the first of its addresses that works, check it, and unpack it to a folder.

In: `archives: NAME:` of the config: `urls` (the official address and its mirrors, or the path of your own
copy), `sha256` and `size` in bytes (null: unknown), `only` (patterns of the wanted members; null: all).
Out: `data/archives/NAME/`, whole or not at all.

A broken download is kept beside the folder; where `sha256` is given, the next run continues it. Where it is
null, the log gives the digest of the file, to be written into the config.
"""

import logging
from pathlib import Path
from typing import Any

from bspa.data.fetch import fetch
from bspa.data.unpack import unpack
from bspa.system.files import remove_folder
from bspa.system.locks import exclusive
from bspa.system.log import run_job

log = logging.getLogger("bspa")


def main(snakemake: Any) -> None:
    settings = snakemake.params.settings
    folder = Path(snakemake.output[0])
    state = folder.with_name(f".{folder.name}.partial")
    with exclusive(state / "lock"):
        archive = state / "archive"
        digest = fetch(settings["urls"], archive, sha256=settings["sha256"], size=settings["size"])
        if settings["sha256"] is None:
            log.info("to pin this file: archives: %s: sha256: %s", folder.name, digest)
        try:
            unpack(archive, folder, only=settings["only"])
        except ValueError:
            if settings["sha256"] is None:  # it may be a web page; with a digest it is what was asked for
                archive.unlink()
            raise
        remove_folder(state)


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
