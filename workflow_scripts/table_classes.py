"""The classes of every scale and split: sizes (Eq. 2), thresholds (Eq. 3), probabilities (Eq. 4).

In: a thresholds.csv for each scale and split. Out: one CSV with all of them; the numbers stay text, so that
each keeps every digit. A JSON file tells their origin.
"""

import json
from typing import Any

import pandas as pd

from bspa.difficulty.class_table import COLUMNS
from bspa.system.files import write_text
from bspa.system.log import run_job
from bspa.system.origin import origin_of


def main(snakemake: Any) -> None:
    tables = []
    for path, row in zip(snakemake.input.thresholds, snakemake.params.settings["rows"], strict=True):
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        if list(table.columns) != COLUMNS:
            raise ValueError(f"{path}: has columns {', '.join(table.columns)}, not {', '.join(COLUMNS)}")
        table = table.drop(columns="key")
        table.insert(0, "scale", str(row["scale"]))
        table.insert(1, "split", row["split"])
        tables.append(table)
    table = pd.concat(tables)
    write_text(snakemake.output.csv, table.to_csv(index=False))
    write_text(snakemake.output.json, json.dumps(origin_of(snakemake), indent=1) + "\n")
    numbers = {"t_k": "{:.3e}", "P_k": "{:.4f}"}
    rounded = table.assign(
        **{name: table[name].astype(float).map(form.format) for name, form in numbers.items()}
    )
    write_text(snakemake.output.html, rounded.to_html(index=False, border=0))


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
