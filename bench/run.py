"""How near to the limit of the hardware each heavy part runs, and how far ahead of the usual way.

    python bench/run.py [--only NAME ...] [--json FILE] [--seconds S]

Each part is measured in a process of its own, three ways in turns:

    limit   the bare work: a resident batch, a memory copy, a forward pass
    ours    what the workflow runs, through the same functions
    plain   what toolboxes do: float32, PNGs decoded by workers, images one by one

and its line tells the medians, how near ours is to the limit (1: at it) and how many times faster than plain.
Photographs are scikit-image's, or those in the folder BSPA_DATA. Temporary files go where TMPDIR says.
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
from typing import Any

NAMES = {
    "imresize": "resizing",
    "crop_and_shards_write": "shards",
    "shard_read": "shards",
    "score": "scoring",
    "train_step_fsrcnn_x4": "training",
    "train_step_edsr_x4": "training",
    "train_step_rcan_x4": "training",
    "attribute": "training",
    "evaluate": "evaluating",
    "stage_overhead": "pipeline",
    "dag": "pipeline",
}
"""What can be measured, and the module whose function ``measure_NAME`` says how."""

HEADER = f"""\
| what | unit | limit | ours | plain | of limit | times plain | quartiles of ours | samples/s | MiB |
|---|---{"|--:" * 8}|"""


def measure(name: str, *, seconds: float, threads: int, tiny: bool) -> dict[str, Any]:
    """Measure one item, here and now."""
    import torch
    from measuring import compare
    from sizes import TINY, Bench

    from bspa.forecast.step_times import describe_device
    from bspa.models.precision import choose_precision
    from bspa.system.devices import choose_device, use_threads

    threads = use_threads(threads)
    device = choose_device("auto")
    set_up = getattr(importlib.import_module(NAMES[name]), f"measure_{name}")
    with tempfile.TemporaryDirectory(prefix="bspa-bench-") as folder:
        sizes = TINY if tiny else {}
        bench = Bench(folder=Path(folder), device=device, threads=threads, tiny=tiny, **sizes)
        result = compare(set_up(bench), seconds)
    return result | {
        "device": describe_device(device),
        "precision": choose_precision("auto", device).name,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "tiny": tiny,
    }


def line(name: str, result: dict[str, Any]) -> str:
    """A row of the table."""
    low, high = result["spread"]["ours"]
    cells = [
        name,
        f"{result['unit']} (limit: {result['limit_is']})",
        *(f"{result[way]:.4g}" for way in ("limit", "ours", "plain")),
        f"{result['ratio_limit']:.2f}",
        f"{result['ratio_plain']:.2f}",
        f"{low:.4g} - {high:.4g}",
        f"{result['samples_per_s']['ours']:.4g}",
        f"{result['peak_mib']:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [*NAMES]
    parser.add_argument(
        "--only", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names)
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all values there, too")
    parser.add_argument("--seconds", type=float, default=60, help="about how long to measure each item")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="to compute with; else all cores")
    parser.add_argument("--tiny", action="store_true", help="tests the bench itself: its numbers say nothing")
    arguments = parser.parse_args()
    results, failed = {}, []
    print(HEADER, flush=True)
    # A fresh process for each, so that no memory, threads or caches of another are in its numbers.
    with ProcessPoolExecutor(
        1, multiprocessing.get_context("spawn"), max_tasks_per_child=None if arguments.tiny else 1
    ) as pool:
        for name in arguments.only:
            task = pool.submit(
                measure, name, seconds=arguments.seconds, threads=arguments.threads, tiny=arguments.tiny
            )
            try:
                results[name] = task.result()
            except Exception:
                failed.append(name)
                traceback.print_exc()
                continue
            print(line(name, results[name]), flush=True)
            if arguments.json:
                arguments.json.write_text(json.dumps(results, indent=1) + "\n")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
