"""The public door: what may be imported from `bspa` itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import bspa

NAMES = (
    "build", "class_sizes", "imresize", "integrated_gradients", "inverse_probabilities", "load_model", "niqe",
    "psnr_y", "ssim_y", "starts", "super_resolve", "thresholds", "top_fraction_mask",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_public_function_is_documented(name: str) -> None:
    assert callable(getattr(bspa, name))
    assert getattr(bspa, name).__doc__


def test_nothing_else_is_public() -> None:
    assert sorted(bspa.__all__) == sorted(NAMES)


def test_importing_the_package_loads_nothing_heavy(root: Path) -> None:
    code = "import sys, bspa; print(sorted({'torch', 'numpy', 'pandas', 'h5py'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"
