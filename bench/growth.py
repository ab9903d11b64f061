"""How time, memory and disk grow with the number of sub-images: time should be linear, private memory flat.

    python bench/growth.py [--numbers 1000 10000 100000] [--json FILE]

For each number, as many photographs are made as give so many sub-images or a few more: those of the other
benches, mirrored on to 2040x1356 pixels from a place of chance, each sample moved by up to two levels. The
workflow's steps, by the functions that its scripts call, go over them, each in a process of its own.

What is measured is growth, not speed: the reference network has one block of 8 channels, and all files are
in the system's cache. A training stage always has the same steps, and time is given for each of them.
Private memory is what a process has for itself. Resident memory has the pages of mapped files, too: the
system takes those back when it needs them, and they count for as long as it does not.

Temporary files go where TMPDIR says: 7 GB for 100,000 sub-images. A FILE is added to, number by number, and
the tables are of all that is in it.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import MIB, Measured, Meter
from numpy.typing import NDArray
from photographs import training_files
from PIL import Image
from records import Record, add_record, latest, read_records, table
from sizes import SCALE, TINY, Bench
from stages import schedule, train

from bspa.data.inspection import make_manifest
from bspa.data.manifest import read_manifest, write_manifest
from bspa.data.packed import PackedImages
from bspa.data.packing import pack_images
from bspa.data.photos import read_photo
from bspa.data.sources import list_files
from bspa.difficulty.class_table import read_classes, write_classes
from bspa.difficulty.classes import split_classes
from bspa.difficulty.grid import count_windows
from bspa.difficulty.score_writing import write_scores
from bspa.difficulty.scores import read_scores
from bspa.difficulty.scoring import score_sub_images
from bspa.difficulty.shard_writing import write_class_shards
from bspa.difficulty.shards import open_shards
from bspa.difficulty.windows import read_windows, write_windows
from bspa.forecast.step_times import describe_device
from bspa.models.precision import choose_precision
from bspa.sampling.inverse import InverseSampler
from bspa.system.devices import choose_device, use_threads

NUMBERS = [1000, 10_000, 100_000]
PLANS = {"DIV2K": 499_875, "ten times DIV2K": 5_000_000}
"""Sub-images of what is planned."""
CLASSES, IMBALANCE = 10, 10
SAMPLES = ("pixels", "windows")
SIZES: dict[str, Any] = {
    "photo": (1356, 2040),
    "networks": {"fsrcnn": ("fsrcnn", {}), "msrresnet": ("msrresnet", {"blocks": 1, "channels": 8})},
}
SECONDS_BETWEEN_LOOKS = 0.01


def list_photographs(bench: Bench) -> None:
    """Decode every photograph and note its digest."""
    files = list_files("folder", path=bench.folder / "photographs")
    write_manifest(make_manifest(files, threads=bench.threads), bench.folder / "manifest.csv")


def pack_photographs(bench: Bench) -> None:
    """Decode every photograph again, and make its LR image."""
    manifest = read_manifest(bench.folder / "manifest.csv")
    pack_images(manifest, bench.folder / "packed.h5", scale=SCALE, threads=bench.threads, key="test")


def crop_sub_images(bench: Bench) -> None:
    """Lay windows over the images."""
    shapes = PackedImages(bench.folder / "packed.h5").hr_shapes
    write_windows(bench.folder / "windows.h5", shapes, **_grid(bench), scale=SCALE, key="")


def score_difficulty(bench: Bench) -> None:
    """Score every sub-image by a small network."""
    images, windows = PackedImages(bench.folder / "packed.h5"), read_windows(bench.folder / "windows.h5")
    model = bench.build("msrresnet")
    precision = choose_precision("float32", bench.device)
    mse = score_sub_images(model, images, windows, batch="auto", device=bench.device, precision=precision)
    write_scores(
        bench.folder / "scores.h5",
        mse,
        windows,
        scale=SCALE,
        reference_sha256="",
        precision="float32",
        key="",
    )


def compute_thresholds(bench: Bench) -> None:
    """Split the scores into classes."""
    classes = split_classes(read_scores(bench.folder / "scores.h5").mse, CLASSES, IMBALANCE)
    write_classes(bench.folder / "thresholds.csv", classes, key="")


def write_shards(samples: str, bench: Bench) -> None:
    """Write the members of each class, or where they lie."""
    classes = read_classes(bench.folder / "thresholds.csv")
    write_class_shards(
        bench.folder / samples,
        PackedImages(bench.folder / "packed.h5"),
        read_scores(bench.folder / "scores.h5"),
        classes.sizes,
        thresholds=classes.thresholds,
        samples=samples,
        key="",
    )


def train_inverse(samples: str, bench: Bench) -> None:
    """Train FSRCNN for some steps on inverse samples."""
    images = PackedImages(bench.folder / "packed.h5") if samples == "windows" else None
    train(
        bench.build("fsrcnn"),
        InverseSampler(open_shards(bench.folder / samples), images=images, batch=bench.batch, seed=0),
        schedule(bench.stage_steps),
        precision=choose_precision("auto", bench.device, arch="fsrcnn"),
        device=bench.device,
        folder=bench.folder,
        save_every_seconds=60.0,
    )


@dataclass(frozen=True, kw_only=True)
class Part:
    """A step of the workflow."""

    work: Callable[[Bench], None]
    output: str | None = None
    """File or folder that it makes."""
    last: str | None = None
    """File or folder that nothing needs any more after it."""
    per_step: bool = False
    """Whether its work is a number of training steps, whatever the number of sub-images."""


PARTS = {
    "make_manifest": Part(work=list_photographs, output="manifest.csv"),
    "pack_images": Part(work=pack_photographs, output="packed.h5", last="photographs"),
    "crop_sub_images": Part(work=crop_sub_images, output="windows.h5"),
    "score_difficulty": Part(work=score_difficulty, output="scores.h5"),
    "compute_thresholds": Part(work=compute_thresholds, output="thresholds.csv"),
    **{
        name: part
        for samples in SAMPLES
        for name, part in {
            f"write_class_shards, {samples}": Part(work=partial(write_shards, samples), output=samples),
            f"train_inverse, {samples}": Part(
                work=partial(train_inverse, samples), last=samples, per_step=True
            ),
        }.items()
    },
}
"""In order; each needs what those before it made."""


def _grid(bench: Bench) -> dict[str, int]:
    return {"size": bench.patch, "step": bench.step, "threshold": bench.threshold}


def photograph(source: NDArray[np.uint8], shape: tuple[int, int], seed: int) -> NDArray[np.uint8]:
    """Return a photograph of any size that no other seed gives."""
    random = np.random.default_rng(seed)
    before = [int(random.integers(side)) for side in source.shape[:2]]
    pads = [(first, max(0, side - first)) for first, side in zip(before, shape, strict=True)]
    mirrored = np.pad(source, [*pads, (0, 0)], mode="symmetric")[: shape[0], : shape[1]].astype(np.int16)
    mirrored += random.integers(-2, 3, mirrored.shape, np.int8)
    return mirrored.clip(0, 255).astype(np.uint8)


def write_photographs(bench: Bench, number: int) -> None:
    """Write so many photographs, without compression, one at a time."""
    (bench.folder / "photographs").mkdir()
    sources = itertools.cycle(training_files(bench))
    for n, source in zip(range(number), sources, strict=False):
        image = photograph(read_photo(source.path), bench.photo, seed=n)
        Image.fromarray(image).save(bench.folder / "photographs" / f"{n:06}.bmp")


def measure(number: int, bench: Bench) -> Iterator[Record]:
    """Do every part with ``number`` sub-images, or the few more that whole photographs have.

    Yields:
        ``number``, of the sub-images; ``what``; ``seconds``; ``units``, that the time is divided by;
        ``private_before_mib``, ``private_mib`` and ``resident_mib``, at their height; ``bytes`` on disk.
    """
    each = count_windows([bench.photo], **_grid(bench))
    photographs = -(-number // each)
    write_photographs(bench, photographs)
    for name, part in PARTS.items():
        measured, before, private = in_a_process(name, bench)
        yield {
            "number": photographs * each,
            "what": name,
            "seconds": measured.seconds,
            "units": bench.stage_steps if part.per_step else photographs * each,
            "private_before_mib": before,
            "private_mib": private,
            "resident_mib": measured.peak_mib,
            "bytes": size_on_disk(bench.folder / part.output) if part.output else 0,
        }
        if part.last:
            shutil.rmtree(bench.folder / part.last)


def in_a_process(name: str, bench: Bench) -> tuple[Measured, float, float]:
    """Do a part in a fresh process, watched from here.

    Returns:
        What it measured itself (the peak is of resident memory), and its private memory in MiB before the
        work and at its height.

    Raises:
        RuntimeError: it failed, with its traceback.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_work, args=(there, name, bench), daemon=True)
    process.start()
    there.close()
    try:
        here.recv()  # all is imported
        before = peak = private_mib(process.pid)
        here.send("begin")
        while not here.poll():
            peak = max(peak, private_mib(process.pid))
            time.sleep(SECONDS_BETWEEN_LOOKS)
        result = here.recv()
    except EOFError:
        process.join()
        raise RuntimeError(f"{name}: the process ended with exit status {process.exitcode}") from None
    process.join()
    if isinstance(result, str):
        raise RuntimeError(f"{name} failed:\n{result}")
    return result, before, peak


