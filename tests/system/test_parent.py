"""A job ends with the Snakemake that started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="only Linux says who runs under whom"
)

JOB = """
import sys, time
from pathlib import Path
from bspa.system.parent import end_with_workflow
end_with_workflow()
Path(sys.argv[1]).write_text("started")
time.sleep(60)
"""

# Starts the job through a shell, as Snakemake does, and waits; its name is what the job looks for.
STARTER = """#!{python}
import subprocess, sys
subprocess.run(["bash", "-c", '"$0" -c "$1" "$2"; true', sys.executable, sys.argv[1], sys.argv[2]])
"""

SAVING = """
import signal, sys, time
from pathlib import Path
def save(*_):
    Path(sys.argv[1]).write_text("saved")
    sys.exit(7)
signal.signal(signal.SIGTERM, save)
Path(sys.argv[1]).write_text("started")
time.sleep(60)
"""

# Waits for its jobs when it is told to stop, as Snakemake does; the job runs through a shell.
WAITING = """
import signal, subprocess, sys
from bspa.system.parent import pass_signals_on
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda *_: None)
pass_signals_on()
sys.exit(subprocess.run(["bash", "-c", '"$0" "$1" "$2"; exit $?', sys.executable, *sys.argv[1:]]).returncode)
"""


@pytest.mark.parametrize(("name", "ends"), [("snakemake", True), ("other", False)])
def test_a_job_ends_with_its_workflow(tmp_path: Path, name: str, ends: bool) -> None:
    starter, mark = tmp_path / name, tmp_path / "mark"
    starter.write_text(STARTER.format(python=sys.executable))
    starter.chmod(0o755)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    workflow = subprocess.Popen([starter, JOB, mark], env=environment, start_new_session=True)
    group = workflow.pid
    while not mark.exists():
        assert workflow.poll() is None
        time.sleep(0.05)
    workflow.kill()
    workflow.wait()
    deadline = time.monotonic() + (20 if ends else 3)
    while _alive(group) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert _alive(group) != ends
    if not ends:
        os.killpg(group, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_workflow_alone_reaches_its_jobs(tmp_path: Path, number: int) -> None:
    script = tmp_path / ".snakemake" / "scripts" / "tmp1.job.py"
    script.parent.mkdir(parents=True)
    script.write_text(SAVING)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", WAITING, script, tmp_path / "mark"]
    with subprocess.Popen(command, env=environment, start_new_session=True) as workflow:
        while not (tmp_path / "mark").exists():
            assert workflow.poll() is None
            time.sleep(0.05)
        workflow.send_signal(number)
        assert workflow.wait(20) == 7
    assert (tmp_path / "mark").read_text() == "saved"


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
