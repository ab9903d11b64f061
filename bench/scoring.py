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
from bspa.difficulty.scoring import choose_batch, score_sub_images
from bspa.models.precision import choose_precision
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

    def forward(precision: str) -> Contestant:
        autocast = choose_precision(precision, bench.device).autocast
        exact = partial(
            torch.backends.cudnn.flags, enabled=True, benchmark=True, deterministic=True, allow_tf32=False
        )

        @torch.inference_mode()
        def once() -> None:
            with exact(), autocast():
                bare(lr)

        return repeated(once, bench.device, units=len(lr))

    def ours(name: str) -> Contestant:
        precision = choose_precision(name, bench.device)
        work = partial(
            score_sub_images, model, images, windows, batch=batch, device=bench.device, precision=precision
        )
        return repeated(work, bench.device, units=len(windows))

    chosen = choose_precision("auto", bench.device).name
    others = [name for name in ("float32", "bfloat16") if name != chosen]
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
        },
        facts=lambda result: {
            "hours_for_div2k": {way: DIV2K * ms / 3.6e6 for way, ms in result["medians"].items()}
        },
    )
