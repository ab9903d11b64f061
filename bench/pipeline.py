"""What Snakemake and processes cost: splitting a run into stages, and planning the paper's whole DAG."""

from __future__ import annotations

import re
import shutil
import sys
from functools import partial
from pathlib import Path

import yaml
from measuring import Item, Measured, run_process
from setting import SCALE, TEST, TRAIN, Bench

from bspa.models.weights import save_weights

ROOT = Path(__file__).resolve().parents[1]
STAGES, BATCH, CHAIN = 4, 16, 20


def snakemake(bench: Bench, *arguments: str | Path, snakefile: Path = ROOT / "Snakefile") -> Measured:
    """Run Snakemake in the bench's folder."""
    command: list[object] = [sys.executable, "-m", "snakemake", "--cores", bench.threads]
    return run_process([*command, "--snakefile", snakefile, *arguments], folder=bench.folder)


def measure_stage_overhead(bench: Bench) -> Item:
    """FSRCNN in four short stages, as `alternating` trains it, against as many steps in one."""
    target, overlay = write_config(bench)
    run = "results/training/fsrcnn_x4_{}_seed0/cycle{}/{}.safetensors"
    one, last = run.format("baseline", 1, "uniform"), run.format("alternating", 2, "inverse")
    snakemake(bench, target, "--configfile", overlay)  # what comes before training

    def train(number: int, last_stage: str) -> Measured:
        shutil.rmtree(bench.folder / "results" / "training", ignore_errors=True)
        return snakemake(bench, last_stage, "--configfile", overlay)

    return Item(
        unit=f"{STAGES} stages of {bench.stage_steps} steps", warm_up=False,
        limits={"in one stage": partial(train, last_stage=one)}, ours=partial(train, last_stage=last),
        facts=lambda result: {"ms_beside_the_steps": (result["ours"] - result["limit"]) / (STAGES - 1)},
    )  # fmt: skip


def write_config(bench: Bench) -> tuple[str, Path]:
    """Write a config of short stages; return the target that training needs, and the config's path."""
    reference = bench.folder / "msrresnet.safetensors"
    save_weights(reference, bench.build("msrresnet").state_dict(), {})
    repeat = max(1, bench.stage_steps * BATCH // len(TRAIN))
    config = {
        "scales": [SCALE],
        "sources": {
            "bench_train": {"kind": "builtin", "photos": TRAIN},
            "bench_test": {"kind": "builtin", "photos": TEST},
        },
        "data": {"train": "bench_train", "validation": "bench_test", "benchmarks": ["bench_test"]},
        "sub_images": {f"x{SCALE}": bench.grid},
        "models": {"bench_reference": {"arch": "msrresnet", "options": bench.networks["msrresnet"]}},
        "reference": {"model": "bench_reference", "weights": {f"x{SCALE}": {"file": str(reference)}}},
        "training": {"epochs": STAGES, "batch": BATCH, "repeat": repeat, "learning_rate": 2.0e-4},
        "methods": {"alternating": {"uniform_epochs": 1, "inverse_epochs": 1}},
    }
    overlay = bench.folder / "stages.yaml"
    overlay.write_text(yaml.safe_dump(config))
    return f"results/shards/bench_train/x{SCALE}/default", overlay


def measure_dag(bench: Bench) -> Item:
    """`snakemake -n` on configs/paper.yaml, against as many bare jobs of one rule, in chains."""
    config = ROOT / "configs" / "paper.yaml"
    snakemake(bench, "-n", "--configfile", config)
    output = (bench.folder / "output.txt").read_text()
    jobs = int(re.findall(r"^total +(\d+)", output, re.MULTILINE)[-1])
    bare = bench.folder / "bare.smk"
    bare.write_text(
        f'rule all:\n    input: [f"chain{{c}}/{CHAIN}" for c in range({max(1, jobs // CHAIN)})]\n'
        "rule job:\n"
        '    input: lambda w: f"chain{w.c}/{int(w.i) - 1}" if int(w.i) > 1 else []\n'
        '    output: touch("chain{c}/{i}")\n'
    )
    return Item(
        unit="dry run",
        limits={"bare jobs of one rule": lambda number: snakemake(bench, "-n", snakefile=bare)},
        ours=lambda number: snakemake(bench, "-n", "--configfile", config),
        facts=lambda result: {"jobs": jobs},
        warm_up=False,
    )
