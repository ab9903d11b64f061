"""Snakemake whose jobs are forked from a process that has loaded the libraries, which saves seconds a job.

    python -P tests/support/preloaded.py ARGUMENTS_OF_SNAKEMAKE

Each job still runs its own script, in a process of its own, with the code that PYTHONPATH names.
"""

from __future__ import annotations

import multiprocessing
import runpy
import subprocess
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from snakemake.cli import main
from snakemake.scheduling.job_scheduler import JobScheduler
from snakemake.script import PythonScript

LIBRARIES = (
    "torch", "h5py", "matplotlib.backends.backend_agg", "pandas", "PIL.Image", "safetensors.torch",
    "scipy.special", "skimage.metrics",
)  # fmt: skip
FORKS = multiprocessing.get_context("forkserver")


def run(script: str) -> None:
    runpy.run_path(script, run_name="__main__")


def execute_script(self: Any, fname: str, edit: bool = False) -> None:
    """Take the place of Snakemake's method, which starts a Python for each job."""
    if self.bench_record:
        self.bench_record.running_time = 0.0  # Snakemake measures a process that it starts itself
    with ProcessPoolExecutor(1, FORKS) as pool:
        try:
            pool.submit(run, fname).result()
        except BaseException as error:
            raise subprocess.CalledProcessError(1, fname) from error


def wait_for_jobs(self: Any, delay: float) -> None:
    """Take the place of Snakemake's method, which wakes it each second for each job that it started."""


if __name__ == "__main__":
    FORKS.set_forkserver_preload(["__main__", *LIBRARIES])
    PythonScript.execute_script = execute_script
    JobScheduler._schedule_reevalutation = wait_for_jobs
    main()
