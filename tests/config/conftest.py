from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml


@pytest.fixture(scope="session")
def defaults(root: Path) -> dict[str, Any]:
    """config.yaml, to read."""
    return yaml.safe_load((root / "config.yaml").read_text())


@pytest.fixture
def values(defaults: dict[str, Any]) -> dict[str, Any]:
    """config.yaml, to change."""
    return copy.deepcopy(defaults)
