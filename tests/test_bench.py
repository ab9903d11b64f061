"""The benches run, measure what they say, and write it."""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from filelock import FileLock
from snakemake.utils import update_config

from bspa.config.load import load_config
from bspa.sampling.uniform import UniformSampler

PARTS = (
    "imresize", "digests", "crop_and_shards_write", "shard_read", "score", "evaluate", "upscale", "attribute",
    "validation",
    "train_step_fsrcnn_x4",
)  # fmt: skip
Load = Callable[[str], ModuleType]


@pytest.fixture
def load(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Import modules of bench/, and forget them after the test."""
    monkeypatch.delenv("BSPA_DATA", raising=False)
    monkeypatch.syspath_prepend(str(root / "bench"))
    names = [file.stem for file in (root / "bench").glob("*.py")]
    yield importlib.import_module
    for name in names:
        sys.modules.pop(name, None)


@pytest.fixture
def bench(load: Load, tmp_path: Path) -> Any:
    setting = load("setting")
    return setting.Bench(folder=tmp_path, device=torch.device("cpu"), threads=1, **setting.TINY)


def test_a_tiny_run_measures_each_part(root: Path, tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    options = ["--tiny", "--seconds", "0.05", "--threads", "1", "--json", str(result), "--only", *PARTS]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(root / "bench/run.py"), *options]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    values = json.loads(result.read_text())
    assert set(values) == set(PARTS)
    for name, part in values.items():
        assert f"| {name} " in done.stdout
        assert part["unit"].startswith("ms per ")
        assert part["rounds"] >= 3
        assert min(part["ours"], part["limit"], part["peak_mib"]) > 0
        assert part["ratio_limit"] == pytest.approx(part["limit"] / part["ours"])
        assert part["medians"][part["limit_is"]] == part["limit"]


def test_contestants_take_turns_and_the_fastest_bare_work_is_the_limit(load: Load) -> None:
    measuring = load("measuring")
    order: list[str] = []

    def takes(name: str, *seconds: float) -> Any:
        left = list(seconds)

        def contestant(number: int) -> Any:
            order.append(name)
            return measuring.Measured(2 * (left.pop(0) if len(left) > 1 else left[0]), 2, len(order))

        return contestant

    item = measuring.Item(
        unit="thing",
        limits={"slow": takes("slow", 0.3), "fast": takes("fast", 0.2)},
        ours=takes("ours", 9, 9, 0.4, 0.3, 0.5, 0.4, 0.4, 9, 0.1),  # two turns of warming up, then seven
        facts=lambda result: {"twice": 2 * result["ours"]},
    )
    result = measuring.compare(item, seconds=1.0)
    assert order[6:] == ["slow", "fast", "ours"] * 7
    assert (result["limit"], result["limit_is"]) == (200, "fast")
    assert (result["ours"], result["twice"], result["ratio_limit"]) == (400, 800, 0.5)
    assert result["peak_mib"] == 6 + 7 * 3


def test_a_program_that_fails_is_shown(load: Load, tmp_path: Path) -> None:
    run_process = load("measuring").run_process
    assert run_process([sys.executable, "-c", "print(1)"], folder=tmp_path).units == 1
    with pytest.raises(RuntimeError, match=r"(?s)failed.*no such thing"):
        run_process([sys.executable, "-c", "raise SystemExit('no such thing')"], folder=tmp_path)


@pytest.mark.parametrize("old", ["an old one", "this one"])
def test_two_checkouts_are_compared_in_turns(
    load: Load, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], old: str,
) -> None:  # fmt: skip
    compare = load("compare")
    checkout = tmp_path if old == "an old one" else compare.HERE
    turns: list[Path] = []

    def measure(of: Path, part: str, arguments: list[str]) -> dict[str, float]:
        turns.append(of)
        return {"ours": 100.0 if of == tmp_path else 110.0, "limit": 50.0}

    monkeypatch.setattr(compare, "measure", measure)
    compare.main([str(checkout), "--only", "dag", "--rounds", "2"])
    row = [cell.strip() for cell in capsys.readouterr().out.splitlines()[-1].strip("| ").split("|")]
    if old == "an old one":
        assert turns == [compare.HERE, tmp_path, tmp_path, compare.HERE]
        assert row == ["dag", "100", "110", "1.1", "1", "1.100 to 1.100"]
    else:
        assert row == ["dag", "110", "110", "1", "1", "1.000 to 1.000"]


def test_photographs_have_the_size_and_differ_by_seed(load: Load) -> None:
    make_photograph = load("setting").make_photograph
    source = np.random.default_rng(0).integers(100, 151, (40, 50, 3), np.uint8)
    one, again, other = (make_photograph(source, (64, 120), seed) for seed in (0, 0, 1))
    assert (one.shape, one.dtype, one.min(), one.max()) == ((64, 120, 3), np.uint8, 98, 152)
    np.testing.assert_array_equal(one, again)
    assert (one != other).mean() > 0.5


def test_the_config_of_short_stages_is_accepted(load: Load, bench: Any, root: Path) -> None:
    target, overlay = load("pipeline").write_config(bench)
    values = yaml.safe_load((root / "config.yaml").read_text())
    update_config(values, yaml.safe_load(overlay.read_text()))
    load_config(values, [str(overlay)])
    assert target == "results/shards/bench_train/x4/default"


def test_growth_runs_each_script_and_leaves_signals_alone(load: Load, bench: Any) -> None:
    growth = load("growth")
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    growth.prepare(bench, 8)
    records = []
    for name, part in growth.list_parts(bench, 8).items():
        record = growth.do_part(part, bench)
        assert record["bytes"] > 0
        records.append({"number": 16, "part": name, "us_each": record["seconds"], **record})
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == handlers
    lines = growth.lay_out(records).splitlines()[2:]
    assert [line.split("|")[1].strip() for line in lines] == [record["part"] for record in records]


def test_other_rounding_is_the_same_batch_in_reverse(load: Load, bench: Any) -> None:
    setting = load("setting")
    images = setting.pack(setting.training_files(tiny=True), bench.folder / "images.h5")
    plain = UniformSampler(images, patch=16, batch=5, seed=3).batch(7)
    other = load("precision").Reversed(images, patch=16, batch=5, seed=3).batch(7)
    for ours, theirs in zip(other, plain, strict=True):
        np.testing.assert_array_equal(ours, theirs[::-1])


def test_ways_of_training_differ_in_rounding_alone(load: Load, bench: Any) -> None:
    precision, setting = load("precision"), load("setting")
    images = setting.pack(setting.training_files(tiny=True), bench.folder / "images.h5")
    network = precision.Network("edsr", {"blocks": 1, "channels": 4}, 20)
    where = {"images": images, "test": images, "folder": bench.folder, "device": bench.device}
    exact, again, other = (
        precision.train_and_score(network, way, 0, **where)
        for way in ("float32", "float32", "float32, other rounding")
    )
    assert exact == again
    assert abs(other["last"] - exact["last"]) < 1e-3, (exact, other)


def test_precision_reports_differences_by_seed_and_their_mean(load: Load) -> None:
    precision = load("precision")
    records = [
        {"network": "tiny", "seed": seed, "way": way, "average": 20 + seed + more, "last": 21 + seed}
        for seed in (0, 1)
        for way, more in zip(precision.WAYS, (0, 0.25, -0.5 * seed), strict=True)
    ]
    lines = precision.lay_out(records).splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert rows[0] == ["tiny", "0", "20.000", "+0.250 (+0.000)", "+0.000 (+0.000)"]
    assert rows[1] == ["tiny", "1", "21.000", "+0.250 (+0.000)", "-0.500 (+0.000)"]
    assert rows[2] == ["tiny", "mean", "", "+0.250 (+0.000)", "-0.250 (+0.000)"]


def test_load_finds_what_is_left_and_what_differs_but_for_times(load: Load, tmp_path: Path) -> None:
    bench_load = load("load")
    results = tmp_path / "results"
    for name in ("training/uniform.csv", "models/a.json", "logs/a.log", ".a.csv.sha256", "x4.h5"):
        (results / name).parent.mkdir(parents=True, exist_ok=True)
        (results / name).write_text("{}" if name.endswith("json") else "")
    journal, summary = results / "training/uniform.csv", results / "models/a.json"

    def write(loss: float, seconds: float) -> dict[str, str]:
        journal.write_text(f"step,loss,samples_per_second\n1,{loss},{seconds}\n")
        summary.write_text(json.dumps({"steps": 1, "device_seconds": seconds}))
        return bench_load.digest_products(results)

    first = write(0.5, 1.0)
    assert first.keys() == {"training/uniform.csv", "models/a.json", "x4.h5"}
    assert write(0.5, 2.0) == first
    other = write(0.25, 2.0)
    files = {"first half": 9, "second half": 9}
    rounds = [{"left": {"locks": []}, "open_files": files, "products": found} for found in (first, other)]
    (wrong,) = bench_load.judge(rounds)
    assert "1 products differ from the first: ['training/uniform.csv']" in wrong
    rounds[1] |= {
        "products": first,
        "left": {"locks": ["a.lock"]},
        "open_files": {**files, "second half": 90},
    }
    assert len(bench_load.judge(rounds)) == 2
    assert bench_load.unfinished(results) == []
    for name in (".uniform.0123abcd.csv", ".shards.a1b2c3d4"):
        (results / name).write_text("")
    assert bench_load.unfinished(results) == [".shards.a1b2c3d4", ".uniform.0123abcd.csv"]
    (results / "a.lock").touch()
    assert bench_load.held_locks(tmp_path) == []
    with FileLock(results / "a.lock"):
        assert bench_load.held_locks(tmp_path) == ["results/a.lock"]
    semaphore, orphan = multiprocessing.get_context("spawn").Semaphore(), Path("/dev/shm", tmp_path.name)
    orphan.touch()
    try:
        files = {
            str(file) for file in Path("/dev/shm").iterdir() if file.name.startswith(("sem.mp", orphan.name))
        }
        assert len(files) > 1, semaphore
        assert str(orphan) in [*bench_load._unused(files)]
        assert f"/dev/shm/sem.{semaphore._semlock.name.strip('/')}" not in [*bench_load._unused(files)]
    finally:
        orphan.unlink()
