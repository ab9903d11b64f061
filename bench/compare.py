"""Time of another checkout of this repository and of this one, in turns.

    python bench/compare.py OLD_CHECKOUT [--only NAME ...] [--rounds N] [--seconds S]

Each round runs each part with each checkout's own bench/run.py. A ratio is new / old within a round: 1.03 is
3 % slower. `limit` is the ratio of the bare work, which shows what the machine and the networks do to both.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from run import add_parts, bench_parser
from tabulate import tabulate

PARTS = ["train_step_fsrcnn_x4", "train_step_edsr_x4", "train_step_rcan_x4", "score", "stage_overhead", "dag"]
HERE = Path(__file__).resolve().parents[1]


def measure(checkout: Path, part: str, arguments: Sequence[str]) -> dict[str, float]:
    """Run a part of a checkout's bench; return the milliseconds of ``ours`` and ``limit``.

    Raises:
        RuntimeError: it failed; with the end of its output.
    """
    with tempfile.TemporaryDirectory(prefix="bspa-bench-") as folder:
        result = Path(folder) / "result.json"
        bench = [sys.executable, str(checkout / "bench" / "run.py"), "--only", part, "--json", str(result)]
        environment = {**os.environ, "PYTHONPATH": str(checkout)}
        ran = subprocess.run(
            [*bench, *arguments], env=environment, cwd=folder, capture_output=True, text=True
        )
        if ran.returncode:
            raise RuntimeError(f"{part} of {checkout} failed:\n{ran.stderr[-2000:]}")
        values = json.loads(result.read_text())[part]
    # As measured: before 0.5, `ours` of stage_overhead was extrapolated to stages of 2,500 steps.
    return {"ours": values["medians"]["ours"], "limit": values["medians"][values["limit_is"]]}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = bench_parser(__doc__)
    parser.add_argument("old", type=Path, metavar="OLD_CHECKOUT")
    add_parts(parser, PARTS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10, help="about how long a part takes in a turn")
    chosen = parser.parse_args(arguments)
    more = ["--seconds", str(chosen.seconds), "--threads", str(chosen.threads), *["--tiny"] * chosen.tiny]
    rows = []
    for part in chosen.only:
        pairs = []
        for number in range(chosen.rounds):
            order = 1 if number % 2 else -1
            turns = [measure(checkout, part, more) for checkout in (chosen.old.resolve(), HERE)[::order]]
            pairs.append(turns[::order])
        times = [f"{statistics.median(turn['ours'] for turn in one):.4g}" for one in zip(*pairs, strict=True)]
        ratios = {way: sorted(new[way] / old[way] for old, new in pairs) for way in ("ours", "limit")}
        medians = [f"{statistics.median(values):.3f}" for values in ratios.values()]
        rows.append([part, *times, *medians, f"{ratios['ours'][0]:.3f} to {ratios['ours'][-1]:.3f}"])
        print(*rows[-1], file=sys.stderr, flush=True)
    print(tabulate(rows, ["part", "old ms", "new ms", "new / old", "limit", "range"], tablefmt="pipe"))


if __name__ == "__main__":
    main()
