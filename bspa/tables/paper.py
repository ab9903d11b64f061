"""The scores that the paper reports (Luo, Xie and Qu, NeurIPS 2023, Tables 1 to 6)."""

from __future__ import annotations

import csv
from importlib.resources import files

TRAINED_ON = "div2k_train"
"""Name in `configs/paper.yaml` of the photographs that the paper's networks are trained on."""

Cell = tuple[int, str, str, str, str]
"""Scale, model, method, benchmark, metric, by the names of `configs/paper.yaml`."""


def read_paper(table: int) -> dict[Cell, float]:
    """Return the scores of a table by cell.

    Raises:
        ValueError: the paper has no table of scores with this number.
    """
    text = files("bspa.tables").joinpath("paper_tables.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    found = {
        (int(row["scale"]), row["model"], row["method"], row["benchmark"], row["metric"]): float(row["value"])
        for row in rows
        if row["table"] == str(table)
    }
    if not found:
        allowed = ", ".join(sorted({row["table"] for row in rows}))
        raise ValueError(f"paper: {table}; the paper's tables of scores are {allowed}")
    return found
