"""Tables for readers: Markdown, LaTeX and HTML. Scores of one benchmark share a cell, as in the paper."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
from tabulate import SEPARATING_LINE, tabulate

from bspa.metrics.catalogue import METRICS
from bspa.tables.paper import TRAINED_ON
from bspa.tables.table import BICUBIC, COLUMN, ROW, Table

LEADING = ("Scale", "Model", "Method", "Params", "Steps", "Device-seconds")
FEW_SEEDS = 10
"""Below which a bootstrap over seeds is too narrow: see `bspa.tables.statistics.mean_interval`."""

GREEK = {"α": "alpha", "β": "beta", "γ": "gamma", "θ": "theta", "λ": "lambda", "μ": "mu", "σ": "sigma"}
LATEX_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "×": r"$\times$",
    "±": r"$\pm$",
    "–": "--",
    "−": "$-$",
    **{letter: rf"$\{name}$" for letter, name in GREEK.items()},
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Markup:
    """How a format writes what a table holds."""

    format: str
    """Its name in `tabulate`."""
    escape: Callable[[str], str]
    best: str
    second: str
    aside: str
    footnote: str
    stacked: str
    """Two lines in one cell."""
    scale: str = "×{}"
    minus: str = "−"
    infinity: str = "∞"
    plus_minus: str = "±"
    missing: str = "–"


MARKDOWN = Markup(
    format="pipe",
    escape=lambda text: text.replace("|", r"\|"),
    best="**{}**",
    second="<u>{}</u>",
    aside="*{}*",
    footnote="<sup>{}</sup>",
    stacked="{}<br>{}",
)
HTML = replace(MARKDOWN, format="unsafehtml", escape=html.escape, best="<b>{}</b>", aside="<i>{}</i>")
LATEX = Markup(
    format="latex_raw",
    escape=lambda text: "".join(LATEX_SPECIAL.get(character, character) for character in text),
    best=r"\textbf{{{}}}",
    second=r"\underline{{{}}}",
    aside=r"\textit{{{}}}",
    footnote="$^{{{}}}$",
    stacked=r"\shortstack{{{}\\{}}}",
    scale=r"$\times {}$",
    minus="$-$",
    infinity=r"$\infty$",
    plus_minus=r"$\pm$",
    missing="--",
)

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 sans-serif; margin: 2em; }}
h1 {{ font-size: 1.2em; }}
table {{ border-collapse: collapse; margin: 1em 0; }}
th, td {{ padding: 0.2em 0.7em; border-bottom: 1px solid #ddd; white-space: nowrap; }}
li {{ color: #444; max-width: 60em; }}
</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""

Rows = list[list[str]]
Place = tuple[Any, ...]
"""`ROW` and `COLUMN` of a cell."""
Cell = Any
"""The statistics of a cell, by name."""


def to_markdown(table: Table) -> str:
    """Return the table in Markdown: a network's best score at a scale is bold, the second underlined."""
    grids = [f"{title}\n\n{grid}" if title else grid for title, grid in _grids(table, MARKDOWN)]
    notes = "\n".join(f"- {note}" for note in _notes(table, MARKDOWN))
    return "\n\n".join([f"### {heading(table)}", *grids, notes]) + "\n"


def to_html(table: Table) -> str:
    """Return what `to_markdown` holds as a page that needs no other file."""
    grids = [f"<p>{title}</p>\n{grid}" if title else grid for title, grid in _grids(table, HTML)]
    notes = "".join(f"<li>{note}</li>\n" for note in _notes(table, HTML))
    return html_page(heading(table), "\n".join([*grids, f"<ul>\n{notes}</ul>"]))


def to_latex(table: Table) -> str:
    r"""Return what `to_markdown` holds as tabulars to ``\input``; they need the package booktabs."""
    lines = [f"% {' '.join(heading(table).split())}", r"% Needs \usepackage{booktabs}."]
    for title, grid in _grids(table, LATEX):
        if title:
            lines += [r"\par\medskip", title + r"\par\smallskip"]
        top, *between, bottom = grid.split(r"\hline")
        lines.append(top + r"\toprule" + r"\midrule".join(between) + r"\bottomrule" + bottom)
    notes = [note + r"\par" for note in _notes(table, LATEX)]
    return "\n".join([*lines, r"{\par\footnotesize", *notes, "}"]) + "\n"


def html_page(title: str, body: str) -> str:
    """Return a page of a title, which is escaped, and of a body of HTML."""
    return PAGE.format(title=html.escape(title), body=body)


def heading(table: Table) -> str:
    """Return the table's number, or its name, and its caption."""
    number = f"Table {table.name.removeprefix('table') or table.name}"
    return f"{number}: {table.caption}" if table.caption else number


def rank_printed(numbers: Sequence[str], *, lower_is_better: bool = False) -> list[int]:
    """Rank numbers as they are printed: 1 for the best, 2 for the next; equal ones share a rank.

    What is not a number gets 0; so do all where fewer than two differ.
    """
    values = [float(number) for number in numbers]
    distinct = sorted({value for value in values if not math.isnan(value)}, reverse=not lower_is_better)
    ranks = {value: rank for rank, value in enumerate(distinct, start=1)} if len(distinct) > 1 else {}
    return [ranks.get(value, 0) for value in values]


