"""Products that were damaged after they were made: the next job that reads one names it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.support.workflow import Project

pytestmark = pytest.mark.workflow

RUN = "tiny_x4_bspa_seed0"
CYCLE = f"training/{RUN}/cycle1"
READ_AGAIN = {
    "data/tiny_train/x4.h5": f"{CYCLE}/uniform.*",
    "shards/tiny_train/x4/default": f"{CYCLE}/inverse.*",
    f"{CYCLE}/uniform.safetensors": f"{CYCLE}/inverse.*",
    f"{CYCLE}/mask.safetensors": f"training/{RUN}/cycle2/uniform.*",
    "difficulty/tiny_train/x4/default/thresholds.csv": "tables/classes.*",
    f"models/{RUN}.safetensors": f"evaluation/{RUN}/tiny_test.csv",
    f"evaluation/{RUN}/tiny_test.csv": "tables/table4.*",
}
"""A product -> what is taken away, so that a job reads the product again."""


def flip_a_bit(path: Path) -> None:
    path = min(path.glob("*.h5")) if path.is_dir() else path
    data = bytearray(path.read_bytes())
    data[len(data) * 3 // 4] ^= 1
    times = path.stat()
    path.write_bytes(data)
    # Disks do not date their mistakes.
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.mark.parametrize("product", READ_AGAIN)
def test_a_flipped_bit_is_named(project: Project, product: str) -> None:
    targets = []
    for file in project.results.glob(READ_AGAIN[product]):
        file.unlink()
        targets.append(f"results/{file.relative_to(project.results)}")
    assert targets
    damaged = project.results / product
    flip_a_bit(damaged)
    done = project.run(targets[0], check=False)
    assert done.returncode != 0
    assert f"results/{product}: it is not as the job that made it left it" in done.stdout
    shutil.rmtree(damaged) if damaged.is_dir() else damaged.unlink()
    project.run(targets[0])
    assert (project.folder / targets[0]).exists()
