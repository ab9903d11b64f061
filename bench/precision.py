"""What bfloat16 costs: PSNR after equal steps on equal batches, and the time of a step.

    python bench/precision.py [--steps 400] [--seeds 3]

Each network is trained on the built-in photographs in float32 and in bfloat16, from the same initial weights,
and evaluated in float32, by the functions that the workflow uses.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from functools import partial
from pathlib import Path

import torch

from bspa.devices import choose_device, choose_precision, use_threads
from bspa.evaluation import evaluate
from bspa.inference import super_resolve
from bspa.losses import image_objective, l1
from bspa.models import build
from bspa.packed import PackedImages, write_packed
from bspa.progress import open_progress
from bspa.sampling import UniformSampler
from bspa.sources import list_files, make_manifest
from bspa.training import Stage, train_stage

SCALE = 4
TRAIN = [
    "astronaut",
    "brick",
    "grass",
    "gravel",
    "hubble_deep_field",
    "ihc",
    "motorcycle_left",
    "retina",
    "rocket",
]
TEST = ["camera", "chelsea", "coffee"]
NETWORKS = {"fsrcnn": ("fsrcnn", {}), "edsr_mini": ("edsr", {"blocks": 4, "channels": 32})}


def pack(photos: list[str], path: Path) -> PackedImages:
    write_packed(make_manifest(list_files("builtin", photos=photos)), path, scale=SCALE)
    return PackedImages(path)


def train_and_score(
    network: str, precision: str, seed: int, steps: int, train: PackedImages, test: PackedImages, folder: Path
) -> tuple[float, float]:
    """Return PSNR in dB and milliseconds a step."""
    arch, options = NETWORKS[network]
    torch.manual_seed(seed)
    model = build(arch, SCALE, **options)
    device = choose_device("auto")
    stage = Stage(
        name=f"{network} {precision} seed {seed}", first_epoch=0, epochs=4, counts=True, total_epochs=4,
        steps_per_epoch=steps // 4, learning_rate=1e-3, halve_every=1, betas=(0.9, 0.999), epsilon=1e-8,
    )  # fmt: skip
    with open_progress(folder / "state", "bench") as progress:
        end = train_stage(
            model,
            UniformSampler(train, patch=64, batch=16, seed=seed),
            stage,
            objective=image_objective(l1),
            initial=None,
            precision=choose_precision(precision, device),
            device=device,
            progress=progress,
            save_every_seconds=1e9,
        )
    scores = evaluate(partial(super_resolve, model, scale=SCALE, device=device), test)
    return float(scores["psnr"].mean()), 1000 * end.device_seconds / stage.steps


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    use_threads(os.cpu_count() or 1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train, test = pack(TRAIN, folder / "train.h5"), pack(TEST, folder / "test.h5")
        print("| network | seed | float32 (dB) | bfloat16 (dB) | difference | float32 (ms) | bfloat16 (ms) |")
        print("|---|--:|--:|--:|--:|--:|--:|")
        for network in NETWORKS:
            differences = []
            for seed in range(arguments.seeds):
                (plain, plain_ms), (reduced, reduced_ms) = (
                    train_and_score(network, precision, seed, arguments.steps, train, test, folder)
                    for precision in ("float32", "bfloat16")
                )
                differences.append(reduced - plain)
                print(
                    f"| {network} | {seed} | {plain:.3f} | {reduced:.3f} | {differences[-1]:+.3f} "
                    f"| {plain_ms:.1f} | {reduced_ms:.1f} |",
                    flush=True,
                )
            print(f"| {network} | mean | | | {statistics.mean(differences):+.3f} | | |", flush=True)


if __name__ == "__main__":
    main()
