from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def data() -> Path:
    """The real data that tests are measured against; it is not in the repository."""
    folder = os.environ.get("BSPA_DATA")
    if not folder:
        pytest.skip("BSPA_DATA is not set: it names the folder of benchmark images and metrics")
    return Path(folder).resolve()
