"""What cheaper ways to score difficulty change: ranks, classes and time, beside exact scores.

    python bench/difficulty.py [--blocks 4 --channels 32] [--steps 400] [--keep FILE]
    python bench/difficulty.py --blocks 16 --channels 64 --weights msrresnet_x4.pth

An MSRResNet x4, trained here or given, scores sub-images of 128 pixels that overlap by a half. Exact is each
sub-image alone in float32. The other ways:

    tf32        inputs and weights of every convolution rounded to 10 bits of mantissa, sums in float32: what
                a GPU's tensor cores do. It is imitated, so its time says nothing
    bfloat16    under autocast, the last convolution in float32

Classes are 10, the largest 10 times the smallest. Photographs are scikit-image's, or those in the folder
BSPA_DATA.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from photographs import first, pack, training_files
from scipy.stats import spearmanr
from sizes import SCALE, Bench
from stages import schedule
from stages import train as train_steps
from torch import Tensor, nn

from bspa.data.packed import PackedImages
from bspa.difficulty.classes import assign_classes, class_sizes
from bspa.difficulty.scoring import choose_batch, score_sub_images
from bspa.difficulty.windows import Windows, read_windows, write_windows
from bspa.models.precision import choose_precision
from bspa.models.registry import build
from bspa.models.weights import load_into, load_weights, save_weights
from bspa.sampling.uniform import UniformSampler
from bspa.system.devices import choose_device, use_threads

CLASSES, IMBALANCE = 10, 10
PATCH, BATCH = 64, 16  # of training
WARM_UP = 64
WAYS = ("tf32", "bfloat16")

Scores = NDArray[np.float32]


def round_to_tf32(x: Tensor) -> Tensor:
    """Round float32 to 10 bits of mantissa, halves to even."""
    bits = x.view(torch.int32)
    odd = (bits >> 13) & 1
    return ((bits + 0xFFF + odd) & ~0x1FFF).view(torch.float32)


@contextlib.contextmanager
def imitated_tf32(model: nn.Module) -> Iterator[None]:
    """Let every convolution, the last one too, take rounded inputs and weights."""
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    exact = [layer.weight.detach().clone() for layer in layers]

    def round_input(layer: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        del layer
        return (round_to_tf32(inputs[0]),)

    hooks = [layer.register_forward_pre_hook(round_input) for layer in layers]
    try:
        with torch.no_grad():
            for layer in layers:
                layer.weight.copy_(round_to_tf32(layer.weight))
        yield
    finally:
        with torch.no_grad():
            for layer, weight in zip(layers, exact, strict=True):
                layer.weight.copy_(weight)
        for hook in hooks:
            hook.remove()


def train(
    model: nn.Module,
    images: PackedImages,
    *,
    steps: int,
    learning_rate: float,
    device: torch.device,
    folder: Path,
) -> None:
    """Train as the workflow trains its reference; the learning rate is halved thrice on the way."""
    stage = schedule(steps, epochs=4, learning_rate=learning_rate)
    end = train_steps(
        model,
        UniformSampler(images, patch=PATCH, batch=BATCH, seed=0),
        stage,
        precision=choose_precision("auto", device),
        device=device,
        folder=folder,
    )
    print(f"trained {stage.steps} steps in {end.device_seconds:.0f} s, last loss {end.rows[-1]['loss']:.5f}")


def sample(bench: Bench, images: PackedImages, number: int) -> Windows:
    """Return the sub-images of every so many images: at least ``number``, where there are as many."""
    grid = {"size": bench.patch, "step": bench.step, "threshold": bench.threshold}
    path = bench.folder / "windows.h5"
    write_windows(path, images.hr_shapes, **grid, scale=SCALE, key="")
    windows = read_windows(path)
    chosen = windows.image % max(1, len(windows) // number) == 0
    parts = {name: getattr(windows, name)[chosen] for name in ("image", "top", "left")}
    return replace(windows, **parts)


def compared(scores: Scores, exact: Scores) -> tuple[float, float, float]:
    """Return rank correlation, share of sub-images that keep their class, largest relative difference."""
    sizes = class_sizes(len(exact), CLASSES, IMBALANCE)
    kept = assign_classes(scores, sizes) == assign_classes(exact, sizes)
    largest = np.max(np.abs(scores - exact) / exact)
    return float(spearmanr(scores, exact).statistic), float(kept.mean()), float(largest)


def timed(score: Callable[..., Scores], windows: Windows, precision: str) -> tuple[Scores, float]:
    """Return the scores, and the seconds that they took."""
    chosen = choose_precision(precision, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    score(windows=first(windows, WARM_UP), precision=chosen)
    started = time.perf_counter()
    scores = score(windows=windows, precision=chosen)
    return scores, time.perf_counter() - started


def report(
    model: nn.Module,
    images: PackedImages,
    windows: Windows,
    ways: Iterable[str],
    *,
    batch: int,
    device: torch.device,
) -> None:
    """Score exactly and in these `WAYS`, and print a table."""
    score = partial(score_sub_images, model, images, batch=batch, device=device)
    exact, exact_seconds = timed(score, windows, "float32")
    print(f"{len(windows)} sub-images, PSNR of their mean MSE {-10 * math.log10(exact.mean()):.2f} dB")
    print("| way | Spearman | keep their class | largest relative difference | times as fast |")
    print("|---|--:|--:|--:|--:|")
    for name in ways:
        imitated = name == "tf32"
        with imitated_tf32(model) if imitated else contextlib.nullcontext():
            scores, seconds = timed(score, windows, "float32" if imitated else name)
        spearman, kept, largest = compared(scores, exact)
        speed = "" if imitated else f"{exact_seconds / seconds:.2f}"
        print(f"| {name} | {spearman:.6f} | {100 * kept:.2f} % | {largest:.2g} | {speed} |", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--blocks", type=int, default=4)
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument("--weights", metavar="FILE", help="of such a network; else it is trained")
    parser.add_argument("--keep", metavar="FILE", help="write the trained weights to it, .safetensors")
    parser.add_argument(
        "--steps", type=int, default=400, help=f"of training, each of {BATCH} patches of {PATCH} pixels"
    )
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--sub-images", type=int, default=4000, help="at least so many, where there are")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=[*WAYS], metavar="NAME")
    parser.add_argument("--batch", type=int, help="sub-images scored at a time; else as the workflow does")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="to compute with; else all cores")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    threads = use_threads(chosen.threads)
    device = choose_device("auto")
    torch.manual_seed(0)
    model = build("msrresnet", SCALE, blocks=chosen.blocks, channels=chosen.channels)
    with tempfile.TemporaryDirectory(prefix="bspa-bench-") as name:
        bench = Bench(folder=Path(name), device=device, threads=threads, tiny=False)
        images = pack(training_files(bench), bench.folder / "photographs.h5")
        if chosen.weights:
            values, metadata = load_weights(chosen.weights)
            load_into(model, values, path=chosen.weights, metadata=metadata)
        else:
            settings = {"steps": chosen.steps, "learning_rate": chosen.learning_rate}
            train(model, images, **settings, device=device, folder=bench.folder)
        if chosen.keep:
            metadata = {"architecture": "msrresnet", "scale": str(SCALE)}
            save_weights(chosen.keep, model.state_dict(), metadata)
        batch = choose_batch(chosen.batch or "auto", bench.patch, device)
        windows = sample(bench, images, chosen.sub_images)
        report(model, images, windows, chosen.ways, batch=batch, device=device)


if __name__ == "__main__":
    main()
