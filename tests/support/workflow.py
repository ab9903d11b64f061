"""Running the workflow for real, on a copy of the checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from snakemake.utils import update_config

from bspa.config.contents import Contents
from bspa.config.load import load_config
from bspa.config.plan import Plan

PARTS = (
    "Snakefile", "config.yaml", "configs", "rules", "workflow_scripts", "bspa", "profiles", "envs", "report",
    "tests/configs",
)  # fmt: skip
GOLDEN = "tests/configs/golden.yaml"
PRELOADED = Path(__file__).with_name("preloaded.py")

# The same arithmetic on every x86 processor: AVX2, and one order of adding.
ARITHMETIC = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_CBWR": "COMPATIBLE",
    "OMP_NUM_THREADS": "1",
}


class Project:
    """A copy of the checkout with its own results, run with tests/configs/golden.yaml."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.results = folder / "results"
        self.environment = {**os.environ, "PYTHONPATH": str(folder), **ARITHMETIC}
        """The environment in which this copy's library is found first, with reproducible arithmetic."""

    @classmethod
    def of(cls, checkout: Path, folder: Path, *more: str) -> Project:
        """Copy a checkout; of what it has made, only ``more``."""
        folder.mkdir()
        half_written = shutil.ignore_patterns("*.pyc.*")
        for name in filter(lambda name: (checkout / name).exists(), (*PARTS, *more)):
            (folder / name).parent.mkdir(exist_ok=True)
            if (checkout / name).is_dir():
                shutil.copytree(checkout / name, folder / name, ignore=half_written)
            else:
                shutil.copy2(checkout / name, folder / name)
        return cls(folder)

    def copy(self, folder: Path) -> Project:
        """Copy this project with all that it has made."""
        return self.of(self.folder, folder, "results", ".snakemake")

    def overlay(self, name: str, values: Mapping[str, Any]) -> str:
        """Write a configuration overlay; return its path."""
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(dict(values)))
        return str(path)

    def edit(self, file: str, old: str, new: str) -> None:
        """Replace ``old``, which must stand once in ``file``, by ``new``."""
        path = self.folder / file
        text = path.read_text()
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {file}"
        path.write_text(text.replace(old, new))

    def plan(self, *configs: str) -> Plan:
        """Plan the configurations, laid over config.yaml."""
        values = yaml.safe_load((self.folder / "config.yaml").read_text())
        for config in configs:
            update_config(values, yaml.safe_load((self.folder / config).read_text()))
        contents = Contents(self.folder / "contents.json")
        return Plan(load_config(values), scripts=self.folder / "workflow_scripts", contents=contents)

    def command(self, *arguments: str, configs: tuple[str, ...] = ()) -> list[str]:
        """Return the command by which users run Snakemake."""
        return [sys.executable, "-m", "snakemake", *self._arguments(arguments, (GOLDEN, *configs))]

    def start(self, *arguments: str, configs: tuple[str, ...] = (), log: Path) -> subprocess.Popen[bytes]:
        """Start Snakemake as users do, in a process group of its own."""
        return subprocess.Popen(
            self.command(*arguments, configs=configs), cwd=self.folder, env=self.environment,
            stdout=log.open("w"), stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def run(
        self, *arguments: str, configs: tuple[str, ...] = (), golden: bool = True, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run Snakemake to its end, its jobs forked (`preloaded`); stderr joins stdout."""
        files = (GOLDEN, *configs) if golden else configs
        command = [sys.executable, "-P", str(PRELOADED), *self._arguments(arguments, files)]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, check=False,
        )  # fmt: skip
        assert not check or done.returncode == 0, done.stdout[-6000:]
        return done

    @staticmethod
    def _arguments(arguments: tuple[str, ...], configs: tuple[str, ...]) -> list[str]:
        return ["--cores", "2", *arguments, *(["--configfile", *configs] if configs else [])]

    def jobs(self, *arguments: str, configs: tuple[str, ...] = (), golden: bool = True) -> dict[str, int]:
        """Return how many jobs of each rule a run would have (dry run)."""
        return job_counts(self.run("--dry-run", *arguments, configs=configs, golden=golden).stdout)


def planned_jobs(plan: Plan) -> Counter[str]:
    """Return how many jobs of each rule make everything of a plan."""
    return Counter(product.rule for product in plan.products().values())


def job_counts(output: str) -> dict[str, int]:
    """Read Snakemake's table of jobs, without the target rule."""
    if "Nothing to be done" in output:
        return {}
    tables = re.findall(r"^Job stats:\n.*\n-+ +-+\n((?:.+\n)+?)total ", output, re.MULTILINE)
    assert tables, output[-3000:]
    rows = (line.split() for line in tables[-1].splitlines())
    return {name: int(count) for name, count in rows if name != "all"}
