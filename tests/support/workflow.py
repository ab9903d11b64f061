"""Running the workflow for real, on a copy of the checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
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


class Project:
    """A copy of the checkout with its own results, run with the tiny configuration."""

    def __init__(self, folder: Path):
        self.folder = folder

    @classmethod
    def copy(cls, source: Path, folder: Path) -> Project:
        """Copy the checkout, or another project with all it has made."""
        made = [name for name in ("results", ".snakemake") if (source / name).exists()]
        for name in [*PARTS, *made]:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if (source / name).is_dir():
                shutil.copytree(source / name, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(source / name, target)
        return cls(folder)

    def overlay(self, name: str, values: dict[str, Any]) -> str:
        """Write a configuration overlay; return its path."""
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(values))
        return str(path)

    def edit(self, file: str, old: str, new: str) -> None:
        """Replace ``old``, which must stand once in ``file``, by ``new``."""
        path = self.folder / file
        text = path.read_text()
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {file}"
        path.write_text(text.replace(old, new))

    def command(self, *arguments: str, configs: Sequence[str] = (), tiny: bool = True) -> list[str]:
        """Return the command line of Snakemake, with the tiny configuration and overlays over it."""
        files = [*(["tests/configs/tiny.yaml"] if tiny else []), *configs]
        return [sys.executable, "-m", "snakemake", "--cores", "2", *arguments, "--configfile", *files]

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which this copy's library is found first."""
        return {**os.environ, "PYTHONPATH": str(self.folder), "OMP_NUM_THREADS": "1"}

    def run(
        self, *arguments: str, configs: Sequence[str] = (), tiny: bool = True, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run Snakemake to its end; stderr joins stdout."""
        done = subprocess.run(
            self.command(*arguments, configs=configs, tiny=tiny),
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout[-6000:]
        return done

    def jobs(self, *arguments: str, configs: Sequence[str] = (), tiny: bool = True) -> dict[str, int]:
        """Return how many jobs of each rule a run would have (dry run)."""
        return job_counts(self.run("--dry-run", *arguments, configs=configs, tiny=tiny).stdout)


def job_counts(output: str) -> dict[str, int]:
    """Read Snakemake's table of jobs, without the target rule."""
    if "Nothing to be done" in output:
        return {}
    tables = re.findall(r"^Job stats:\n.*\n-+ +-+\n((?:.+\n)+?)total ", output, re.MULTILINE)
    assert tables, output[-3000:]
    rows = (line.split() for line in tables[-1].splitlines())
    return {name: int(count) for name, count in rows if name != "all"}
