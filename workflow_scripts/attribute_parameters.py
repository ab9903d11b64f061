"""The importance of the weights in an inverse phase, and the mask that it gives (Eqs. 9 to 11).

In: the snapshots before and after the phase; packed training images, for uniformly sampled batches; with
`update: cumulative`, the last mask.
Out: a safetensors file with importance.NAME (float32) and mask.NAME (bool) for each convolution's weight; a
JSON summary with the share of frozen weights of each layer, and half_overlap, the share of the frozen units
that the masks of the two halves of the batches have in common (null without halves).
"""

import json
import logging
from typing import Any

from torch import Tensor

from bspa.data.packed import PackedImages
from bspa.models.weights import save_weights
from bspa.sampling.feeds import to_device
from bspa.sampling.uniform import UniformSampler
from bspa.system.devices import choose_device, device_clock, use_threads
from bspa.system.files import write_text
from bspa.system.log import run_job
from bspa.training.attribution import overlap, top_fraction_mask
from bspa.training.importance import OF_BATCHES, InversePhase, measure_importance
from bspa.training.masks import load_masks
from bspa.training.registry import LOSSES
from bspa.training.snapshot import load_snapshot
from bspa.training.stage import Attribution
from bspa.training.task import build_seeded

log = logging.getLogger("bspa")


def main(snakemake: Any) -> None:
    use_threads(snakemake.threads)
    device = choose_device(**snakemake.params.compute)
    this, files = Attribution(**snakemake.params.settings), snakemake.input
    model = build_seeded(this.arch, this.scale, this.options, this.seed).to(device)
    options = {"patch": this.patch, "batch": this.batch, "seed": this.seed}
    images = PackedImages(files.packed)
    number = this.batch_count(len(images)) if this.criterion in OF_BATCHES else 0
    first = this.cycle * number
    shuffle_from = first if this.image_order == "shuffled" else None
    sampler = UniformSampler(images, **options, stream="attribution", shuffle_from=shuffle_from)
    baseline, target = (load_snapshot(path)[0].weights for path in (files.baseline, files.target))
    phase = InversePhase(model=model, baseline=baseline, target=target, loss=LOSSES[this.objective])
    clock = device_clock(device)
    started = clock()
    batches = []
    for batch in range(first, first + number):
        lr, hr = (to_device(pixels, device) for pixels in sampler.batch(batch))
        batches.append((lr, hr))
    units, halves = measure_importance(phase, batches, this)
    seconds = clock() - started

    keep = load_masks(files.keep) if files.get("keep") else None
    if keep and this.unit == "filter":  # of a kernel, all weights are frozen or none
        keep = {name: mask[:, :, :1, :1] for name, mask in keep.items()}
    frozen = freeze(units, this, keep)
    total, count = sum(m.numel() for m in frozen.values()), sum(int(m.sum()) for m in frozen.values())
    log.info("%d of %d %ss frozen (p = %g)", count, total, this.unit, this.fraction)
    common = overlap(*(freeze(half, this) for half in halves)) if halves else None
    if common is not None:
        log.info("the masks of the two halves of the batches share %.1f %% of the units", 100 * common)

    tensors = {f"importance.{name}": value for name, value in units.items()}
    tensors |= {f"mask.{name}": mask.expand_as(target[name]) for name, mask in frozen.items()}
    key, counts = snakemake.params.key, {"fraction": this.fraction, "units": total, "frozen": count}
    header = {"key": key, "unit": this.unit, **{name: repr(value) for name, value in counts.items()}}
    save_weights(snakemake.output.mask, tensors, header)
    layers = {name: float(mask.float().mean()) for name, mask in frozen.items()}
    times = {"device_seconds": round(seconds, 3), "half_overlap": common}
    summary = {"key": key, "criterion": this.criterion, **times, **counts, "layers": layers}
    write_text(snakemake.output.summary, json.dumps(summary, indent=1) + "\n")


def freeze(
    units: dict[str, Tensor], attribution: Attribution, keep: dict[str, Tensor] | None = None
) -> dict[str, Tensor]:
    sign = 1 if attribution.freeze == "most" else -1
    return top_fraction_mask({n: sign * value for n, value in units.items()}, attribution.fraction, keep)


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
