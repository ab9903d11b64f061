"""What Snakemake and processes cost: splitting a run into stages, and planning the paper's whole DAG."""

from __future__ import annotations

import math
import re
import shutil
import statistics
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from measuring import Item, Measured, run_process
from photographs import TEST, TRAIN, pack, training_files, write_training_pngs
from sizes import SCALE, Bench
from training import PAPER_STAGE, PNG_SIDE

from bspa.models.weights import save_weights

ROOT = Path(__file__).resolve().parents[1]
STAGES = 4
BATCH = 16
CHAIN = 20


def snakemake(bench: Bench, *arguments: str | Path, snakefile: Path = ROOT / "Snakefile") -> Measured:
    """Run Snakemake in the bench's folder."""
    command: list[object] = [sys.executable, "-m", "snakemake", "--cores", bench.threads]
    return run_process([*command, "--snakefile", snakefile, *arguments], folder=bench.folder)


def measure_stage_overhead(bench: Bench) -> Item:
    """FSRCNN in four stages, as `alternating` trains it, against one; plain: processes with torch.save.

    Measured on short stages. From the time of a step, and what a stage takes beside its steps, follows the
    time of a stage of the paper's 2,500.
    """
    target, overlay, steps = _workflow(bench)
    run = "results/training/fsrcnn_x4_{method}_seed0/cycle{cycle}/{stage}"
    one = run.format(method="baseline", cycle=1, stage="uniform")
    last = run.format(method="alternating", cycle=2, stage="inverse")
    snakemake(bench, target, "--configfile", overlay)  # what comes before training
    images = pack(training_files(bench), bench.folder / "photographs.h5")
    pngs = bench.folder / "pngs"
    write_training_pngs(pngs, images, side=PNG_SIDE)
    step_seconds: dict[str, list[float]] = {"ours": [], "plain": []}

    def stages(last_stage: str) -> Measured:
        for made in ("training", ".state"):
            shutil.rmtree(bench.folder / "results" / made, ignore_errors=True)
        return snakemake(bench, f"{last_stage}.safetensors", "--configfile", overlay)

    def uninterrupted(number: int) -> Measured:
        measured = stages(one)
        rows = pd.read_csv(bench.folder / f"{one}.csv")
        seconds, taken = (rows[name].iloc[-1] - rows[name].iloc[0] for name in ("device_seconds", "step"))
        step_seconds["ours"].append(seconds / taken)
        return measured

    def toolbox(number: int) -> Measured:
        checkpoint = bench.folder / "checkpoint.pth"
        checkpoint.unlink(missing_ok=True)
        program: list[object] = [sys.executable, Path(__file__).with_name("toolbox.py"), pngs]
        turns = []
        for _ in range(STAGES):
            arguments = map(str, (bench.patch, steps, checkpoint, bench.threads))
            turns.append(run_process([*program, *arguments], folder=bench.folder))
            step_seconds["plain"].append(float((bench.folder / "output.txt").read_text().split()[-1]))
        return Measured(sum(turn.seconds for turn in turns), 1, max(turn.peak_mib for turn in turns))

    def at_the_papers_length(result: Mapping[str, Any]) -> dict[str, Any]:
        median, spread = result["medians"], result["spread"]
        step = {way: 1000 * statistics.median(seconds) for way, seconds in step_seconds.items()}

        def beside_the_steps(way: str, ms: float) -> float:
            if way == "ours":
                return (ms - median["in one stage"]) / (STAGES - 1)
            return ms / STAGES - steps * step[way]

        def stage(way: str, ms: float) -> float:
            return PAPER_STAGE.steps * step[way] + beside_the_steps(way, ms)

        return {
            "limit": PAPER_STAGE.steps * step["ours"],
            **{way: stage(way, median[way]) for way in step},
            "unit": f"ms per stage of {PAPER_STAGE.steps} steps, from stages of {steps}",
            "spread": {way: [stage(way, ms) for ms in spread[way]] for way in step},
            "ms_beside_the_steps": {way: beside_the_steps(way, median[way]) for way in step},
            "ms_of_a_step": step,
        }

    return Item(
        unit=f"{STAGES} stages of {steps} steps",
        samples=STAGES * steps * BATCH,
        limits={"in one stage": uninterrupted},
        ours=lambda number: stages(last),
        plain=toolbox,
        facts=at_the_papers_length,
        warm_up=False,
    )


def _workflow(bench: Bench) -> tuple[str, Path, int]:
    """Write a config of stages of ``bench.stage_steps``; return what they need, its path and the steps."""
    reference = bench.folder / "msrresnet.safetensors"
    arch, options = bench.networks["msrresnet"]
    save_weights(reference, bench.build("msrresnet").state_dict(), {})
    repeat = max(1, bench.stage_steps * BATCH // len(TRAIN))
    config = {
        "scales": [SCALE],
        "sources": {
            "bench_train": {"kind": "builtin", "photos": TRAIN},
            "bench_test": {"kind": "builtin", "photos": TEST},
        },
        "data": {"train": "bench_train", "validation": "bench_test", "benchmarks": ["bench_test"]},
        "sub_images": {f"x{SCALE}": {"size": bench.patch, "step": bench.step, "threshold": bench.threshold}},
        "models": {"bench_reference": {"arch": arch, "label": "reference", "options": options}},
        "reference": {"model": "bench_reference", "weights": {f"x{SCALE}": {"file": str(reference)}}},
        "training": {"epochs": STAGES, "batch": BATCH, "repeat": repeat, "learning_rate": 2.0e-4},
        "methods": {"alternating": {"uniform_epochs": 1, "inverse_epochs": 1}},
    }
    overlay = bench.folder / "stages.yaml"
    overlay.write_text(yaml.safe_dump(config))
    return f"results/shards/bench_train/x{SCALE}/default", overlay, math.ceil(len(TRAIN) * repeat / BATCH)


def measure_dag(bench: Bench) -> Item:
    """`snakemake -n` on configs/paper.yaml, against as many bare jobs in chains; plain: a rule for each."""
    config = ROOT / "configs" / "paper.yaml"
    snakemake(bench, "-n", "--configfile", config)
    jobs = int(re.findall(r"^total +(\d+)", (bench.folder / "output.txt").read_text(), re.MULTILINE)[-1])
    chains = max(1, jobs // CHAIN)
    ends = f'rule all:\n    input: [f"chain{{c}}/{CHAIN}" for c in range({chains})]\n'
    by_one_rule, written_out = bench.folder / "bare.smk", bench.folder / "written_out.smk"
    by_one_rule.write_text(
        f"{ends}rule job:\n"
        '    input: lambda w: f"chain{w.c}/{int(w.i) - 1}" if int(w.i) > 1 else []\n'
        '    output: touch("chain{c}/{i}")\n'
    )
    rules = (
        f"rule job_{c}_{i}:\n"
        + (f'    input: "chain{c}/{i - 1}"\n' if i > 1 else "")
        + f'    output: touch("chain{c}/{i}")\n'
        for c in range(chains)
        for i in range(1, CHAIN + 1)
    )
    written_out.write_text(ends + "".join(rules))
    return Item(
        unit="dry run",
        samples=jobs,
        limits={"bare jobs of one rule": lambda number: snakemake(bench, "-n", snakefile=by_one_rule)},
        ours=lambda number: snakemake(bench, "-n", "--configfile", config),
        plain=lambda number: snakemake(bench, "-n", snakefile=written_out),
        facts=lambda result: {"jobs": jobs},
        warm_up=False,
    )
