"""A table: methods compared by their mean scores on the benchmarks, beside what their training cost.

In: evaluations, one CSV for each network, method, seed, benchmark and kind of metric; the runs' JSON
summaries. Out: CSV for other programs; Markdown, LaTeX and HTML for readers; JSON, which tells their origin.
The settings, all flat:

    table, caption, trained_on, baseline, degradation (of LR images; may lack): text; paper: number or None;
        metrics, benchmarks, seeds: lists
    evaluations: a dict for each of input.evaluations, in their order: scale, model, model_label, method,
        method_label, seed, benchmark, kind (quality or perceptual), key
    runs: a dict for each of input.runs, in their order: scale, model, method, seed, key, warning (which part
        of the method has no effect, or None)

`key` is the key that the file must hold; bicubic interpolation has model and method
"bicubic", seed 0, no run.
"""

import json
import logging
from dataclasses import replace
from typing import Any

from bspa.system.files import write_text
from bspa.system.log import run_job
from bspa.system.origin import in_words, origin_of
from bspa.tables.markup import brief_notes, to_html, to_latex, to_markdown
from bspa.tables.table import read_table, to_frame

log = logging.getLogger("bspa")


def main(snakemake: Any) -> None:
    table = read_table(snakemake.input.evaluations, snakemake.input.runs, **snakemake.params.settings)
    for note in brief_notes(table):
        log.warning("%s", note)
    origin = origin_of(snakemake)
    table = replace(table, origin=in_words(origin, snakemake.output.json))
    write_text(snakemake.output.csv, to_frame(table).to_csv(index=False))
    write_text(snakemake.output.json, json.dumps(origin, indent=1) + "\n")
    write_text(snakemake.output.md, to_markdown(table))
    write_text(snakemake.output.tex, to_latex(table))
    write_text(snakemake.output.html, to_html(table))


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
