"""What bfloat16 in training costs in PSNR, after equal steps on equal batches.

    python bench/precision.py [--networks NAME ...] [--seeds N ...] [--json FILE]

Each network is trained from the same initial weights in every way, and evaluated in float32: the moving
average of its weights, and the last weights. The yardstick is float32 with the samples of each batch in
reverse, which differs from float32 in rounding alone. Photographs are scikit-image's, or those in the folder
BSPA_DATA: 400 to train on, and Set5 with MATLAB's LR files. Runs that are in FILE already are not repeated.
"""

from __future__ import annotations

import itertools
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from measuring import Record
from run import bench_parser
from setting import SCALE, benchmark_files, pack, training_files
from tabulate import tabulate
from torch import Tensor
from training import STAGE, train

from bspa.data.packed import PackedImages
from bspa.metrics.evaluate import evaluate
from bspa.models.inference import super_resolve
from bspa.models.precision import choose_precision
from bspa.models.registry import build
from bspa.sampling.sampler import Draw
from bspa.sampling.uniform import UniformSampler
from bspa.system.devices import choose_device, use_threads
from bspa.training.stage import Schedule
from bspa.training.task import build_seeded

PATCH, BATCH = 64, 16
EPOCHS, HALVE_EVERY = 10, 2  # the learning rate ends at a sixteenth
LEARNING_RATE = 1e-3
AVERAGED = 0.05  # share of the steps that the moving average reaches back over


@dataclass(frozen=True)
class Network:
    """What is trained, and for how long."""

    arch: str
    options: Mapping[str, int | float]
    steps: int


NETWORKS = {
    "fsrcnn": Network("fsrcnn", {}, steps=3000),
    "edsr_small": Network("edsr", {"blocks": 4, "channels": 32}, steps=700),
}
WAYS = ("float32", "bfloat16", "float32, other rounding")


class Reversed(UniformSampler):
    """Uniform batches with their samples in reverse: sums over them are rounded otherwise."""

    def draw(self, iteration: int) -> Draw:
        """See `Reversed`."""
        return Draw(*(column[::-1].copy() for column in super().draw(iteration)))


def train_and_score(
    network: Network, way: str, seed: int,
    *, images: PackedImages, test: PackedImages, folder: Path, device: torch.device,
) -> Record:  # fmt: skip
    """Train a network; return the mean PSNR (dB) of the ``average`` of its weights, and of the ``last``."""
    sampler = (Reversed if way == WAYS[2] else UniformSampler)(images, patch=PATCH, batch=BATCH, seed=seed)
    stage = replace(
        STAGE, epochs=EPOCHS, halve_every=HALVE_EVERY, learning_rate=LEARNING_RATE,
        ema=max(0.01, 1 - 1 / (AVERAGED * network.steps)),
    )  # fmt: skip
    model = build_seeded(network.arch, SCALE, network.options, seed)
    schedule = Schedule(stage=stage, images=network.steps // EPOCHS)
    precision = choose_precision(way.partition(",")[0], device)
    end = train(model, sampler, schedule, precision=precision, device=device, folder=folder)

    def score(weights: Mapping[str, Tensor]) -> float:
        model = build(network.arch, SCALE, **network.options)
        model.load_state_dict(dict(weights))
        scores = evaluate(partial(super_resolve, model.to(device).eval()), test)
        return float(scores["psnr"].mean())

    return {"average": score(end.snapshot.delivered("average")), "last": score(end.snapshot.weights)}


def lay_out(records: Sequence[Record]) -> str:
    """Lay out the PSNR of float32, and what the others differ: the average (and the last weights)."""
    psnr = pd.DataFrame(records).pivot(index=["network", "seed"], columns="way", values=["average", "last"])
    average, last = (psnr[of].sub(psnr[of, WAYS[0]], axis=0)[[*WAYS[1:]]] for of in ("average", "last"))

    def cells(averages: pd.Series, lasts: pd.Series) -> list[str]:
        return [f"{a:+.3f} ({b:+.3f})" for a, b in zip(averages, lasts, strict=True)]

    exact = psnr["average", WAYS[0]]
    rows = [[*run, f"{exact[run]:.3f}", *cells(average.loc[run], last.loc[run])] for run in psnr.index]
    for what in ("mean", "std"):
        of_average, of_last = (values.groupby("network").agg(what) for values in (average, last))
        rows += [[name, what, "", *cells(of_average.loc[name], of_last.loc[name])] for name in of_last.index]
    sides = ["left"] * 2 + ["right"] * 3
    return tabulate(rows, ["network", "seed", *WAYS], tablefmt="pipe", colalign=sides, disable_numparse=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = bench_parser(__doc__)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=[*NETWORKS], metavar="NAME")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N")
    chosen = parser.parse_args(arguments)
    use_threads(chosen.threads)
    device = choose_device("auto")
    records = json.loads(chosen.json.read_text()) if chosen.json and chosen.json.exists() else []
    with tempfile.TemporaryDirectory(prefix="bspa-bench-") as name:
        folder = Path(name)
        images = pack(training_files(tiny=chosen.tiny), folder / "train.h5")
        test = pack(benchmark_files("Set5"), folder / "test.h5")
        for network, seed, way in itertools.product(chosen.networks, chosen.seeds, WAYS):
            run = {"network": network, "seed": seed, "way": way}
            if any(run.items() <= record.items() for record in records):
                continue
            where = {"images": images, "test": test, "folder": folder, "device": device}
            records.append(run | train_and_score(NETWORKS[network], way, seed, **where))
            print(f"{network}, seed {seed}, {way}: {records[-1]['last']:.3f} dB", file=sys.stderr, flush=True)
            if chosen.json:
                chosen.json.write_text(json.dumps(records, indent=1) + "\n")
    print(lay_out(records))


if __name__ == "__main__":
    main()
