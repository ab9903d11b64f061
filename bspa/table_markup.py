"""Table 4 for readers, in Markdown and LaTeX: PSNR/SSIM in one cell, as the paper has it (28.22/0.7723)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bspa.metrics import CONVENTION
from bspa.tables import BICUBIC, Table4

PRINTED = {"psnr": "{:.2f}", "ssim": "{:.4f}"}

LATEX_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Markup:
    """How a text format writes what the table holds."""

    best: str
    second: str
    infinity: str
    scale: str
    escape: Callable[[str], str]


MARKDOWN = Markup(
    best="**{}**",
    second="<u>{}</u>",
    infinity="∞",
    scale="×{}",
    escape=lambda text: text.replace("|", r"\|"),
)
LATEX = Markup(
    best=r"\textbf{{{}}}",
    second=r"\underline{{{}}}",
    infinity=r"$\infty$",
    scale=r"$\times {}$",
    escape=lambda text: "".join(LATEX_SPECIAL.get(character, character) for character in text),
)


def to_markdown(table: Table4) -> str:
    """Return ``table4.md``: the best score of each network at each scale bold, the second underlined."""
    rule = [":--"] * 3 + ["--:"] * 3 + [":-:"] * len(table.benchmarks)
    rows = [_header(table, MARKDOWN), rule, *_cells(table, MARKDOWN)]
    lines = ["| " + " | ".join(cells) + " |" for cells in rows]
    return "\n".join(lines) + "\n\n" + "".join(f"- {note}\n" for note in _notes(table))


def to_latex(table: Table4) -> str:
    r"""Return ``table4.tex``: what `to_markdown` holds, as a tabular to ``\input``; booktabs is needed."""
    columns = len(table.benchmarks)
    lines = [
        r"% Needs \usepackage{booktabs}.",
        rf"\begin{{tabular}}{{lllrrr{'c' * columns}}}",
        r"\toprule",
        " & ".join(_header(table, LATEX)) + r" \\",
        " & ".join([""] * 6 + ["PSNR/SSIM"] * columns) + r" \\",
    ]
    above = None
    for entry, cells in zip(table.entries, _cells(table, LATEX), strict=True):
        if above is None or above.scale != entry.scale:
            lines.append(r"\midrule")
        elif above.model != entry.model:
            lines.append(r"\addlinespace")
        lines.append(" & ".join(cells) + r" \\")
        above = entry
    notes = [LATEX.escape(note) + r"\par" for note in _notes(table)]
    lines += [r"\bottomrule", r"\end{tabular}", r"{\par\footnotesize", *notes, "}"]
    return "\n".join(lines) + "\n"


def rank_printed(numbers: Sequence[str]) -> list[int]:
    """Rank numbers as they are printed: 1 for the largest, 2 for the next; equal ones share a rank.

    A number alone has nothing to be compared with and gets 0.
    """
    if len(numbers) == 1:
        return [0]
    falling = sorted({float(number) for number in numbers}, reverse=True)
    return [1 + falling.index(float(number)) for number in numbers]


def short_count(count: int) -> str:
    """Write a count as the paper does: 24.5K, 1.5M."""
    if count < 1000:
        return str(count)
    thousands = f"{count / 1e3:.1f}"
    return f"{thousands}K" if float(thousands) < 1000 else f"{count / 1e6:.1f}M"


def _header(table: Table4, markup: Markup) -> list[str]:
    columns = ["Scale", "Model", "Method", "Params", "Steps", "Device-seconds", *table.benchmarks]
    return [markup.escape(column) for column in columns]


def _cells(table: Table4, markup: Markup) -> list[list[str]]:
    """The table's rows as text; the scale stands in the first row of its group."""
    marked = _marked_scores(table, markup)
    rows, scale = [], None
    for index, entry in enumerate(table.entries):
        rows.append(
            [
                "" if entry.scale == scale else markup.scale.format(entry.scale),
                markup.escape(entry.model_label),
                "" if entry.model == BICUBIC else markup.escape(entry.method_label),
                short_count(entry.parameters),
                str(entry.steps),
                f"{entry.device_seconds:.0f}",
                *("/".join(marked[index, name, metric] for metric in PRINTED) for name in table.benchmarks),
            ]
        )
        scale = entry.scale
    return rows


def _marked_scores(table: Table4, markup: Markup) -> dict[tuple[int, str, str], str]:
    """Scores as printed and marked, by row, benchmark and metric."""
    groups: dict[tuple[int, str], list[int]] = {}
    for index, entry in enumerate(table.entries):
        groups.setdefault((entry.scale, entry.model), []).append(index)
    marks = {1: markup.best, 2: markup.second}
    marked = {}
    for rows in groups.values():
        for benchmark in table.benchmarks:
            for metric, form in PRINTED.items():
                printed = [form.format(table.entries[index].mean(benchmark, metric)) for index in rows]
                for index, text, rank in zip(rows, printed, rank_printed(printed), strict=True):
                    shown = markup.infinity if text == "inf" else text
                    marked[index, benchmark, metric] = marks.get(rank, "{}").format(shown)
    return marked


def _notes(table: Table4) -> Iterator[str]:
    yield f"{CONVENTION}."
    if len(table.seeds) > 1:
        seeds = ", ".join(map(str, table.seeds))
        yield f"Means over images, then over seeds {seeds}; table4.csv has the standard deviations."
    else:
        yield "Means over images."
    yield (
        "Of each network at each scale, the best score as printed is bold and the second underlined; "
        "bicubic interpolation is not ranked."
    )
    if table.devices:
        yield f"Optimiser steps and device-seconds are those of one run, on {', '.join(table.devices)}."
