"""A table: methods compared by their mean scores on the benchmarks, beside what their training cost.

In: the evaluations, one CSV for each network, method, seed and benchmark (PSNR and SSIM in one, NIQE and
LPIPS in another), and the runs' JSON summaries. Out: CSV for other programs, Markdown and LaTeX for readers.
"""

from typing import Any

from bspa.system.files import write_text
from bspa.system.log import run_job
from bspa.tables.markup import to_latex, to_markdown
from bspa.tables.table import read_table, to_frame


def main(snakemake: Any) -> None:
    table = read_table(snakemake.input.evaluations, snakemake.input.runs, **snakemake.params.settings)
    write_text(snakemake.output.csv, to_frame(table).to_csv(index=False))
    write_text(snakemake.output.md, to_markdown(table))
    write_text(snakemake.output.tex, to_latex(table))


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
