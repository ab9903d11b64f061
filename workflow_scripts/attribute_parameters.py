"""Integrated gradients between the uniform and the inverse snapshot, and the mask they give (Eqs. 9 to 11).

In: the cycle's two snapshots; packed training images, for uniformly sampled batches; with
`update: cumulative`, the last mask.
Out: a safetensors file with importance.NAME (float32) and mask.NAME (bool) for each convolution's weight; a
JSON summary with the share of frozen weights of each layer.
"""

import json
import logging
import time
from typing import Any

from bspa.data.packed import PackedImages
from bspa.models.weights import save_weights
from bspa.sampling.feeds import to_device
from bspa.sampling.uniform import UniformSampler
from bspa.system.devices import choose_device, use_threads
from bspa.system.files import write_text
from bspa.system.log import run_job
from bspa.training.attribution import attributable, importance, integrated_gradients, top_fraction_mask
from bspa.training.job import build_seeded, load_masks
from bspa.training.losses import LOSSES
from bspa.training.snapshot import load_snapshot

log = logging.getLogger("bspa")


def main(snakemake: Any) -> None:
    settings = snakemake.params.settings
    use_threads(snakemake.threads)
    device = choose_device(snakemake.config["compute"]["device"])
    model = build_seeded(settings).to(device)
    sampler = UniformSampler(
        PackedImages(snakemake.input.packed),
        patch=settings["patch"],
        batch=settings["batch"],
        seed=settings["seed"],
        stream="attribution",
    )
    first = settings["cycle"] * settings["batches"]
    batches = []
    for number in range(first, first + settings["batches"]):
        lr, hr = sampler.batch(number)
        batches.append((to_device(lr, device), to_device(hr, device)))
    started = time.monotonic()
    gradients = integrated_gradients(
        model,
        load_snapshot(snakemake.input.baseline)[0].weights,
        load_snapshot(snakemake.input.target)[0].weights,
        batches,
        LOSSES[settings["loss"]],
        steps=settings["steps"],
    )
    units = importance({n: g.cpu() for n, g in gradients.items()}, attributable(model), settings["unit"])
    seconds = time.monotonic() - started

    fraction = settings["beta"] * settings["epoch"] / settings["total_epochs"]
    keep = snakemake.input.get("keep")
    kept = load_masks(keep) if keep else None
    if kept and settings["unit"] == "filter":
        kept = {name: mask[:, :, :1, :1] for name, mask in kept.items()}
    frozen = top_fraction_mask(units, fraction, kept)
    masks = {name: mask.expand_as(gradients[name]) for name, mask in frozen.items()}
    total, count = sum(m.numel() for m in frozen.values()), sum(int(m.sum()) for m in frozen.values())
    log.info("%d of %d %ss frozen (p = %g)", count, total, settings["unit"], fraction)
    save_weights(
        snakemake.output.mask,
        {f"importance.{n}": v for n, v in units.items()} | {f"mask.{n}": v for n, v in masks.items()},
        {"unit": settings["unit"], "fraction": repr(fraction), "frozen": str(count), "units": str(total)},
    )
    summary = {
        "device_seconds": round(seconds, 3),
        "fraction": fraction,
        "units": total,
        "frozen": count,
        "layers": {name: float(mask.float().mean()) for name, mask in frozen.items()},
    }
    write_text(snakemake.output.summary, json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
