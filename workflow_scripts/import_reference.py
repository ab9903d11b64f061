"""Take a given MSRResNet as the reference that scores difficulty (Section 3.2).

In: a file or an address of weights with BasicSR's key names (`bspa.models.released` says in what files).
Out: the same weights as safetensors, after a strict load into the network of the config.
"""

import logging
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from bspa.data.fetch import fetch
from bspa.models.registry import build
from bspa.models.released import load_released
from bspa.models.weights import load_into, save_network
from bspa.system.files import is_address
from bspa.system.log import run_job

log = logging.getLogger("bspa")


def main(snakemake: Any) -> None:
    settings = snakemake.params.settings
    file, network = settings["file"], {name: settings[name] for name in ("arch", "scale", "options")}
    # The suffix tells the format (.pth.tar has two parts); an address may end in ?download=1.
    suffix = "".join(PurePosixPath(urlsplit(file).path if is_address(file) else file).suffixes[-2:])
    local = Path(snakemake.output[0]).with_name(f".given_x{network['scale']}{suffix}")
    digest = fetch([file], local, sha256=settings["sha256"])
    if settings["sha256"] is None:
        log.info("to pin this file, set reference.weights.x%d.sha256: %s", network["scale"], digest)
    try:
        tensors, metadata = load_released(local)
    except ValueError as error:
        raise ValueError(str(error).replace(str(local), file)) from error
    finally:
        local.unlink(missing_ok=True)
    model = build(network["arch"], network["scale"], **network["options"])
    load_into(model, tensors, path=file, metadata=metadata)
    more = {"key": snakemake.params.key, "sha256_of_source": digest}
    save_network(snakemake.output[0], model.state_dict(), **network, **more)


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
