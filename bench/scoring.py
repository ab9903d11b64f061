"""Difficulty: sub-images through MSRResNet."""

from __future__ import annotations

import itertools
from functools import partial

import numpy as np
import toolbox
import torch
from measuring import Contestant, Item, repeated
from photographs import first, sub_images, write_sub_image_pngs
from sizes import Bench

from bspa.data.crops import crop_pairs
from bspa.difficulty.scoring import (
    PRECISIONS,
    arithmetic,
    choose_arithmetic,
    choose_batch,
    score_on_images,
    score_sub_images,
)
from bspa.sampling.feeds import to_device

DIV2K = 499_875  # sub-images at x4


def measure_score(bench: Bench) -> Item:
    """As the workflow scores, the bare forward in that precision, and float32 one by one from PNGs."""
    batch = choose_batch("auto", bench.patch, bench.device)
    least = max(bench.scored, 2 * batch)
    images, windows = sub_images(bench, least)
    # Whole images, so that none is computed for a part of its sub-images.
    windows = first(windows, int(np.searchsorted(windows.image, windows.image[least - 1], side="right")))
    pngs = bench.folder / "pngs"
    write_sub_image_pngs(pngs, images, windows)
    one = first(windows, batch)
    lr = to_device(crop_pairs(images, one.image, one.top, one.left, one.size)[0], bench.device)
    bare = bench.build("msrresnet").to(memory_format=torch.channels_last).eval()
    plain = bench.build("msrresnet").eval()
    model = bench.build("msrresnet")
    turn = itertools.count()
    # Without a GPU, TF32 is float32.
    precisions = [name for name in PRECISIONS if name != "tf32" or bench.device.type == "cuda"]

    def forward(precision: str) -> Contestant:
        compute = arithmetic(precision, bench.device, few_shapes=True)

        @torch.inference_mode()
        def once() -> None:
            with compute():
                bare(lr)

        return repeated(once, bench.device, units=len(lr))

    def ours(precision: str, *, whole: bool = False) -> Contestant:
        score = score_on_images if whole else partial(score_sub_images, batch=batch)
        work = partial(score, model, images, windows, device=bench.device, precision=precision)
        return repeated(work, bench.device, units=len(windows))

    chosen = choose_arithmetic("auto", bench.device)
    others = [name for name in precisions if name != chosen]
    return Item(
        unit="sub-image",
        limits={f"bare forward, {chosen}": forward(chosen)},
        ours=ours(chosen),
        plain=repeated(
            lambda: toolbox.score(plain, pngs, next(turn) % len(windows), bench.device), bench.device
        ),
        also={
            **{f"bare forward, {name}": forward(name) for name in others},
            **{f"ours, {name}": ours(name) for name in others},
            **{f"ours, on images, {name}": ours(name, whole=True) for name in precisions},
        },
        facts=lambda result: {
            "hours_for_div2k": {way: DIV2K * ms / 3.6e6 for way, ms in result["medians"].items()}
        },
    )
