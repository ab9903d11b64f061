"""Take the given weights that the runs of a network start from.

In: a file or an address of weights, ours or with the key names of the author's release (.safetensors, .pth,
.pt). Out: the same weights as safetensors, after a strict load into the network of the config.
"""

from typing import Any

from bspa.models.released import import_network
from bspa.system.log import run_job


def main(snakemake: Any) -> None:
    settings, key = snakemake.params.settings, snakemake.params.key
    setting = f"models.{snakemake.wildcards.network}.start.x{settings['scale']}"
    import_network(target=snakemake.output[0], **settings, key=key, setting=setting)


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
