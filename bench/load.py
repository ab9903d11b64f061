"""Table 4 whole, with more jobs at a time than cores, several times: nothing hangs, leaks or differs.

    nice -n 10 python bench/load.py [--rounds 3] [--cores 8] [--json FILE]

Three networks at three scales with four recipes are 36 runs, as in configs/paper.yaml, of tiny networks and
stages on scikit-image's photographs. Each round starts Snakemake as users do, in a folder of its own. It
fails if no job ends for `PATIENCE` seconds, if anything is left behind (processes, entries of /dev/shm,
temporary files, hidden ones among the results, locks), or if a product is not what it was in the first round;
times do not count. Open files of Snakemake's process are counted while it runs: they must not grow.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from tabulate import tabulate

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 300.0
NETWORKS: dict[str, dict[str, Any]] = {
    "fsrcnn": {"d": 8, "s": 4, "m": 1},
    "edsr_baseline": {"blocks": 1, "channels": 8},
    "rcan": {"groups": 1, "blocks": 1, "channels": 8, "reduction": 4},
}
METHODS = ["baseline", "sampling_aug", "udn", "bspa"]
OTHER_TABLES = ("table1", "table2", "table3", "table5", "table6", "table7", "table8")
OTHER_FIGURES = ("figure3", "figure4", "figure5", "figure6", "figure7", "training", "attribution")
TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}(\.\w+)?|\..+\.\w{8}|tmp.*")
"""Names that `bspa.system.files` and Python give to what is not yet whole."""
TIMES = re.compile(r"second")


def configuration(networks: Sequence[str], scales: Sequence[int], methods: Sequence[str]) -> dict[str, Any]:
    """Return an overlay of Table 4 with tiny networks and stages."""
    return {
        "scales": [*scales],
        "sources": {
            "load_train": {"kind": "builtin", "photos": ["chelsea", "rocket"]},
            "load_test": {"kind": "builtin", "photos": ["coffee"]},
        },
        "data": {"train": "load_train", "validation": "load_test", "benchmarks": ["load_test"]},
        "sub_images": {
            f"x{scale}": {"size": 36, "step": 36, "threshold": 24} for scale in scales
        },
        "class_splits": {"default": {"classes": 4, "imbalance": 5}},
        "models": {
            **{name: {"arch": name.partition("_")[0], "options": NETWORKS[name]} for name in networks},
            "load_reference": {"arch": "msrresnet", "options": {"blocks": 1, "channels": 8}},
        },
        "reference": {"model": "load_reference"},
        "training": {"epochs": 3, "batch": 4, "repeat": 4, "validation": None},
        "methods": {
            "udn": {"uncertainty_epochs": 1},
            "bspa": {"uniform_epochs": 1, "inverse_epochs": 1, "attribution": {"beta": 0.5, "steps": 2}},
        },
        "tables": {**dict.fromkeys(OTHER_TABLES), "table4": {"models": [*networks], "methods": [*methods]}},
        "figures": dict.fromkeys(OTHER_FIGURES),
        "compute": {"device": "cpu", "precision": "float32", "threads": 1},
    }  # fmt: skip


def run_round(folder: Path, config: dict[str, Any], cores: int) -> dict[str, Any]:
    """Make Table 4 in ``folder``; return what it took, and what it left behind.

    Raises:
        RuntimeError: the workflow failed, or no job ended for `PATIENCE` seconds; with the end of its output.
    """
    (folder / "tmp").mkdir(parents=True)
    overlay, output = folder / "load.yaml", folder / "output.txt"
    overlay.write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "snakemake", "results/tables/table4.csv", "--cores", cores]
    command += ["--resources", f"gpu={cores}", "--snakefile", ROOT / "Snakefile", "--configfile", overlay]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder / "tmp")}
    shared, started = _shared_memory(), time.monotonic()
    with output.open("w") as log:
        master = subprocess.Popen(
            [*map(str, command)], cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
    seen = _watch(master, output)
    seconds, text = time.monotonic() - started, output.read_text()
    if master.returncode:
        raise RuntimeError(f"the workflow ended with {master.returncode}:\n{text[-3000:]}")
    return {
        "seconds": seconds,
        "jobs": int(re.findall(r"^(\d+) of \1 steps", text, re.MULTILINE)[-1]),
        **seen,
        "left": {
            "processes": _session(master.pid),
            "shared memory": [*_unused(_shared_memory() - shared)],
            "temporary files": sorted(str(file) for file in (folder / "tmp").rglob("*") if file.is_file()),
            "hidden files": unfinished(folder / "results"),
            "locks": held_locks(folder),
        },
        "products": digest_products(folder / "results"),
    }


def _watch(master: subprocess.Popen[bytes], output: Path) -> dict[str, Any]:
    """Wait for the end; return the most processes at a time, and the master's open files early and late."""
    size, changed, processes, files = 0, time.monotonic(), 0, []
    while master.poll() is None:
        processes = max(processes, len(_session(master.pid)))
        try:
            files.append(len(list(Path(f"/proc/{master.pid}/fd").iterdir())))
        except OSError:  # it has just ended
            break
        if (now := output.stat().st_size) != size:
            size, changed = now, time.monotonic()
        if time.monotonic() - changed > PATIENCE:
            os.killpg(master.pid, signal.SIGKILL)
            raise RuntimeError(f"nothing ended for {PATIENCE:.0f} s:\n{output.read_text()[-3000:]}")
        time.sleep(1)
    master.wait()
    half = len(files) // 2
    return {
        "processes": processes,
        "open_files": {"first half": max(files[:half] or [0]), "second half": max(files[half:] or [0])},
    }


