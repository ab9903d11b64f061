"""Check the photographs of a source: decode each to its end, and name all that cannot be used.

In: a source of the config; its scales, for given HR/LR pairs.
Out: `manifest.csv`, with the id, path, size and SHA-256 of each photograph, and of its LR file if given; see
`bspa.data.manifest`. `bspa.data.photos` states how each kind of file is read.
"""

from typing import Any

from bspa.data.inspection import make_manifest
from bspa.data.manifest import write_manifest
from bspa.data.sources import list_files
from bspa.system.log import run_job


def main(snakemake: Any) -> None:
    settings = snakemake.params.settings
    files = list_files(**settings["source"], scales=settings["scales"])
    write_manifest(make_manifest(files, threads=snakemake.threads), snakemake.output[0])


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