def short_count(count: int) -> str:
    """Write a count as the paper does: 24.5K, 1.5M."""
    if count < 1000:
        return str(count)
    thousands = f"{count / 1e3:.1f}"
    return f"{thousands}K" if float(thousands) < 1000 else f"{count / 1e6:.1f}M"


def print_number(value: float, metric: str, markup: Markup, *, signed: bool = False) -> str:
    """Write a score, or a difference of scores with its sign; a difference printed as zero has none."""
    if math.isnan(value):
        return markup.missing
    text = format(value, ("+" if signed else "") + METRICS[metric].form)
    if float(text) == 0:
        text = text.lstrip("+-")
    return text.replace("inf", markup.infinity).replace("-", markup.minus)


# ---- layout ----------------------------------------------------------------


def _grids(table: Table, markup: Markup) -> Iterator[tuple[str, str]]:
    """Titles and grids: the scores, and the differences to the baseline if there are any."""
    titles = "/".join(METRICS[metric].title for metric in table.metrics)
    benchmarks = [markup.stacked.format(markup.escape(name), titles) for name in table.benchmarks]
    yield "", _grid([*LEADING, *benchmarks], _score_rows(table, markup), "lllrrr", markup)
    if table.rows["compared"].any():
        title = markup.escape(f"Difference to {_baseline_label(table)}, with its 95 % interval:")
        yield title, _grid([*LEADING[:3], *benchmarks], _gain_rows(table, markup), "lll", markup)


def _grid(header: Sequence[str], rows: Rows, alignment: str, markup: Markup) -> str:
    """Lay out rows, in LaTeX with a rule between scales; columns beyond ``alignment`` are centred."""
    lines: list[Any] = []
    for row in rows:
        if lines and row[0] and markup is LATEX:
            lines.append(SEPARATING_LINE)
        lines.append(row)
    sides = [{"l": "left", "r": "right", "c": "center"}[side] for side in alignment.ljust(len(header), "c")]
    return tabulate(lines, header, tablefmt=markup.format, colalign=sides, disable_numparse=True)


# ---- cells -----------------------------------------------------------------


def _score_rows(table: Table, markup: Markup) -> Rows:
    """A row of scores for each method and, where the paper has its scores, these and the differences."""
    marks = _marks(table, markup)

    def score(cell: Cell, place: Place) -> str:
        text = marks[place].format(print_number(cell["mean"], place[-1], markup))
        deviation = print_number(cell["std"], place[-1], markup)
        return text if math.isnan(cell["std"]) else f"{text} {markup.plus_minus} {deviation}"

    def paper(cell: Cell, place: Place) -> str:
        return print_number(cell["paper"], place[-1], markup)

    def difference(cell: Cell, place: Place) -> str:
        return print_number(cell["minus_paper"], place[-1], markup, signed=True)

    rows = []
    for row, names in _named(table, markup):
        costs = [short_count(row["parameters"]), str(row["steps"]), f"{row['device_seconds']:.0f}"]
        rows.append([*names, *costs, *_per_benchmark(table, row, score)])
        published = table.cells["paper"].unstack(COLUMN).loc[(*row[ROW],)].notna()
        known = published.groupby("benchmark").any()
        for title, write in (("paper", paper), ("difference", difference)) if known.any() else ():
            printed = zip(table.benchmarks, _per_benchmark(table, row, write), strict=True)
            texts = [text if known[benchmark] else "" for benchmark, text in printed]
            rows.append(["", "", markup.aside.format(title), "", "", "", *texts])
    return rows


def _gain_rows(table: Table, markup: Markup) -> Rows:
    """A row for each compared method: the mean difference to the baseline and its interval."""

    def gain(cell: Cell, place: Place) -> str:
        mean, low, high = (
            print_number(cell[name], place[-1], markup, signed=True)
            for name in ("gain", "gain_low", "gain_high")
        )
        return mean if math.isnan(cell["gain_low"]) else f"{mean} [{low}, {high}]"

    compared = _named(table, markup, table.rows[table.rows["compared"]])
    return [[*names, *_per_benchmark(table, row, gain)] for row, names in compared]


def _named(
    table: Table, markup: Markup, rows: pd.DataFrame | None = None
) -> Iterator[tuple[pd.Series[Any], list[str]]]:
    """Rows with their scale, where it is the first of it, network and method."""
    above, warnings = None, _warnings(table)
    for _, row in (table.rows if rows is None else rows).iterrows():
        scale = "" if row["scale"] == above else markup.scale.format(row["scale"])
        network = markup.missing if row["model"] == BICUBIC else markup.escape(row["model_label"])
        method = markup.escape(row["method_label"])
        if row["warning"]:
            method += markup.footnote.format(warnings.index(row["warning"]) + 1)
        yield row, [scale, network, method]
        above = row["scale"]


