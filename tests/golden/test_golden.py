"""Every product of a tiny run is what it was: equal bit by bit where the machine allows it, else nearly."""

from __future__ import annotations

import json

import pytest

from tests.golden.comparison import difference
from tests.golden.products import digest_products
from tests.golden.project import DECIDING, EXPECTED, describe_environment
from tests.support.workflow import Project

pytestmark = pytest.mark.workflow


def test_products_are_what_they_were(golden: Project) -> None:
    expected = json.loads(EXPECTED.read_text(encoding="utf-8"))
    here = describe_environment()
    other = [name for name in DECIDING if here[name] != expected["environment"][name]]
    changes = difference(expected["products"], digest_products(golden.results), exact=not other)
    how = f"within tolerances, since {', '.join(other)} differ here" if other else "bit by bit"
    assert not changes, f"compared {how}:\n{changes}\nif it is meant: python -m tests.golden.update"
