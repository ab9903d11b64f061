"""Scores of a benchmark's images under EDSR_baseline x4."""

from __future__ import annotations

from functools import partial

import toolbox
import torch
from measuring import Item, repeated
from photographs import benchmark_files, pack, write_png
from sizes import SCALE, Bench

from bspa.metrics.evaluate import evaluate
from bspa.metrics.psnr_ssim import psnr_y, ssim_y
from bspa.models.inference import super_resolve
from bspa.sampling.feeds import to_device


def measure_evaluate(bench: Bench) -> Item:
    """Against the bare forward in float32, and PNGs, images one by one and scikit-image's SSIM."""
    images = pack(benchmark_files(bench), bench.folder / "benchmark.h5")
    pngs = bench.folder / "pngs"
    pngs.mkdir()
    for i in range(len(images)):
        write_png(pngs / f"{i:06}_lr.png", images.lr(i))
        write_png(pngs / f"{i:06}_hr.png", images.hr(i))
    inputs = [to_device(images.lr(i)[None].copy(), bench.device) for i in range(len(images))]
    bare = bench.build("edsr").to(memory_format=torch.channels_last).eval()
    ours, plain = bench.build("edsr"), bench.build("edsr").eval()

    @torch.inference_mode()
    def forward() -> None:
        for lr in inputs:
            bare(lr)

    def metrics() -> None:
        for i in range(len(images)):
            psnr_y(images.hr(i), images.hr(i), SCALE)
            ssim_y(images.hr(i), images.hr(i), SCALE)

    return Item(
        unit="image",
        limits={"bare forward, float32": repeated(forward, bench.device, units=len(images))},
        ours=repeated(
            lambda: evaluate(partial(super_resolve, ours, scale=SCALE, device=bench.device), images),
            bench.device,
            units=len(images),
        ),
        plain=repeated(
            lambda: [toolbox.evaluate(plain, pngs, i, SCALE, bench.device) for i in range(len(images))],
            bench.device,
            units=len(images),
        ),
        also={"metrics": repeated(metrics, units=len(images))},
        facts=lambda result: {"metrics_share": result["medians"]["metrics"] / result["ours"]},
    )
