"""Networks at work, at x4: difficulty of sub-images, scores of images, and a picture made larger."""

from __future__ import annotations

from functools import partial

import torch
from measuring import Item, repeated
from setting import SCALE, Bench, benchmark_files, first, make_photograph, pack, sub_images

from bspa.cli.upscale import upscale_files
from bspa.data.crops import crop_pairs
from bspa.data.photos import read_photo
from bspa.data.pictures import Picture, write_picture
from bspa.difficulty.scoring import choose_batch, score_sub_images
from bspa.metrics.evaluate import evaluate
from bspa.metrics.psnr import psnr_y
from bspa.metrics.ssim import ssim_y
from bspa.models.inference import super_resolve
from bspa.models.precision import choose_precision
from bspa.models.weights import save_network
from bspa.sampling.feeds import to_device
from bspa.training.task import build_seeded

MOST_IMAGES = 5


def measure_score(bench: Bench) -> Item:
    """Score sub-images, against the bare forward in the same precision."""
    batch = choose_batch("auto", bench.patch, bench.device)
    number = max(bench.scored, 2 * batch)
    images, windows = sub_images(bench, number)
    windows = first(windows, number)
    one = first(windows, batch)
    lr = to_device(crop_pairs(images, one.image, one.top, one.left, one.size)[0], bench.device)
    bare = bench.build("msrresnet").to(memory_format=torch.channels_last).eval()
    model = bench.build("msrresnet")
    precision = choose_precision("auto", bench.device)

    @torch.inference_mode()
    def forward() -> None:
        with torch.backends.cudnn.flags(benchmark=True, deterministic=True), precision.autocast():
            bare(lr)

    score = partial(score_sub_images, border=0, batch=batch, device=bench.device, precision=precision)
    limit = repeated(forward, bench.device, units=len(lr))
    ours = repeated(lambda: score(model, images, windows), bench.device, units=len(windows))
    return Item(unit="sub-image", limits={f"bare forward, {precision.name}": limit}, ours=ours)


def measure_evaluate(bench: Bench) -> Item:
    """Evaluate a benchmark, against the bare forward in float32."""
    files = benchmark_files("Set14")[: 1 if bench.tiny else MOST_IMAGES]
    images = pack(files, bench.folder / "benchmark.h5")
    inputs = [to_device(images.lr(i)[None].copy(), bench.device) for i in range(len(images))]
    bare = bench.build("edsr").to(memory_format=torch.channels_last).eval()
    model = bench.build("edsr").eval()

    @torch.inference_mode()
    def forward() -> None:
        for lr in inputs:
            bare(lr)

    def metrics() -> None:
        for i in range(len(images)):
            psnr_y(images.hr(i), images.hr(i), SCALE)
            ssim_y(images.hr(i), images.hr(i), SCALE)

    timed = partial(repeated, device=bench.device, units=len(images))
    return Item(
        unit="image",
        limits={"bare forward, float32": timed(forward)},
        ours=timed(lambda: evaluate(partial(super_resolve, model), images)),
        also={"metrics": timed(metrics)},
        facts=lambda result: {"metrics_share": result["medians"]["metrics"] / result["ours"]},
    )


def measure_upscale(bench: Bench) -> Item:
    """`bspa upscale` by FSRCNN."""
    return _upscale(bench, "fsrcnn", bench.networks["fsrcnn"])


def measure_upscale_edsr_mini(bench: Bench) -> Item:
    """`bspa upscale` by the default run's EDSR."""
    return _upscale(bench, "edsr", {"blocks": 2, "channels": 16})


def _upscale(bench: Bench, arch: str, options: dict[str, int | float]) -> Item:
    """From a photograph of 2 megapixels to the large one, file to file, with the network loaded anew.

    The limit is the network's forward pass on the same pixels, all at once, in the same process.
    """
    shape = (24, 32) if bench.tiny else (1224, 1632)
    pixels = make_photograph(read_photo(benchmark_files("Set14")[0].path), shape, seed=0)
    weights, large = bench.folder / "network.safetensors", bench.folder / "large"
    photos = {suffix: bench.folder / f"photo.{suffix}" for suffix in ("jpg", "png")}
    for photo in photos.values():
        write_picture(Picture(pixels), photo)
    bare = build_seeded(arch, SCALE, options, seed=0).to(bench.device, memory_format=torch.channels_last)
    save_network(weights, bare.eval().state_dict(), arch=arch, scale=SCALE, options=options, key="")
    x = to_device(pixels[None], bench.device)

    @torch.inference_mode()
    def forward() -> None:
        bare(x)

    timed = partial(repeated, device=bench.device)
    upscale = partial(upscale_files, weights, output=large, device=bench.device.type, overwrite=True)
    return Item(
        unit="picture",
        limits={"bare forward, float32": timed(forward)},
        ours=timed(lambda: upscale([photos["jpg"]])),
        also={
            "PNG": timed(lambda: upscale([photos["png"]])),
            "super_resolve": timed(lambda: super_resolve(bare, pixels)),
        },
    )
