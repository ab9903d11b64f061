"""Take a given MSRResNet as the reference that scores difficulty (Section 3.2).

In: a file or an address of weights with BasicSR's key names (`bspa.models.released` says in what files).
Out: the same weights as safetensors, after a strict load into the network of the config.
"""

from typing import Any

from bspa.models.released import import_network
from bspa.system.log import run_job


def main(snakemake: Any) -> None:
    settings, key = snakemake.params.settings, snakemake.params.key
    setting = f"reference.weights.x{settings['scale']}"
    import_network(target=snakemake.output[0], **settings, key=key, setting=setting)


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
