"""The golden run: tests/configs/golden.yaml, with arithmetic that makes its products the same bit by bit."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.support.workflow import ARITHMETIC, GOLDEN, Project

ROOT = Path(__file__).resolve().parents[2]
EXPECTED = Path(__file__).with_name("expected.json")

FEATURES = ("avx", "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512_bf16", "amx_bf16")
DECIDING = ("torch", "numpy", "vendor", "features")
"""What of the environment must agree for digests to be equal."""


def make_golden(checkout: Path, folder: Path) -> Project:
    """Run this checkout's golden configuration with the code of a checkout, in ``folder``."""
    project = Project.of(checkout, folder)
    project.run(configs=(str(ROOT / GOLDEN),), golden=False)
    return project


def describe_environment() -> dict[str, Any]:
    """Return the versions, the processor (on Linux) and the settings that decide the last bits."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    values = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    flags = values.get("flags", "").split()
    return {
        "torch": version("torch"),
        "numpy": version("numpy"),
        "vendor": values.get("vendor_id", ""),
        "processor": values.get("model name", ""),
        "features": [name for name in FEATURES if name in flags],
        "settings": ARITHMETIC,
    }
