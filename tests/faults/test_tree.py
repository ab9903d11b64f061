"""Files touched, dated anew, moved or linked, and clocks that went backwards: nothing is made in vain."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from tests.golden.products import digest_products
from tests.support.workflow import Project

pytestmark = pytest.mark.workflow

TABLE = "results/tables/table4.csv"


def date(folder: Path, days: float) -> None:
    """Date everything in ``folder``, as a clock that was wrong would have; the order stays."""
    for file in folder.rglob("*"):
        status = file.stat()
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + int(days * 86_400e9)))


def test_a_checkout_that_touches_files_makes_nothing_again(project: Project) -> None:
    for part in ("Snakefile", "config.yaml", "bspa", "rules", "workflow_scripts"):
        for file in [project.folder / part, *(project.folder / part).rglob("*")]:
            os.utime(file)
    assert project.jobs() == {}


@pytest.mark.long
def test_a_folder_that_was_moved_or_is_reached_by_a_link(project: Project, tmp_path: Path) -> None:
    moved = Project(project.folder.rename(tmp_path / "elsewhere"))
    elsewhere = tmp_path / "disk"
    moved.results.rename(elsewhere)
    moved.results.symlink_to(elsewhere)
    assert moved.jobs() == {}
    linked = tmp_path / "link"
    linked.symlink_to(moved.folder)
    assert Project(linked).jobs() == {}


@pytest.mark.parametrize("days", [-3.0, pytest.param(3.0, marks=pytest.mark.long)])
def test_a_clock_that_was_wrong(project: Project, golden: Project, days: float) -> None:
    """What was made yesterday is dated in the past or in the future of what is made today."""
    date(project.results, days)
    assert project.jobs() == {}
    (project.folder / TABLE).unlink()
    if days > 0:  # Snakemake itself refuses
        refused = project.run(TABLE, check=False)
        assert refused.returncode
        assert "clock skew" in refused.stdout
        date(project.results, -days)
    project.run(TABLE)
    assert (project.folder / TABLE).read_bytes() == (golden.folder / TABLE).read_bytes()


@pytest.mark.long
def test_a_copy_without_times(project: Project, golden: Project, tmp_path: Path) -> None:
    """As by rsync without -t: what is made again is the same, and it ends."""
    copied = project.copy(tmp_path / "copied")
    shutil.rmtree(copied.results)
    shutil.copytree(project.results, copied.results, copy_function=shutil.copyfile)
    now = time.time()
    for file in copied.results.rglob("*"):
        os.utime(file, (now, now))
    copied.run(TABLE)
    assert digest_products(copied.results) == digest_products(golden.results)
