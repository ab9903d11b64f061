"""Difficulty: sub-images through MSRResNet."""

from __future__ import annotations

import itertools

import toolbox
import torch
from measuring import Item, repeated
from photographs import first, sub_images, write_sub_image_pngs
from sizes import Bench

from bspa.crops import crop_pairs
from bspa.devices import choose_precision
from bspa.scoring import score_sub_images
from bspa.training import to_device

DIV2K = 499_875  # sub-images at x4


def measure_score(bench: Bench) -> Item:
    """Against the bare forward in float32, as exact scores need it, and sub-images one by one from PNGs."""
    images, windows = sub_images(bench, 2 * bench.scored)
    windows = first(windows, 2 * bench.scored)
    pngs = bench.folder / "pngs"
    write_sub_image_pngs(pngs, images, windows)
    one = first(windows, bench.scored)
    lr = to_device(crop_pairs(images, one.image, one.top, one.left, one.size)[0], bench.device)
    bare = bench.build("msrresnet").to(memory_format=torch.channels_last).eval()
    plain = bench.build("msrresnet").eval()
    ours = bench.build("msrresnet")
    auto = choose_precision("auto", bench.device)
    turn = itertools.count()

    @torch.inference_mode()
    def forward() -> None:
        bare(lr)

    @torch.inference_mode()
    def auto_forward() -> None:
        with auto.autocast():
            bare(lr)

    return Item(
        unit="sub-image",
        limits={"bare forward, float32": repeated(forward, bench.device, units=bench.scored)},
        ours=repeated(
            lambda: score_sub_images(ours, images, windows, batch=bench.scored, device=bench.device),
            bench.device,
            units=len(windows),
        ),
        plain=repeated(
            lambda: toolbox.score(plain, pngs, next(turn) % len(windows), bench.device), bench.device
        ),
        also={f"bare forward, {auto.name}": repeated(auto_forward, bench.device, units=bench.scored)},
        facts=lambda result: {
            "hours_for_div2k": {way: DIV2K * ms / 3.6e6 for way, ms in result["medians"].items()}
        },
    )
