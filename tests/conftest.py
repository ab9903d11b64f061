from __future__ import annotations

import os
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings

from tests.golden.project import make_golden
from tests.support.workflow import Project

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the processes of `pytest -n auto` share the cores
settings.register_profile("shared cores", deadline=None)
settings.register_profile("long", deadline=None, max_examples=10_000)  # --hypothesis-profile long
settings.load_profile("shared cores")
ROOT = Path(__file__).resolve().parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--faults", choices=["some", "all"], default="some", help="cases of tests/faults to run")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run the long tests first, so that no process of `pytest -n auto` ends long after the others."""
    if config.getoption("--faults") != "all":
        long = [item for item in items if item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]
    items.sort(key=lambda item: item.get_closest_marker("workflow") is None)


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


@pytest.fixture(scope="session")
def golden(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project in which the golden configuration has been made; for reading and for dry runs."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # the processes of `pytest -n auto` share one
        shared = shared.parent
    with FileLock(shared / "golden.lock"):
        if not (shared / "golden.made").exists():
            make_golden(root, shared / "golden")
            (shared / "golden.made").touch()
    return Project(shared / "golden")


@pytest.fixture
def project(golden: Project, tmp_path: Path) -> Project:
    """A copy of the golden project to change."""
    return golden.copy(tmp_path / "bspa")


@pytest.fixture
def fresh(root: Path, tmp_path: Path) -> Project:
    """A project in which nothing has been made."""
    return Project.of(root, tmp_path / "bspa")
