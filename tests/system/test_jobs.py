"""How jobs run: log lines, progress, signals, threads."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bspa.system.parallel import map_in_order
from bspa.system.progress import Progress

JOB = """
import logging, signal, sys
from pathlib import Path
from types import SimpleNamespace
from bspa.system.log import run_job

def main(snakemake):
    logging.getLogger("bspa").info("begun")
    {body}

wildcards = {{"model": "a%b", "scale": "4", "seed": "0"}}
run_job(main, SimpleNamespace(rule="train", wildcards=wildcards, log=[sys.argv[1]], input=[], output=[],
    params={{}}))
"""


@pytest.mark.parametrize(
    ("body", "status", "last"),
    [
        ("", 0, "begun"),
        ("raise ValueError('beta: 2')", 1, "error: beta: 2"),
        ("raise OSError('no room')", 1, "error: no room"),
        ("raise KeyError('ours')", 1, "KeyError: 'ours'"),
        ("signal.raise_signal(signal.SIGTERM)", 128 + signal.SIGTERM, "stopped by SIGTERM"),
        ("signal.raise_signal(signal.SIGINT)", 128 + signal.SIGINT, "stopped by SIGINT"),
    ],
)
def test_a_job_ends_with_a_status_and_a_line(tmp_path: Path, body: str, status: int, last: str) -> None:
    log = tmp_path / "logs" / "job.log"
    command = [sys.executable, "-c", JOB.format(body=body), str(log)]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == status
    assert log.read_text().splitlines()[-1].endswith(last)
    assert "train a%b x4 seed 0: begun" in log.read_text()
    assert "begun" not in ran.stderr
    assert ("Traceback" in ran.stderr) == ("ours" in last)


def test_progress_counts_from_its_start(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = iter([100.0, 105.0, 110.0, 112.0, 150.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    progress = Progress("steps", 100, start=50)
    with caplog.at_level(logging.INFO, "bspa"):
        for done in (55, 60, 62, 100):
            progress.report(done, extra="loss 1" if done == 60 else "")
    assert caplog.messages == [
        "steps: 60/100, 1.0/s, 0:00:40 left, loss 1",
        "steps: 100/100, 1.0/s, took 0:00:50",
    ]


def test_map_in_order_begins_few_ahead_and_stops_at_an_error() -> None:
    lock, begun = threading.Lock(), 0

    def square(item: int) -> int:
        nonlocal begun
        with lock:
            begun += 1
        if item == 30:
            raise ValueError("thirty")
        return item * item

    results = map_in_order(square, range(1000), threads=3)
    for taken in range(30):
        assert next(results) == taken * taken
        assert begun - taken <= 2 * 3 + 1
    with pytest.raises(ValueError, match="thirty"):
        next(results)
    assert begun <= 30 + 2 * 3 + 1
