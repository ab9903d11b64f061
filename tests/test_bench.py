"""The benches run, and write what they measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PARTS = ("imresize", "crop_and_shards_write", "shard_read", "score", "evaluate", "attribute")


def bench(root: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_tiny_run_measures_each_part(root: Path, tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    options = ["--tiny", "--seconds", "0.05", "--threads", "1", "--json", str(result), "--only"]
    done = bench(root, tmp_path, str(root / "bench/run.py"), *options, *PARTS, "train_step_fsrcnn_x4")
    assert done.returncode == 0, done.stderr[-3000:]
    values = json.loads(result.read_text())
    assert set(values) == {*PARTS, "train_step_fsrcnn_x4"}
    for part in values.values():
        assert part["ours"] > 0
        assert part["limit"] > 0
    assert "train_step_fsrcnn_x4" in done.stdout


@pytest.mark.parametrize("name", ["growth.py", "precision.py", "compare.py"])
def test_a_bench_explains_itself(root: Path, tmp_path: Path, name: str) -> None:
    done = bench(root, tmp_path, str(root / "bench" / name), "--help")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "usage:" in done.stdout
