"""Take a given MSRResNet as the reference that scores difficulty (Section 3.2).

In: a file or an address of weights with BasicSR's key names (.safetensors, .pth, .pt).
Out: the same weights as safetensors, after a strict load into the network of the config.
"""

import logging
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from bspa.data.fetch import fetch
from bspa.models.registry import build
from bspa.models.weights import load_into, load_weights, save_weights
from bspa.system.log import run_job

log = logging.getLogger("bspa")


def main(snakemake: Any) -> None:
    settings = snakemake.params.settings
    weights, scale = settings["weights"], settings["scale"]
    state = Path(snakemake.params.state)
    # The suffix tells safetensors from PyTorch's own format; an address may go on with ?download=1.
    local = state / f"weights{PurePosixPath(urlsplit(weights['file']).path).suffix}"
    digest = fetch([weights["file"]], local, sha256=weights["sha256"], size=None, state=state)
    if weights["sha256"] is None:
        log.info("sha256 is %s; pin it: reference.weights.x%d.sha256: %s", digest, scale, digest)
    try:
        state_dict, metadata = load_weights(local)
    except ValueError as error:
        raise ValueError(str(error).replace(str(local), weights["file"])) from error
    finally:
        local.unlink()
    model = build(settings["arch"], scale, **settings["options"])
    load_into(model, state_dict, path=weights["file"], metadata=metadata)
    header = {"architecture": settings["arch"], "scale": str(scale), "sha256_of_source": digest}
    save_weights(snakemake.output[0], model.state_dict(), header)


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
