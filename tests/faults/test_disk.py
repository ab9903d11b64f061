"""A full or read-only disk: a sentence names the file; with space, the same command ends as always."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.golden.products import digest_products
from tests.support.workflow import Project

pytestmark = pytest.mark.workflow

RUN = "tiny_x4_bspa_seed0"
QUICK = {
    ("data/tiny_train/x4.h5", 0.6),
    ("difficulty/tiny_train/x4/scores.h5", 0.0),
    (f"training/{RUN}/cycle1/uniform.safetensors", 0.6),
}
"""What is made on a full disk, with space for a share of it."""
PRODUCTS = (
    "data/tiny_train/manifest.csv", "sub_images/tiny_train/x4.h5", "shards/tiny_train/x4/default",
    "informative/tiny_train/x4/maps.h5", f"models/{RUN}.safetensors", f"evaluation/{RUN}/tiny_test.csv",
    "tables/table4.csv", "figures/figure1.pdf", "figures/figure6.png",
)  # fmt: skip
LONG = {(name, share) for name in (*PRODUCTS, *(name for name, _ in QUICK)) for share in (0.0, 0.6)} - QUICK
MIB = 1 << 20


@pytest.fixture
def disk(project: Project) -> Iterator[Project]:
    """A project whose results lie on a file system of their own."""
    if shutil.which("mount") is None or os.geteuid():
        pytest.skip("a small file system is mounted, which needs root")
    kept = project.folder / "kept"
    project.results.rename(kept)
    project.results.mkdir()
    size = sum(file.stat().st_size for file in kept.rglob("*") if file.is_file()) // MIB * 3 + 64
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}m", "none", project.results]).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        subprocess.run(["cp", "-a", f"{kept}/.", project.results], check=True)
        yield project
    finally:
        subprocess.run(["umount", "--lazy", project.results], check=True)


def fill(folder: Path, free: int) -> Path:
    """Fill the disk but for ``free`` bytes; return the file that takes the space."""
    filler = folder / "filler"
    status = os.statvfs(folder)
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, status.f_bavail * status.f_frsize - free)
    return filler


@pytest.mark.parametrize(
    ("product", "share"),
    [*sorted(QUICK), *(pytest.param(*case, marks=pytest.mark.long) for case in sorted(LONG))],
)
def test_a_full_disk(disk: Project, golden: Project, product: str, share: float) -> None:
    target, file = f"results/{product}", disk.results / product
    size = sum(inner.stat().st_size for inner in [file, *file.rglob("*")])
    shutil.rmtree(file) if file.is_dir() else file.unlink()
    filler = fill(disk.results, int(size * share) // 4096 * 4096)
    done = disk.run(target, check=False)
    assert done.returncode
    folder = target.rpartition("/")[0]
    assert f"error: [Errno 28] No space left on device: '{folder}/" in done.stdout, done.stdout[-3000:]
    for bad in ("Traceback", "Segmentation", "Exception ignored", "Logging error"):
        assert bad not in done.stdout, done.stdout[-3000:]
    filler.unlink()
    disk.run(target)
    if file.suffix in (".pdf", ".png"):
        assert file.read_bytes() == (golden.results / product).read_bytes()
    assert digest_products(disk.results) == digest_products(golden.results)


@pytest.mark.long
def test_a_read_only_disk(disk: Project) -> None:
    for file in disk.results.glob("tables/table4.*"):  # Snakemake itself refuses to write over them
        file.unlink()
    subprocess.run(["mount", "-o", "remount,ro", disk.results], check=True)
    try:
        done = disk.run("results/tables/table4.csv", check=False)
    finally:
        subprocess.run(["mount", "-o", "remount,rw", disk.results], check=True)
    assert done.returncode
    assert "Read-only file system: '" in done.stdout, done.stdout[-3000:]
    assert "Traceback" not in done.stdout
    disk.run("results/tables/table4.csv")
