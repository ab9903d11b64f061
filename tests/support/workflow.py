"""Running the workflow for real, on a copy of the checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

PARTS = (
    "Snakefile",
    "config.yaml",
    "configs",
    "rules",
    "workflow_scripts",
    "bspa",
    "profiles",
    "envs",
    "report",
    "tests/configs",
)

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

    @classmethod
    def of(cls, checkout: Path, folder: Path) -> Project:
        """Copy a checkout without its results."""
        return cls._copy(checkout, folder, PARTS)

    def copy(self, folder: Path) -> Project:
        """Copy this project with all that it has made."""
        return self._copy(self.folder, folder, [*PARTS, "results", ".snakemake"])

    @classmethod
    def _copy(cls, source: Path, folder: Path, names: Sequence[str]) -> Project:
        for name in filter(lambda name: (source / name).exists(), names):
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if (source / name).is_dir():
                shutil.copytree(source / name, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(source / name, target)
        return cls(folder)

    @property
    def results(self) -> Path:
        """The folder of everything made."""
        return self.folder / "results"

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

    def command(self, *arguments: str, configs: Sequence[str] = (), golden: bool = True) -> list[str]:
        """Return Snakemake's command line, with the golden configuration and overlays over it."""
        files = [*(["tests/configs/golden.yaml"] if golden else []), *configs]
        return [sys.executable, "-m", "snakemake", "--cores", "2", *arguments, "--configfile", *files]

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which this copy's library is found first, with reproducible arithmetic."""
        return {**os.environ, "PYTHONPATH": str(self.folder), **ARITHMETIC}

    def run(
        self, *arguments: str, configs: Sequence[str] = (), golden: bool = True, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run Snakemake to its end; stderr joins stdout."""
        done = subprocess.run(
            self.command(*arguments, configs=configs, golden=golden),
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout[-6000:]
        return done

    def jobs(self, *arguments: str, configs: Sequence[str] = (), golden: bool = True) -> dict[str, int]:
        """Return how many jobs of each rule a run would have (dry run)."""
        return job_counts(self.run("--dry-run", *arguments, configs=configs, golden=golden).stdout)


def job_counts(output: str) -> dict[str, int]:
    """Read Snakemake's table of jobs, without the target rule."""
    if "Nothing to be done" in output:
        return {}
    tables = re.findall(r"^Job stats:\n.*\n-+ +-+\n((?:.+\n)+?)total ", output, re.MULTILINE)
    assert tables, output[-3000:]
    rows = (line.split() for line in tables[-1].splitlines())
    return {name: int(count) for name, count in rows if name != "all"}
