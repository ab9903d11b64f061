"""What a machine may lack: a home, space for temporary files, open files, memory, locks."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.golden.products import digest_products
from tests.support.workflow import Project

pytestmark = pytest.mark.workflow

STAGE = "results/training/tiny_x4_bspa_seed0/cycle1/uniform.safetensors"
SHARDS = "results/shards/tiny_train/x4/default"
# A file system without locks, as some mounts of NFS and Lustre.
WITHOUT_LOCKS = """
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
int flock(int file, int operation) { errno = ENOLCK; return -1; }
int lockf(int file, int command, long length) { errno = ENOLCK; return -1; }
"""


def test_an_unwritable_home_needs_xdg_cache_home(project: Project, tmp_path: Path) -> None:
    (project.folder / STAGE).unlink()
    project.environment |= {"HOME": "/proc/self", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    project.run(STAGE)


def test_file_systems_without_locks(project: Project, golden: Project, tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    if not compiler:
        pytest.skip("flock() is replaced by a library, which needs a C compiler")
    source, library = tmp_path / "locks.c", tmp_path / "locks.so"
    source.write_text(WITHOUT_LOCKS)
    subprocess.run([compiler, "-shared", "-fPIC", "-w", "-o", library, source], check=True)
    (project.folder / STAGE).unlink()
    shutil.rmtree(project.folder / SHARDS)
    project.environment["LD_PRELOAD"] = str(library)
    done = project.run(STAGE, SHARDS)
    assert "no lock on" in done.stdout
    assert digest_products(project.results) == digest_products(golden.results)


@pytest.mark.long
def test_few_file_handles(project: Project, golden: Project) -> None:
    (project.folder / STAGE).unlink()
    shutil.rmtree(project.folder / SHARDS)
    limited = ["bash", "-c", 'ulimit -n 64; exec "$0" "$@"', *project.command(STAGE, SHARDS)]
    few = subprocess.run(
        limited, cwd=project.folder, env=project.environment, capture_output=True, text=True, check=False
    )
    assert few.returncode == 0, few.stderr[-3000:]
    assert digest_products(project.results) == digest_products(golden.results)


@pytest.mark.long
def test_a_full_folder_of_temporary_files(project: Project, golden: Project, tmp_path: Path) -> None:
    if os.geteuid() or not shutil.which("mount"):
        pytest.skip("a small file system is mounted, which needs root")
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "none", folder]).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        (folder / "full").write_bytes(bytes(4096))
        (project.folder / STAGE).unlink()
        (project.results / "figures/figure1.pdf").unlink()
        project.environment["TMPDIR"] = str(folder)
        project.run(STAGE, "results/figures/figure1.pdf")
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
    assert digest_products(project.results) == digest_products(golden.results)
