"""What the golden test says of a change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.golden.comparison import difference
from tests.golden.products import digest_products


def products(folder: Path, mse: list[float], steps: int = 4, **attributes: Any) -> dict[str, Any]:
    scores = folder / "difficulty/photos/x4/scores.h5"
    journal = folder / "training/tiny_x4_baseline_seed0/cycle1/uniform.csv"
    for path in (scores, journal):
        path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(scores, "w") as file:
        file.attrs.update(attributes)
        file["mse"] = np.array(mse, np.float32)
        file["top"] = np.arange(len(mse), dtype=np.int32)
    journal.write_text(f"step,epoch,loss,learning_rate,device_seconds\n{steps},1,0.5,0.001,{steps}.25\n")
    return digest_products(folder)


def test_headers_and_times_do_not_count(tmp_path: Path) -> None:
    before = products(tmp_path, [0.5, 0.25], key="a")
    journal = next(tmp_path.glob("training/*/*/*.csv"))
    after = products(tmp_path, [0.5, 0.25], key="b")
    journal.write_text(journal.read_text().replace("4.25", "5.75"))
    assert (
        difference(before, after, exact=True)
        == difference(before, digest_products(tmp_path), exact=True)
        == ""
    )


def test_first_change_is_shown_and_the_rest_counted(tmp_path: Path) -> None:
    before = products(tmp_path, [0.5, 0.25])
    message = difference(before, products(tmp_path, [0.5, 0.75], steps=8), exact=True)
    assert message.splitlines() == [
        "first in the chain to change: difficulty/photos/x4/scores.h5",
        "  mse",
        "    before: kind float, count 2, sum 0.75, abs 0.75, min 0.25, max 0.5",
        "    after:  kind float, count 2, sum 1.25, abs 1.25, min 0.5, max 0.75",
        "1 of the 2 products changed after it: training 1",
    ]


@pytest.mark.parametrize(("value", "same"), [(0.5000001, True), (0.51, True), (0.9, False)])
def test_other_machines_may_differ_a_little(tmp_path: Path, value: float, same: bool) -> None:
    before = products(tmp_path, [0.5, 0.25])
    after = products(tmp_path, [value, 0.25])
    assert bool(difference(before, after, exact=False)) is not same
    assert difference(before, after, exact=True)


def test_products_that_come_and_go(tmp_path: Path) -> None:
    both = products(tmp_path, [0.5])
    one = {path: product for path, product in both.items() if path.startswith("difficulty")}
    assert "not made any more" in difference(both, one, exact=True)
    assert difference(one, both, exact=True) == "1 products are new: training 1"