def _per_benchmark(table: Table, row: pd.Series[Any], write: Callable[[Cell, Place], str]) -> Iterator[str]:
    """A cell of text for each benchmark: its metrics, with blanks around the slash where they hold blanks."""
    for benchmark in table.benchmarks:
        places: list[Place] = [(*row[ROW], benchmark, metric) for metric in table.metrics]
        texts = [write(table.cells.loc[place], place) for place in places]
        yield (" / " if any(" " in text for text in texts) else "/").join(texts)


def _marks(table: Table, markup: Markup) -> dict[Place, str]:
    """How each score is marked: by its rank among a network's scores at a scale."""
    forms = ["{}", markup.best, markup.second]
    marks: dict[Place, str] = {}
    for (*_, name), scores in table.cells["mean"].groupby(["scale", "model", *COLUMN], sort=False):
        metric = METRICS[str(name)]
        printed = [format(score, metric.form) for score in scores]
        ranks = rank_printed(printed, lower_is_better=metric.lower_is_better)
        marks |= {
            place: forms[rank] if rank < 3 else "{}" for place, rank in zip(scores.index, ranks, strict=True)
        }
    return marks


# ---- notes -----------------------------------------------------------------


def _warnings(table: Table) -> list[str]:
    return [warning for warning in table.rows["warning"].unique() if warning]


def _baseline_label(table: Table) -> str:
    labels = table.rows["method_label"][table.rows["method"] == table.baseline]
    return " or ".join(sorted(set(labels)))


def _notes(table: Table, markup: Markup) -> list[str]:
    """What a reader must know beside the numbers, footnotes first."""
    warned = [
        f"{markup.footnote.format(number)} {markup.escape(warning)}"
        for number, warning in enumerate(_warnings(table), start=1)
    ]
    return [*warned, *map(markup.escape, _plain_notes(table))]


def _plain_notes(table: Table) -> Iterator[str]:
    for convention in dict.fromkeys(METRICS[metric].convention for metric in table.metrics):
        yield f"{convention}."
    yield from _missing_notes(table)
    if len(table.seeds) > 1:
        seeds = ", ".join(map(str, table.seeds))
        yield f"Means over images, then over seeds {seeds}; after ± the standard deviation over seeds."
    else:
        yield "Means over images."
    yield (
        "Among the methods of a network at a scale, the best score as printed is bold, the second "
        "underlined. Equal scores share a mark; where all are equal, none is marked."
    )
    if table.devices:
        yield (
            f"Optimiser steps and device-seconds are those of one run, on {', '.join(table.devices)}. "
            "Compare device-seconds with care: a job that shares cores or a GPU with other jobs takes longer."
        )
    yield from _average_notes(table)
    yield _paper_note(table)
    if table.rows["compared"].any():
        yield from _gain_notes(table)


def _missing_notes(table: Table) -> Iterator[str]:
    for name in table.metrics:
        missing = table.cells["mean"].xs(name, level="metric").isna()
        if missing.any():
            where = "" if missing.all() else f" where {MARKDOWN.missing} stands"
            yield f"{METRICS[name].title} was not computed{where}: it needs {METRICS[name].needs}."
    for (scale, benchmark, name), images in table.left_out.items():
        yield (
            f"{METRICS[name].title} on {benchmark} ×{scale} leaves out {', '.join(images)}: "
            "too small or too flat for this metric in at least one row."
        )


def _average_notes(table: Table) -> Iterator[str]:
    """Which networks are moving averages of the trained weights."""
    trained = table.rows[table.rows["model"] != BICUBIC]
    for decay, averaged in trained.groupby("ema", sort=False):
        names = [f"{of['model_label']} ×{of['scale']} {of['method_label']}" for _, of in averaged.iterrows()]
        which = "all networks" if len(averaged) == len(trained) else ", ".join(names)
        yield f"The weights of {which} are exponential moving averages (decay {decay:g}) of the trained ones."


def _paper_note(table: Table) -> str:
    """Where the paper's scores are from, or why there are none."""
    if table.paper is None:
        return "The paper has no table of these methods to compare with."
    if table.cells["paper"].isna().all():
        return (
            f"No scores of the paper's Table {table.paper} stand here: it has none for these networks, "
            "scales, methods and benchmarks."
        )
    ours = "" if table.trained_on == TRAINED_ON else f", ours on {table.trained_on}"
    return (
        f"Under a row: the scores of the paper's Table {table.paper}, and ours minus these. "
        f"The paper's networks are trained on DIV2K{ours}."
    )


def _gain_notes(table: Table) -> Iterator[str]:
    lower = [METRICS[metric].title for metric in table.metrics if METRICS[metric].lower_is_better]
    below = f"; for {' and '.join(lower)} a negative difference is a gain" if lower else ""
    yield f"Differences are paired by seed and image; their intervals are a bootstrap over both{below}."
    if len(table.seeds) < FEW_SEEDS:
        yield f"With {len(table.seeds)} seeds, intervals are too narrow where seeds differ more than images."
