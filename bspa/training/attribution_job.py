"""The attribution after a cycle as a job: from two snapshots to importance, mask and summary."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping

from torch import Tensor

from bspa.data.packed import PackedImages
from bspa.models.weights import save_weights
from bspa.sampling.feeds import to_device
from bspa.sampling.uniform import UniformSampler
from bspa.system.devices import choose_device, device_clock, use_threads
from bspa.system.files import write_text
from bspa.training.importance import OF_BATCHES, InversePhase, measure_importance
from bspa.training.losses import LOSSES
from bspa.training.masks import load_masks, top_fraction_mask
from bspa.training.snapshot import load_snapshot
from bspa.training.stage import Attribution
from bspa.training.task import build_seeded

log = logging.getLogger("bspa")


def run_attribution(
    attribution: Attribution,
    *,
    baseline: str,
    target: str,
    packed: str,
    keep: str | None,
    mask: str,
    summary: str,
    key: str,
    device: str,
    threads: int,
) -> None:
    """Rank the weights by the inverse phase's change of the loss on uniform samples, and freeze the top.

    Args:
        attribution: what to compute.
        baseline: the snapshot after the cycle's uniform phase.
        target: the snapshot after its inverse phase.
        packed: the packed training images.
        keep: the last attribution, whose frozen weights stay frozen; None with ``update: replace``.
        mask: to write: safetensors with importance.NAME (float32) and mask.NAME (bool) of each weight.
        summary: to write: JSON with the time, the frozen share of each layer, and half_overlap: which share
            of the frozen units the masks of the two halves of the batches have in common.
        key: of the product, stored in both files.
        device: auto, cpu, cuda or cuda:N.
        threads: CPU threads.
    """
    use_threads(threads)
    torch_device = choose_device(device)
    model = build_seeded(attribution.arch, attribution.scale, attribution.options, attribution.seed)
    model.to(torch_device)
    options = {"patch": attribution.patch, "batch": attribution.batch, "seed": attribution.seed}
    images = PackedImages(packed)
    count = attribution.batch_count(len(images))
    first = attribution.cycle * count
    shuffle_from = first if attribution.image_order == "shuffled" else None
    sampler = UniformSampler(images, **options, stream="attribution", shuffle_from=shuffle_from)
    phase = InversePhase(
        model=model,
        baseline=load_snapshot(baseline)[0].weights,
        target=load_snapshot(target)[0].weights,
        loss=LOSSES[attribution.objective],
    )
    clock = device_clock(torch_device)
    started = clock()
    batches = []
    for number in range(first, first + count if attribution.criterion in OF_BATCHES else first):
        lr, hr = (to_device(pixels, torch_device) for pixels in sampler.batch(number))
        batches.append((lr, hr))
    units, halves = measure_importance(phase, batches, attribution)
    seconds = clock() - started

    frozen = _freeze(units, attribution, _load_units(keep, attribution.unit))
    total, count = sum(m.numel() for m in frozen.values()), sum(int(m.sum()) for m in frozen.values())
    log.info("%d of %d %ss frozen (p = %g)", count, total, attribution.unit, attribution.fraction)
    overlap = _overlap(*(_freeze(half, attribution) for half in halves)) if halves else None
    if overlap is not None:
        log.info("masks of the two halves of the batches share %.1f %% of their %ss", 100 * overlap, attribution.unit)

    masks = {name: unit_mask.expand_as(phase.target[name]) for name, unit_mask in frozen.items()}
    tensors = {f"importance.{n}": v for n, v in units.items()} | {f"mask.{n}": v for n, v in masks.items()}
    counts = {"fraction": attribution.fraction, "units": total, "frozen": count}
    header = {"key": key, "unit": attribution.unit, **{name: repr(value) for name, value in counts.items()}}
    save_weights(mask, tensors, header)
    layers = {name: float(unit_mask.float().mean()) for name, unit_mask in frozen.items()}
    content = {
        "key": key,
        "criterion": attribution.criterion,
        "device_seconds": round(seconds, 3),
        **counts,
        "half_overlap": overlap,
        "layers": layers,
    }
    write_text(summary, json.dumps(content, indent=1) + "\n")


def _freeze(
    units: Mapping[str, Tensor], attribution: Attribution, keep: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    sign = 1 if attribution.freeze == "most" else -1
    return top_fraction_mask({n: sign * v for n, v in units.items()}, attribution.fraction, keep)


def _overlap(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> float | None:
    """Return the share of the frozen units that two masks of equal size have in common."""
    frozen = sum(int(mask.sum()) for mask in first.values())
    common = sum(int((mask & second[name]).sum()) for name, mask in first.items())
    return common / frozen if frozen else None


def _load_units(path: str | None, unit: str) -> dict[str, Tensor] | None:
    """Read which units an attribution froze; of a kernel, all weights are frozen or none."""
    if path is None:
        return None
    masks = load_masks(path)
    return {name: mask[:, :, :1, :1] for name, mask in masks.items()} if unit == "filter" else masks