def _session(leader: int) -> list[str]:
    """List the processes of a session, and those that name a job of it."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, fields = stat.read_text().rpartition(")")[::2]
        except OSError:
            continue
        if int(fields.split()[3]) == leader and fields.split()[0] != "Z":
            found.append(f"{name})")
    return found


def _shared_memory() -> set[str]:
    return {str(file) for file in Path("/dev/shm").rglob("*")}


def _unused(files: set[str]) -> Iterator[str]:
    """Name the files that no living process maps: those of other programs are no leak of ours."""
    mapped: set[str] = set()
    for maps in Path("/proc").glob("[0-9]*/maps"):
        with contextlib.suppress(OSError):  # a process that has just ended
            # By inode: the C library maps a semaphore before it gets its name.
            mapped |= {line.split()[4] for line in maps.read_text().splitlines() if "/dev/shm/" in line}
    for file in sorted(files):
        with contextlib.suppress(FileNotFoundError):
            if str(Path(file).stat().st_ino) not in mapped:
                yield file


def unfinished(results: Path) -> list[str]:
    """List files and folders of the results that have a temporary name."""
    names = [path for path in results.rglob("*") if TEMPORARY.fullmatch(path.name)]
    return sorted(str(path.relative_to(results)) for path in names)


def held_locks(folder: Path) -> list[str]:
    """List the files below ``folder`` that a process holds a lock on, and the locks that Snakemake left."""
    held = {line.split()[5].rpartition(":")[2] for line in Path("/proc/locks").read_text().splitlines()}
    files = [file for file in folder.rglob("*") if file.is_file()]
    locked = [file for file in files if str(file.stat().st_ino) in held and _same_device(file)]
    left = (folder / ".snakemake").glob("locks/*")
    return sorted(str(file.relative_to(folder)) for file in {*locked, *left})


def _same_device(file: Path) -> bool:
    device = file.stat().st_dev
    place = f"{os.major(device):02x}:{os.minor(device):02x}:{file.stat().st_ino} "
    return place in Path("/proc/locks").read_text()


def digest_products(results: Path) -> dict[str, str]:
    """Digest every product by its path: its bytes, but for columns and fields of times."""
    return {
        str(file.relative_to(results)): hashlib.sha256(_timeless(file)).hexdigest()
        for file in sorted(results.rglob("*"))
        if file.is_file() and _is_product(file.relative_to(results))
    }


def _is_product(file: Path) -> bool:
    """Whether a file is made by a rule, in a form without times: pages repeat what the CSV holds."""
    return (
        file.parts[0] not in ("logs", "benchmarks", "provenance.json")
        and file.suffix not in (".md", ".tex", ".html")
        and not any(part.startswith(".") for part in file.parts)
    )


def _timeless(file: Path) -> bytes:
    if file.suffix == ".csv":
        table = pd.read_csv(io.BytesIO(file.read_bytes()), dtype=str, keep_default_na=False)
        return table.drop(columns=table.filter(regex=TIMES).columns).to_csv().encode()
    if file.suffix == ".json":
        content = json.loads(file.read_text(encoding="utf-8"))
        return json.dumps({name: value for name, value in content.items() if not TIMES.search(name)}).encode()
    return file.read_bytes()


def judge(rounds: Sequence[dict[str, Any]]) -> list[str]:
    """Say what is wrong with the rounds."""
    wrong = []
    for number, found in enumerate(rounds, 1):
        wrong += [f"round {number} left {what}: {names}" for what, names in found["left"].items() if names]
        if found["open_files"]["second half"] > found["open_files"]["first half"] + 16:
            wrong.append(f"round {number}: open files grow: {found['open_files']}")
        first = rounds[0]["products"]
        others = found["products"]
        different = [name for name in first | others if first.get(name) != others.get(name)]
        if different:
            wrong.append(f"round {number}: {len(different)} products differ from the first: {different[:8]}")
    return wrong


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all values to it")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cores", type=int, default=8, help="jobs of one thread at a time")
    parser.add_argument("--tiny", action="store_true", help="test the bench itself: one run")
    chosen = parser.parse_args(arguments)
    config = configuration([*NETWORKS], [2, 3, 4], METHODS)
    if chosen.tiny:
        config = configuration(["fsrcnn"], [4], ["baseline"])
    rounds: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="bspa-bench-") as folder:
        for number in range(1, chosen.rounds + 1):
            rounds.append(run_round(Path(folder, str(number), "project"), config, chosen.cores))
            print(f"round {number}: {rounds[-1]['seconds']:.0f} s", file=sys.stderr, flush=True)
            if chosen.json:
                chosen.json.write_text(json.dumps(rounds, indent=1) + "\n")
    rows = [
        [
            number, found["jobs"], f"{found['seconds']:.0f}", found["processes"],
            " to ".join(map(str, found["open_files"].values())), len(found["products"]),
            sum(map(len, found["left"].values())),
        ]
        for number, found in enumerate(rounds, 1)
    ]  # fmt: skip
    head = ["round", "jobs", "seconds", "processes", "open files", "products", "left behind"]
    print(tabulate(rows, head, tablefmt="pipe"))
    wrong = judge(rounds)
    print("\n".join(wrong) or "nothing is left behind; all rounds made the same")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
