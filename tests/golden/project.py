"""The golden run: tests/configs/golden.yaml, with arithmetic that makes its products the same bit by bit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.workflow import ARITHMETIC, Project

ROOT = Path(__file__).resolve().parents[2]
EXPECTED = Path(__file__).with_name("expected.json")
CONFIG = ROOT / "tests/configs/golden.yaml"

FEATURES = ("avx", "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512_bf16", "amx_bf16")
DECIDING = ("torch", "numpy", "capability", "vendor", "features")
"""What of the environment must agree for digests to be equal."""

_DESCRIBE = """
import json, numpy, torch
print(json.dumps({"torch": torch.__version__, "numpy": numpy.__version__,
                  "capability": torch.backends.cpu.get_cpu_capability()}))
"""


def make_golden(checkout: Path, folder: Path) -> Project:
    """Run the golden configuration with the code of a checkout, in ``folder``."""
    project = Project.of(checkout, folder)
    project.run(configs=[str(CONFIG)], golden=False)
    return project


def describe_environment(project: Project) -> dict[str, Any]:
    """Return the versions, the processor and the settings that decide the last bits."""
    done = subprocess.run(
        [sys.executable, "-c", _DESCRIBE],
        env=project.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return {**json.loads(done.stdout), **_processor(), "threads": 1, "settings": ARITHMETIC}


def _processor() -> dict[str, Any]:
    """Return the processor's maker, model, and those of its features that change arithmetic; of Linux."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    values = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    flags = values.get("flags", "").split()
    return {
        "vendor": values.get("vendor_id", ""),
        "processor": values.get("model name", ""),
        "features": [name for name in FEATURES if name in flags],
    }
