from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.table_files import Results


@pytest.fixture
def results(tmp_path: Path) -> Results:
    """No files yet."""
    return Results(tmp_path)
