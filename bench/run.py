"""How close each heavy part runs to the hardware limit.

    python bench/run.py [--only NAME ...] [--json FILE] [--seconds S]

Each part is measured in a process of its own. Contestants take turns: *limit* is the bare work (a resident
batch, a memory copy, a forward pass), *ours* is what the workflow runs, through the same functions.
Photographs are scikit-image's, or those in the folder BSPA_DATA. Temporary files lie in TMPDIR.
"""

from __future__ import annotations

import argparse
import importlib
import json
import multiprocessing
import os
import platform
import sys
import tempfile
import traceback
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch
from measuring import Record, compare
from setting import TINY, Bench
from tabulate import tabulate

from bspa.system.devices import choose_device, describe_device, use_threads

PARTS = {
    "imresize": "data", "digests": "data", "crop_and_shards_write": "data", "shard_read": "data",
    "score": "inference", "evaluate": "inference", "upscale": "inference",
    "upscale_edsr_mini": "inference",
    "train_step_fsrcnn_x4": "training", "train_step_edsr_x4": "training", "train_step_rcan_x4": "training",
    "attribute": "training", "validation": "training", "stage_overhead": "pipeline", "dag": "pipeline",
}  # fmt: skip
"""Part -> the module whose function ``measure_PART`` prepares it."""


def measure(part: str, *, seconds: float, threads: int, tiny: bool) -> Record:
    """Measure a part in this process."""
    threads = use_threads(threads)
    device = choose_device("auto")
    prepare = getattr(importlib.import_module(PARTS[part]), f"measure_{part}")
    with tempfile.TemporaryDirectory(prefix="bspa-bench-") as folder:
        bench = Bench(folder=Path(folder), device=device, threads=threads, **(TINY if tiny else {}))
        result = compare(prepare(bench), seconds)
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    return result | {"device": describe_device(device), "tiny": tiny} | versions


def lay_out(results: dict[str, Record]) -> str:
    """Lay out the results as a table in Markdown."""
    head = ["part", "of what", "limit", "ours", "of the limit", "quartiles of ours", "MiB"]
    rows = [
        [
            part,
            f"{result['unit']}; limit: {result['limit_is']}",
            *(f"{result[way]:.4g}" for way in ("limit", "ours")),
            f"{result['ratio_limit']:.2f}",
            " to ".join(f"{ms:.4g}" for ms in result["spread"]["ours"]),
            f"{result['peak_mib']:.0f}" if result["peak_mib"] else "",
        ]
        for part, result in results.items()
    ]
    sides = ["left"] * 2 + ["right"] * 5
    return tabulate(rows, head, tablefmt="pipe", colalign=sides, disable_numparse=True)


def main() -> None:
    parser = bench_parser(__doc__)
    add_parts(parser, [*PARTS])
    parser.add_argument("--seconds", type=float, default=60, help="about how long to measure each part")
    arguments = parser.parse_args()
    settings = {"seconds": arguments.seconds, "threads": arguments.threads, "tiny": arguments.tiny}
    results: dict[str, Record] = {}
    failed = []
    # A new process for each, so that its numbers hold no memory, threads or caches of another.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, max_tasks_per_child=None if arguments.tiny else 1) as pool:
        for part in arguments.only:
            try:
                results[part] = pool.submit(measure, part, **settings).result()
            except Exception:
                failed.append(part)
                traceback.print_exc()
                continue
            print(f"{part}: {results[part]['ours']:.4g} {results[part]['unit']}", file=sys.stderr, flush=True)
            if arguments.json:
                arguments.json.write_text(json.dumps(results, indent=1) + "\n")
    print(lay_out(results))
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def add_parts(parser: argparse.ArgumentParser, names: list[str]) -> None:
    """Add the arguments of benches that measure parts."""
    about = ", ".join(names)
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME", help=about)


def bench_parser(doc: str | None) -> argparse.ArgumentParser:
    """Return a parser with the arguments that all benches have."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all values to it")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="all cores if not given")
    parser.add_argument("--tiny", action="store_true", help="test the bench itself: the numbers mean nothing")
    return parser


if __name__ == "__main__":
    main()
