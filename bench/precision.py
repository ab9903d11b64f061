"""No loss: what the fast settings of training cost in PSNR, after equal steps on equal batches.

    python bench/precision.py [--networks NAME ...] [--seeds N ...] [--settings NAME ...] [--json FILE]

Each network is trained from the same initial weights under every setting, and scored in float32, by the
functions that the workflow uses: the moving average of its weights, and the last ones. Where a setting's
arithmetic is float32's, the weights must agree to the last bit. Where it is not, no two runs end alike, and a
difference means something only beside the yardstick: that of two float32 runs that differ in rounding alone.

Photographs are scikit-image's, or those in the folder BSPA_DATA: 400 to train on, and Set5 with MATLAB's LR
files. A FILE is added to, run by run, and the tables are of all that is in it: a study can be made in parts.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
from photographs import TEST, TRAIN
from records import Record, add_record, latest, read_records, table
from stages import schedule
from stages import train as train_steps
from torch import Tensor, nn

from bspa.data.inspection import make_manifest
from bspa.data.packed import PackedImages
from bspa.data.packing import pack_images
from bspa.data.sources import list_files
from bspa.forecast.step_times import describe_device
from bspa.metrics.evaluate import evaluate
from bspa.models.inference import super_resolve
from bspa.models.precision import choose_precision
from bspa.models.registry import build
from bspa.sampling.patches import Draw
from bspa.sampling.uniform import UniformSampler
from bspa.system.devices import choose_device, use_threads

SCALE = 4
PATCH, BATCH = 64, 16
EPOCHS, HALVE_EVERY = 10, 2  # so the learning rate ends at a sixteenth
LEARNING_RATE = 1e-3
AVERAGED = 0.05
"""Share of the steps that the moving average of the weights reaches back over."""
TOLERANCE = 0.03
"""dB that a fast setting may cost."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """What is trained, and for how long."""

    arch: str
    options: Mapping[str, int | float] = field(default_factory=dict)
    steps: int


NETWORKS = {
    "fsrcnn": Network(arch="fsrcnn", steps=3000),
    "edsr_small": Network(arch="edsr", options={"blocks": 4, "channels": 32}, steps=700),
}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How a network is trained; the defaults are the plain way."""

    precision: str = "float32"
    reverse: bool = False
    """Samples of each batch in reverse: the sums over them have the same terms, and are rounded otherwise."""


PLAIN, YARDSTICK = "float32", "float32, other rounding"
SETTINGS = {
    PLAIN: Setting(),
    YARDSTICK: Setting(reverse=True),
    "bfloat16": Setting(precision="bfloat16"),
}
"""Plain first; a new one needs a line here and no more."""


class Reversed(UniformSampler):
    """Its batches with their samples in reverse."""

    def draw(self, iteration: int) -> Draw:
        """Return which patches of ``pool`` a batch holds, the same for the same ``iteration``."""
        return Draw(*(column[::-1].copy() for column in super().draw(iteration)))


def training_images(folder: Path) -> PackedImages:
    """Pack the photographs to train on."""
    data = os.environ.get("BSPA_DATA")
    if data:
        files = list_files("folder", path=Path(data, "train", "bsds400"))
    else:
        files = list_files("builtin", photos=TRAIN)
    pack_images(make_manifest(files), folder / "train.h5", scale=SCALE, key="test")
    return PackedImages(folder / "train.h5")


def benchmark_images(folder: Path) -> PackedImages:
    """Pack the photographs to score on."""
    data = os.environ.get("BSPA_DATA")
    if data:
        path = Path(data, "benchmarks", "Set5", f"x{SCALE}")
        files = list_files("folder", path=path, hr="*_HR.png", lr="*_LR.png", scales=[SCALE])
    else:
        files = list_files("builtin", photos=TEST)
    pack_images(make_manifest(files), folder / "test.h5", scale=SCALE, key="test")
    return PackedImages(folder / "test.h5")