def _work(connection: Connection, name: str, bench: Bench) -> None:
    use_threads(bench.threads)
    connection.send("ready")
    connection.recv()
    try:
        meter = Meter()
        meter.start()
        PARTS[name].work(bench)
        connection.send(meter.stop(1))
    except Exception:
        connection.send(traceback.format_exc())


def private_mib(pid: int | None) -> float:
    """Private memory of a process that is resident: RssAnon of Linux."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"RssAnon:\s+(\d+) kB", status)  # a process that has just ended has none
    return int(found[1]) * 1024 / MIB if found else 0.0


def size_on_disk(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    return sum(file.stat().st_size for file in ([path] if path.is_file() else path.iterdir()))


def needed_bytes(number: int, bench: Bench) -> int:
    """Disk that a number of sub-images takes while it is measured."""
    each = count_windows([bench.photo], **_grid(bench))
    with_lr = 1 + 1 / SCALE**2
    photographs = 3 * bench.photo[0] * bench.photo[1] * -(-number // each)
    return int(photographs * with_lr + max(photographs, number * 3 * bench.patch**2 * with_lr))


def parts_table(records: Sequence[Record]) -> str:
    """Every part at every number."""
    head = [
        "what", "sub-images", "seconds", "µs each", "private before (MiB)", "private at most (MiB)",
        "resident at most (MiB)", "on disk (MB)",
    ]  # fmt: skip
    rows = [
        [
            record["what"],
            f"{record['number']:,}",
            f"{record['seconds']:.2f}",
            f"{_microseconds(record):.4g}" + (" a step" if PARTS[record["what"]].per_step else ""),
            *(f"{record[name]:.0f}" for name in ("private_before_mib", "private_mib", "resident_mib")),
            f"{record['bytes'] / 1e6:.4g}" if record["bytes"] else "",
        ]
        for record in sorted(records, key=lambda r: ([*PARTS].index(r["what"]), r["number"]))
    ]
    return table(head, rows, texts=1)


def growth_table(records: Sequence[Record]) -> str:
    """Of each part, how time and memory grow from one number to the next, and over all.

    A few sub-images do not fill what holds a fixed number of them, so memory is not flat from the start. That
    of the plans goes on as it grew between the two largest numbers.
    """
    head = [
        "what", "from", "to", "times as long, each", "times the private memory", "bytes, each further",
        *(f"private at {number:,} (MiB)" for number in PLANS.values()),
    ]  # fmt: skip
    rows = []
    for what in PARTS:
        of_part = sorted((r for r in records if r["what"] == what), key=lambda r: r["number"])
        pairs = [*itertools.pairwise(of_part)]
        over_all = [(of_part[0], of_part[-1])] if pairs[1:] else []
        for small, large in [*pairs, *over_all]:
            further = large["number"] - small["number"]
            slope = (large["private_mib"] - small["private_mib"]) / further
            planned = [large["private_mib"] + slope * (n - large["number"]) for n in PLANS.values()]
            rows.append(
                [
                    what,
                    f"{small['number']:,}",
                    f"{large['number']:,}",
                    f"{_microseconds(large) / _microseconds(small):.2f}",
                    f"{large['private_mib'] / small['private_mib']:.2f}",
                    f"{slope * MIB:.0f}",
                    *(f"{mib:.0f}" if (small, large) == pairs[-1] else "" for mib in planned),
                ]
            )
    return table(head, rows, texts=1)


def disk_table(records: Sequence[Record]) -> str:
    """What the plans take on disk, by the bytes of a sub-image at the largest number."""
    rows = []
    for what in PARTS:
        of_part = [record for record in records if record["what"] == what and record["bytes"]]
        if of_part:
            largest = max(of_part, key=lambda record: record["number"])
            each = largest["bytes"] / largest["number"]
            rows.append([what, f"{each:.4g}", *(f"{each * n / 1e9:.4g}" for n in PLANS.values())])
    plans = (f"{name}: {number:,} (GB)" for name, number in PLANS.items())
    return table(["what", "bytes of a sub-image", *plans], rows, texts=1)


def _microseconds(record: Record) -> float:
    return 1e6 * record["seconds"] / record["units"]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--numbers", nargs="*", type=int, default=NUMBERS, metavar="N", help="none: only print the tables"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="add the results to it, as JSON lines")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="to compute with; else all cores")
    parser.add_argument("--tiny", action="store_true", help="tests the bench itself: its numbers say nothing")
    chosen = parser.parse_args(arguments)
    device = choose_device("auto")
    settings = {"device": device, "threads": use_threads(chosen.threads), "tiny": chosen.tiny}
    settings |= TINY if chosen.tiny else SIZES
    conditions = {
        "data": "bsds400" if os.environ.get("BSPA_DATA") else "built-in photographs",
        "device": describe_device(device),
        "threads": settings["threads"],
        "tiny": chosen.tiny,
        "torch": torch.__version__,
    }
    records = read_records(chosen.json)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and remove the files
    for number in chosen.numbers:
        with tempfile.TemporaryDirectory(prefix="bspa-bench-") as folder:
            bench = Bench(folder=Path(folder), **settings)
            needed, free = needed_bytes(number, bench), shutil.disk_usage(folder).free
            if needed > free:
                parser.error(
                    f"{number} sub-images take {needed / 1e9:.1f} GB in {tempfile.gettempdir()}, which has "
                    f"{free / 1e9:.1f} GB free; let TMPDIR name a larger disk, or leave this number out"
                )
            for record in measure(number, bench):
                records.append({**record, **conditions})
                add_record(chosen.json, records[-1])
                told = f"{record['number']}, {record['what']}: {record['seconds']:.2f} s"
                print(told, file=sys.stderr, flush=True)
    records = latest(records, ("number", "what"), conditions)
    print(parts_table(records), growth_table(records), disk_table(records), sep="\n\n")


if __name__ == "__main__":
    main()
