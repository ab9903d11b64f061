"""The long-tailed split as a CSV file, one row for each class, easiest first."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np

from bspa.difficulty.classes import Classes
from bspa.system.files import write_text
from bspa.system.reading import reading

COLUMNS = ["k", "N_k", "t_k", "P_k", "key"]
"""Class, sub-images, largest MSE, probability under inverse sampling, key of the product."""


def write_classes(path: str | os.PathLike[str], classes: Classes, *, key: str) -> None:
    """Write ``classes`` with `COLUMNS`; every number reads back as the same float64."""
    values = zip(*(column.tolist() for column in classes), strict=True)
    rows = [COLUMNS, *([k, *row, key] for k, row in enumerate(values, 1))]
    write_text(path, "".join(",".join(map(str, row)) + "\n" for row in rows))


def read_classes(path: str | os.PathLike[str]) -> Classes:
    """Read what `write_classes` wrote; a ValueError if a value is missing or not a number."""
    with reading(path, f"a thresholds file with columns {', '.join(COLUMNS)}"):
        rows = list(csv.DictReader(Path(path).read_text(encoding="utf-8").splitlines()))
        if [int(row["k"]) for row in rows] != list(range(1, len(rows) + 1)) or not rows:
            raise ValueError("column k does not count 1, 2, 3, ...")
        return Classes(
            np.array([int(row["N_k"]) for row in rows], np.int64),
            np.array([float(row["t_k"]) for row in rows]),
            np.array([float(row["P_k"]) for row in rows]),
        )