def train_and_score(
    network: Network,
    setting: Setting,
    seed: int,
    *,
    patch: int,
    train: PackedImages,
    test: PackedImages,
    folder: Path,
    device: torch.device,
) -> Record:
    """Train one network once.

    Returns:
        ``average`` and ``last``: mean PSNR (dB) of the averaged and of the last weights; ``ms_per_step``;
        ``weights``: a digest of both, equal where every bit of them is.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: nn.Module = build(network.arch, SCALE, **network.options)
    sampler = (Reversed if setting.reverse else UniformSampler)(train, patch=patch, batch=BATCH, seed=seed)
    stage = schedule(
        network.steps,
        epochs=EPOCHS,
        learning_rate=LEARNING_RATE,
        halve_every=HALVE_EVERY,
        ema=max(0.0, 1 - 1 / (AVERAGED * network.steps)) or None,
    )
    end = train_steps(
        model,
        sampler,
        stage,
        precision=choose_precision(setting.precision, device),
        device=device,
        folder=folder,
    )

    def score(weights: Mapping[str, Tensor]) -> float:
        scored = build(network.arch, SCALE, **network.options)
        scored.load_state_dict(dict(weights))
        scores = evaluate(partial(super_resolve, scored, scale=SCALE, device=device), test)
        return float(scores["psnr"].mean())

    states = {"average": end.snapshot.delivered, "last": end.snapshot.weights}
    digest = hashlib.sha256()
    for weights in states.values():
        for name in sorted(weights):
            digest.update(weights[name].contiguous().numpy().tobytes())
    return {
        **{name: score(weights) for name, weights in states.items()},
        "ms_per_step": 1000 * end.device_seconds / stage.steps,
        "weights": digest.hexdigest(),
    }


def runs_table(records: Sequence[Record]) -> str:
    """Every run, and how it differs from the plain one of its network and seed."""
    rows = []
    for record, plain in _with_plain(records):
        same = record["weights"] == plain["weights"]
        cells = [f"{record[of] - plain[of]:+.3f}" for of in ("average", "last")]
        rows.append(
            [
                record["network"],
                f"{record['seed']}",
                record["setting"],
                f"{record['average']:.3f}",
                f"{record['last']:.3f}",
                *(["" if record is plain else "same bits"] * 2 if same else cells),
                f"{record['ms_per_step']:.1f}",
            ]
        )
    head = ["network", "seed", "setting", "average (dB)", "last (dB)", "difference", "of the last", "ms/step"]
    return table(head, rows, texts=3)


def summary_table(records: Sequence[Record]) -> str:
    """Of each network and setting, the mean difference over the seeds, and whether it is small enough.

    The error is the standard error of that mean. The spread is the standard deviation of the plain runs' PSNR
    over the seeds.
    """
    groups: dict[tuple[str, str], list[tuple[Record, Record]]] = {}
    for record, plain in _with_plain(records):
        groups.setdefault((record["network"], record["setting"]), []).append((record, plain))
    rows = []
    for (network, setting), pairs in groups.items():
        if setting == PLAIN:
            continue
        cells = []
        for of in ("average", "last"):
            differences = [record[of] - plain[of] for record, plain in pairs]
            mean = statistics.mean(differences)
            cells.append(f"{mean:+.3f}" + (f" ± {_standard_error(differences):.3f}" if pairs[1:] else ""))
            if of == "average":
                verdict = "yes" if abs(mean) <= TOLERANCE else "no"
        spread = f"{statistics.stdev(plain['average'] for _, plain in pairs):.3f}" if pairs[1:] else ""
        if all(record["weights"] == plain["weights"] for record, plain in pairs):
            verdict = "same bits"
        speed = [statistics.median(plain["ms_per_step"] / record["ms_per_step"] for record, plain in pairs)]
        rows.append([network, setting, verdict, f"{len(pairs)}", *cells, spread, f"{speed[0]:.2f}"])
    head = [
        "network", "setting", f"within {TOLERANCE} dB", "seeds", "difference (dB)", "of the last",
        "spread of seeds", "times as fast",
    ]  # fmt: skip
    return table(head, rows, texts=3)


def _with_plain(records: Sequence[Record]) -> Iterator[tuple[Record, Record]]:
    """Each record with the plain one of its network and seed, if that was measured."""
    plain = {(r["network"], r["seed"]): r for r in records if r["setting"] == PLAIN}
    order = [*NETWORKS], [*SETTINGS]
    for record in sorted(
        records, key=lambda r: (order[0].index(r["network"]), r["seed"], order[1].index(r["setting"]))
    ):
        if (record["network"], record["seed"]) in plain:
            yield record, plain[record["network"], record["seed"]]


def _standard_error(values: Sequence[float]) -> float:
    return statistics.stdev(values) / len(values) ** 0.5


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=[*NETWORKS], metavar="NAME")
    parser.add_argument(
        "--seeds", nargs="*", type=int, default=[0, 1, 2], metavar="N", help="none: only print the tables"
    )
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=[*SETTINGS], metavar="NAME")
    parser.add_argument("--json", type=Path, metavar="FILE", help="add the results to it, as JSON lines")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="to compute with; else all cores")
    parser.add_argument("--steps", type=int, help=f"a multiple of {EPOCHS}; else those of the study")
    parser.add_argument("--patch", type=int, default=PATCH, help="HR pixels")
    chosen = parser.parse_args(arguments)
    if chosen.steps is not None and (chosen.steps < 1 or chosen.steps % EPOCHS):
        parser.error(f"--steps is {chosen.steps}; it must be a multiple of {EPOCHS}, the epochs of a run")
    threads = use_threads(chosen.threads)
    device = choose_device("auto")
    networks = {
        name: replace(network, steps=chosen.steps) if chosen.steps else network
        for name, network in NETWORKS.items()
    }
    conditions = {
        "patch": chosen.patch,
        "data": "bsds400, Set5" if os.environ.get("BSPA_DATA") else "built-in photographs",
        "device": describe_device(device),
        "threads": threads,
        "torch": torch.__version__,
    }
    records = read_records(chosen.json)
    with tempfile.TemporaryDirectory(prefix="bspa-bench-") as name:
        folder = Path(name)
        if chosen.seeds:
            train, test = training_images(folder), benchmark_images(folder)
        for network, seed, setting in itertools.product(chosen.networks, chosen.seeds, chosen.settings):
            scores = train_and_score(
                networks[network], SETTINGS[setting], seed,
                patch=chosen.patch, train=train, test=test, folder=folder, device=device,
            )  # fmt: skip
            run = {"network": network, "seed": seed, "setting": setting, "steps": networks[network].steps}
            records.append({**run, **scores, **conditions})
            add_record(chosen.json, records[-1])
            print(f"{network}, seed {seed}, {setting}: {scores['last']:.3f} dB", file=sys.stderr, flush=True)
    records = [
        record
        for name, network in networks.items()
        for record in latest(
            [r for r in records if r["network"] == name],
            ("network", "seed", "setting"),
            {**conditions, "steps": network.steps},
        )
    ]
    print(runs_table(records), summary_table(records), sep="\n\n")


if __name__ == "__main__":
    main()
