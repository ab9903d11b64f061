"""How time, memory and disk grow with the number of sub-images: time should be linear, private memory flat.

    python bench/growth.py [--numbers 1000 10000 100000] [--json FILE]

For each number, enough photographs of 2040x1356 pixels are made: those of the other benches, mirrored from a
random place on, each sample moved by up to two levels. Each script of the workflow runs on them in a process
of its own. This measures growth, not speed: the reference network has one block of 8 channels, and all files
are in the system's cache. A training stage always has the same steps; its time is per step. Private memory
leaves out mapped files. Temporary files lie in TMPDIR: 7 GB for 100,000 sub-images.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import runpy
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from measuring import Record, measure_once, memory_mib
from PIL import Image
from run import bench_parser
from setting import SCALE, TINY, Bench, make_photograph, training_files
from snakemake.iocontainers import InputFiles, OutputFiles
from tabulate import tabulate
from training import STAGE

from bspa.data.photos import read_photo
from bspa.difficulty.grid import count_windows
from bspa.models.weights import save_network
from bspa.system.devices import choose_device, use_threads
from bspa.training.stage import Schedule, Stage

SCRIPTS = Path(__file__).resolve().parents[1] / "workflow_scripts"
SIZES = {"photo": (1356, 2040), "networks": {"fsrcnn": {}, "msrresnet": {"blocks": 1, "channels": 8}}}
FILES = {
    "manifest": "manifest.csv", "packed": "packed.h5", "windows": "windows.h5",
    "weights": "reference.safetensors", "scores": "scores.h5", "thresholds": "thresholds.csv",
    "source": "shards", "snapshot": "stage.safetensors", "journal": "stage.csv",
}  # fmt: skip
"""Names of the scripts' files -> paths in the bench's folder."""


@dataclass(frozen=True)
class Part:
    """A job of the workflow."""

    script: str
    reads: str
    """Names of its input files."""
    writes: str
    """Names of its output files."""
    settings: Mapping[str, Any]

    def prepare(self, bench: Bench) -> Callable[[], None]:
        """Import the script; return what runs it."""

        def files(names: str) -> dict[str, str]:
            return {name: str(bench.folder / FILES[name]) for name in names.split()}

        compute: dict[str, Any] = {"device": "auto", "jobs_per_gpu": 1}
        if self.script == "train_stage":
            compute["save_every_seconds"] = 60.0
        params = SimpleNamespace(settings=self.settings, key="", compute=compute)
        reads, writes = InputFiles(fromdict=files(self.reads)), OutputFiles(fromdict=files(self.writes))
        job = SimpleNamespace(input=reads, output=writes, params=params, threads=bench.threads)
        return partial(runpy.run_path(str(SCRIPTS / f"{self.script}.py"))["main"], job)


def list_parts(bench: Bench, photographs: int) -> dict[str, Part]:
    """List the jobs in order."""
    files = {"source": {"kind": "folder", "path": str(bench.folder / "photographs")}, "scales": [SCALE]}
    scoring = {"batch": "auto", "border": 0, "precision": "float32"}
    stage = replace(
        STAGE, phase="inverse", sampling="inverse", arch="fsrcnn", scale=SCALE, patch=bench.patch,
        batch=bench.batch, epochs=1, repeat=max(1, bench.stage_steps * bench.batch // photographs),
    )  # fmt: skip
    parts = [
        Part("make_manifest", "", "manifest", files),
        Part(
            "pack_images", "manifest", "packed", {**files, "scale": SCALE, "border": "clamp", "degraded": {}}
        ),
        Part("crop_sub_images", "packed", "windows", bench.grid),
        Part("score_sub_images", "packed windows weights", "scores", scoring),
        Part("compute_thresholds", "scores", "thresholds", {"classes": 10, "imbalance": 10}),
    ]
    found = {part.script: part for part in parts}
    for samples in ("pixels", "windows"):
        write = Part("write_class_shards", "packed scores thresholds", "source", {"samples": samples})
        train = Part("train_stage", "packed source", "snapshot journal", asdict(stage))
        found |= {f"{part.script}, {samples}": part for part in (write, train)}
    return found


def prepare(bench: Bench, photographs: int) -> None:
    """Write photographs without compression, and the reference network."""
    (bench.folder / "photographs").mkdir()
    for n, source in zip(range(photographs), itertools.cycle(training_files(tiny=bench.tiny)), strict=False):
        image = make_photograph(read_photo(source.path), bench.photo, seed=n)
        Image.fromarray(image).save(bench.folder / "photographs" / f"{n:06}.bmp")
    network = {"arch": "msrresnet", "scale": SCALE, "options": bench.networks["msrresnet"]}
    weights = bench.folder / FILES["weights"]
    save_network(weights, bench.build("msrresnet").state_dict(), **network, key="")


def do_part(part: Part, bench: Bench) -> Record:
    """Do a part in this process; return its seconds, its peak of private memory, and its bytes on disk."""
    work = part.prepare(bench)
    done = threading.Event()

    def watch() -> float:
        private = 0.0
        while not done.wait(0.01):
            private = max(private, memory_mib("RssAnon"))
        return private

    with ThreadPoolExecutor(1) as pool:
        private = pool.submit(watch)
        try:
            measured = measure_once(work)
        finally:
            done.set()
    made = [bench.folder / FILES[name] for name in part.writes.split()]
    files = [file for path in made for file in (path.iterdir() if path.is_dir() else [path])]
    size = sum(file.stat().st_size for file in files)
    return {"seconds": measured.seconds, "private_mib": private.result(), "bytes": size}


def measure(number: int, bench: Bench) -> Iterator[Record]:
    """Do every part on ``number`` sub-images, or the few more that whole photographs have."""
    each = count_windows([bench.photo], **bench.grid)
    photographs = -(-number // each)
    prepare(bench, photographs)
    context = multiprocessing.get_context("spawn")
    for name, part in list_parts(bench, photographs).items():
        with ProcessPoolExecutor(1, context) as pool:
            record = pool.submit(do_part, part, bench).result()
        number = photographs * each
        trains = part.script == "train_stage"
        units = (
            Schedule(stage=Stage(**part.settings), images=photographs).steps_per_epoch if trains else number
        )
        yield {"number": number, "part": name, "us_each": 1e6 * record["seconds"] / units, **record}


def lay_out(records: Sequence[Record]) -> str:
    """Lay out time and memory of each part at each number, and the bytes of a sub-image on disk."""
    numbers = sorted({record["number"] for record in records})
    rows = []
    for part in dict.fromkeys(record["part"] for record in records):
        of_part = sorted((r for r in records if r["part"] == part), key=lambda r: r["number"])
        times = [f"{record['us_each']:.4g}" for record in of_part]
        memory = ", ".join(f"{record['private_mib']:.0f}" for record in of_part)
        size = of_part[-1]["bytes"] / of_part[-1]["number"]
        rows.append([part, *times, memory, "" if part.startswith("train") else f"{size:.4g}"])
    head = ["µs a sub-image or step", *(f"{number:,}" for number in numbers), "private MiB", "bytes on disk"]
    sides = ["left", *["right"] * (len(head) - 1)]
    return tabulate(rows, head, tablefmt="pipe", colalign=sides, disable_numparse=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = bench_parser(__doc__)
    parser.add_argument("--numbers", nargs="+", type=int, default=[1000, 10_000, 100_000], metavar="N")
    chosen = parser.parse_args(arguments)
    settings = {"device": choose_device("auto"), "threads": use_threads(chosen.threads)}
    settings |= TINY if chosen.tiny else SIZES
    records: list[Record] = []
    for number in chosen.numbers:
        with tempfile.TemporaryDirectory(prefix="bspa-bench-") as folder:
            for record in measure(number, Bench(folder=Path(folder), **settings)):
                records.append(record)
                told = f"{record['number']}, {record['part']}: {record['seconds']:.2f} s"
                print(told, file=sys.stderr, flush=True)
                if chosen.json:
                    chosen.json.write_text(json.dumps(records, indent=1) + "\n")
    print(lay_out(records))


if __name__ == "__main__":
    main()
