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
from bspa.training.losses import LOSSES
from bspa.training.masks import load_masks
from bspa.training.snapshot import load_snapshot
from bspa.training.stage import Attribution
from bspa.training.task import build_seeded

log = logging.getLogger("bspa")


def main(snakemake: Any) -> None:
    use_threads(snakemake.threads)
    device = choose_device(snakemake.params.compute["device"])
    this, files = Attribution(**snakemake.params.settings), snakemake.input
    model = build_seeded(this.arch, this.scale, this.options, this.seed).to(device)
    options = {"patch": this.patch, "batch": this.batch, "seed": this.seed}
    sampler = UniformSampler(PackedImages(files.packed), **options, stream="attribution")
    batches = []
    for number in range(this.cycle * this.batches, (this.cycle + 1) * this.batches):
        lr, hr = (to_device(pixels, device) for pixels in sampler.batch(number))
        batches.append((lr, hr))
    baseline, target = (load_snapshot(path)[0].weights for path in (files.baseline, files.target))
    started = time.monotonic()
    gradients = integrated_gradients(
        model, baseline, target, batches, LOSSES[this.objective], steps=this.steps
    )
    gradients = {name: value.cpu() for name, value in gradients.items()}
    seconds = time.monotonic() - started

    units = importance(gradients, attributable(model), this.unit)
    keep = load_masks(files.keep) if files.get("keep") else None
    if keep and this.unit == "filter":  # of a kernel, all weights are frozen or none
        keep = {name: mask[:, :, :1, :1] for name, mask in keep.items()}
    frozen = top_fraction_mask(units, this.fraction, keep)
    total, count = sum(m.numel() for m in frozen.values()), sum(int(m.sum()) for m in frozen.values())
    log.info("%d of %d %ss frozen (p = %g)", count, total, this.unit, this.fraction)

    tensors = {f"importance.{name}": value for name, value in units.items()}
    tensors |= {f"mask.{name}": mask.expand_as(gradients[name]) for name, mask in frozen.items()}
    key, counts = snakemake.params.key, {"fraction": this.fraction, "units": total, "frozen": count}
    header = {"key": key, "unit": this.unit, **{name: repr(value) for name, value in counts.items()}}
    save_weights(snakemake.output.mask, tensors, header)
    layers = {name: float(mask.float().mean()) for name, mask in frozen.items()}
    summary = {"key": key, "device_seconds": round(seconds, 3), **counts, "layers": layers}
    write_text(snakemake.output.summary, json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
