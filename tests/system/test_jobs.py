"""How jobs run: log lines, progress, signals, threads."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bspa.system.log import job_name
from bspa.system.parallel import map_in_order
from bspa.system.progress import Progress, duration

JOB = """
import logging, signal, sys
from pathlib import Path
from types import SimpleNamespace
from bspa.system.log import run_job

def main(snakemake):
    logging.getLogger("bspa").info("begun")
    {body}

run_job(main, SimpleNamespace(rule="train", wildcards={{"model": "a%b"}}, log=[sys.argv[1]]))
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
    assert "train a%b: begun" in log.read_text()
    assert "begun" not in ran.stderr
    assert ("Traceback" in ran.stderr) == ("ours" in last)


def test_a_job_is_named_by_its_rule_and_wildcards() -> None:
    wildcards = {"model": "edsr_mini", "scale": "4", "method": "bspa", "seed": "0", "cycle": "1"}
    assert job_name("train_uniform", wildcards) == "train_uniform edsr_mini x4 bspa seed 0 cycle 1"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00:00"), (59.6, "0:01:00"), (3600, "1:00:00"), (360_005, "100:00:05")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


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


def test_map_in_order_begins_few_ahead() -> None:
    lock, begun, taken = threading.Lock(), 0, 0

    def square(item: int) -> int:
        nonlocal begun
        with lock:
            begun += 1
        return item * item

    for result in map_in_order(square, range(40), threads=3):
        assert result == taken * taken
        assert begun - taken <= 2 * 3 + 1
        taken += 1
    assert taken == 40


def test_map_in_order_stops_at_an_error() -> None:
    begun: list[int] = []

    def fail(item: int) -> int:
        begun.append(item)
        if item == 5:
            raise ValueError("five")
        return item

    with pytest.raises(ValueError, match="five"):
        list(map_in_order(fail, range(1000), threads=2))
    assert len(begun) < 20
