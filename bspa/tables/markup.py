"""Tables for readers: Markdown, LaTeX and HTML. Scores of one benchmark share a cell, as in the paper."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from tabulate import SEPARATING_LINE, tabulate

from bspa.metrics.catalogue import METRICS
from bspa.tables.table import BICUBIC, COLUMN, ROW, Table, below_bicubic, costs_of

NAMES = ("Scale", "Model", "Method")
COST_TITLES = {
    "parameters": "Params",
    "steps": "Steps",
    "device_seconds": "Device-seconds",
    "attribution_seconds": "Attribution-seconds",
}
SIGNIFICANT = "†"
FEW_SEEDS = 10
"""Below which a bootstrap over seeds is too narrow: see `bspa.tables.statistics.mean_interval`."""

PAPERS_PHOTOGRAPHS = "div2k_train"
"""Name in `configs/paper.yaml` of what the paper's networks are trained on."""

GREEK = {"α": "alpha", "β": "beta", "γ": "gamma", "θ": "theta", "λ": "lambda", "μ": "mu", "σ": "sigma"}
LATEX_SPECIAL = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "×": r"$\times$",
        "±": r"$\pm$",
        "†": r"$^{\dagger}$",
        "–": "--",
        "−": "$-$",
        **{letter: rf"$\{name}$" for letter, name in GREEK.items()},
        **{character: f"\\{character}" for character in "&%$#_{}"},
    }
)


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
    escape=lambda text: text.translate(LATEX_SPECIAL),
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


def to_markdown(table: Table) -> str:
    """Return the table in Markdown: a network's best score at a scale is bold, the second underlined."""
    grids = [f"{title}\n\n{grid}" if title else grid for title, grid in _grids(table, MARKDOWN)]
    notes = "\n".join(f"- {note}" for note in _notes(table, MARKDOWN))
    return "\n\n".join([f"### {_heading(table)}", *grids, notes]) + "\n"


def to_html(table: Table) -> str:
    """Return what `to_markdown` holds as a page that needs no other file."""
    grids = [f"<p>{title}</p>\n{grid}" if title else grid for title, grid in _grids(table, HTML)]
    notes = "".join(f"<li>{note}</li>\n" for note in _notes(table, HTML))
    body = "\n".join([*grids, f"<ul>\n{notes}</ul>"])
    return PAGE.format(title=html.escape(_heading(table)), body=body)


def to_latex(table: Table) -> str:
    r"""Return what `to_markdown` holds as tabulars to ``\input``; they need the package booktabs."""
    lines = [f"% {' '.join(_heading(table).split())}", r"% Needs \usepackage{booktabs}."]
    for title, grid in _grids(table, LATEX):
        if title:
            lines += [r"\par\medskip", title + r"\par\smallskip"]
        top, *between, bottom = grid.split(r"\hline")
        lines.append(top + r"\toprule" + r"\midrule".join(between) + r"\bottomrule" + bottom)
    notes = [note + r"\par" for note in _notes(table, LATEX)]
    return "\n".join([*lines, r"{\par\footnotesize", *notes, "}"]) + "\n"


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


# ---- grids -----------------------------------------------------------------


def _heading(table: Table) -> str:
    number = f"Table {table.name.removeprefix('table') or table.name}"
    return f"{number}: {table.caption}" if table.caption else number


def _grids(table: Table, markup: Markup) -> Iterator[tuple[str, str]]:
    """Titles and grids: the scores, and the differences to the baseline if there are any."""
    texts, warnings, costs = _texts(table, markup), _warnings(table), costs_of(table)
    scores, gains = [], []
    for _, row in table.rows.iterrows():
        of_row = texts.loc[(*row[ROW],)]
        network = markup.missing if row["model"] == BICUBIC else markup.escape(row["model_label"])
        method = markup.escape(row["method_label"])
        if row["warning"]:
            method += markup.footnote.format(warnings.index(row["warning"]) + 1)
        names = [markup.scale.format(row["scale"]), network, method]
        spent = [short_count(row["parameters"]), *(f"{row[cost]:.0f}" for cost in costs[1:])]
        scores.append([*names, *spent, *of_row["score"]])
        for title in ("paper", "difference") if any(of_row["paper"]) else ():
            blank = [""] * len(costs)
            scores.append([names[0], "", markup.aside.format(title), *blank, *of_row[title]])
        if row["compared"]:
            gains.append([*names, *of_row["gain"]])
    titles = "/".join(METRICS[metric].title for metric in table.metrics)
    benchmarks = [markup.stacked.format(markup.escape(name), titles) for name in table.benchmarks]
    header = [*NAMES, *(COST_TITLES[cost] for cost in costs), *benchmarks]
    yield "", _grid(header, scores, "lll" + "r" * len(costs), markup)
    if gains:
        labels = table.rows["method_label"][table.rows["method"] == table.baseline]
        title = f"Difference to {' or '.join(sorted(set(labels)))}, with its 95 % interval:"
        yield markup.escape(title), _grid([*NAMES, *benchmarks], gains, "lll", markup)


def _grid(header: Sequence[str], rows: Sequence[Sequence[str]], alignment: str, markup: Markup) -> str:
    """Lay out rows, with each scale once; columns beyond ``alignment`` are centred."""
    lines: list[Any] = []
    above = None
    for scale, *others in rows:
        if markup is LATEX and lines and scale != above:
            lines.append(SEPARATING_LINE)
        lines.append(["" if scale == above else scale, *others])
        above = scale
    sides = [{"l": "left", "r": "right", "c": "center"}[side] for side in alignment.ljust(len(header), "c")]
    return tabulate(lines, header, tablefmt=markup.format, colalign=sides, disable_numparse=True)


def _texts(table: Table, markup: Markup) -> pd.DataFrame:
    """Write score, paper, difference and gain of each row and benchmark, metric by metric."""
    marks = {1: markup.best, 2: markup.second}
    known = table.cells["paper"].notna().groupby([*ROW, "benchmark"]).transform("any")
    texts = []
    for _, cell in table.cells.assign(rank=_ranks(table), known=known).reset_index().iterrows():
        write = partial(print_number, metric=cell["metric"], markup=markup)
        score = marks.get(cell["rank"], "{}").format(write(cell["mean"]))
        gain, low, high = (write(cell[name], signed=True) for name in ("gain", "gain_low", "gain_high"))
        mark = markup.escape(SIGNIFICANT) if cell["p_holm"] < 0.05 else ""
        texts.append(
            {
                "score": score
                if math.isnan(cell["std"])
                else f"{score} {markup.plus_minus} {write(cell['std'])}",
                "paper": write(cell["paper"]) if cell["known"] else "",
                "difference": write(cell["minus_paper"], signed=True) if cell["known"] else "",
                "gain": gain if math.isnan(cell["gain_low"]) else f"{gain} [{low}, {high}]{mark}",
            }
        )
    return pd.DataFrame(texts, table.cells.index).groupby([*ROW, "benchmark"], sort=False).agg(_join)


def _join(texts: Iterable[str]) -> str:
    """Join the metrics of a benchmark, with blanks around the slash where they hold blanks."""
    return (" / " if any(" " in text for text in texts) else "/").join(texts) if any(texts) else ""


def _ranks(table: Table) -> pd.Series[float]:
    """The place of each score among a network's at a scale, from 1; nan where all are printed alike."""
    metrics = [METRICS[metric] for metric in table.cells.index.get_level_values("metric")]
    signs = np.array([1 if metric.lower_is_better else -1 for metric in metrics])
    printed = [float(format(mean, of.form)) for mean, of in zip(table.cells["mean"], metrics, strict=True)]
    groups = pd.Series(signs * printed, table.cells.index).groupby(["scale", "model", *COLUMN])
    return groups.rank("dense").where(groups.transform("nunique") > 1)


# ---- notes -----------------------------------------------------------------


def _warnings(table: Table) -> list[str]:
    return [warning for warning in table.rows["warning"].unique() if warning]


def _notes(table: Table, markup: Markup) -> list[str]:
    """What a reader must know beside the numbers, footnotes first."""
    numbered = enumerate(map(markup.escape, _warnings(table)), start=1)
    warned = [f"{markup.footnote.format(number)} {warning}" for number, warning in numbered]
    return [*warned, *map(markup.escape, _plain_notes(table))]


def _plain_notes(table: Table) -> Iterator[str]:
    for convention in dict.fromkeys(METRICS[metric].convention for metric in table.metrics):
        yield f"{convention}."
    if table.degradation:
        yield f"{table.degradation}."
    yield from _missing_notes(table)
    yield from brief_notes(table)
    if len(table.seeds) > 1:
        seeds = ", ".join(map(str, table.seeds))
        yield f"Means over images, then over seeds {seeds}; after ± the standard deviation over seeds."
    else:
        yield "Means over images."
    yield (
        "Among the methods of a network at a scale, the best score as printed is bold, the second "
        "underlined. Equal scores share a mark; where all are equal, none is marked."
    )
    yield from _weights_notes(table)
    yield from _cost_notes(table)
    yield _paper_note(table)
    if table.rows["compared"].any():
        yield from _gain_notes(table)
    if table.origin:
        yield f"{table.origin}."


def _weights_notes(table: Table) -> Iterator[str]:
    """Which weights are scored: one sentence for each kind."""
    kinds = table.rows.groupby("weights", sort=False)["model_label"].unique()
    for weights, models in kinds.items():
        kind, _, detail = str(weights).partition(", ")
        best, _, source = kind.partition(" on ")
        whose = f" of {', '.join(models)}" if len(kinds) > 1 else ""
        which = {
            "last": "last weights",
            "average": f"moving average of the weights ({detail})",
            "best": f"weights that were best on {source}",
            "best average": f"moving average of the weights where it was best on {source}",
        }
        text = f"Scores{whose} are those of the {which[best]}"
        if source in table.benchmarks:
            text += f", chosen on it: scores on {source} are too favourable"
        yield f"{text}."


def _cost_notes(table: Table) -> Iterator[str]:
    means = ", the mean over seeds" if len(table.seeds) > 1 else ""
    yield (
        f"Optimiser steps and device-seconds are those of one run{means}, on {', '.join(table.devices)}. "
        "On a CPU, device-seconds are processor time, summed over threads. On a GPU they are elapsed time, "
        "and longer where other jobs share the GPU."
    )
    if "attribution_seconds" in costs_of(table):
        yield "Attribution-seconds are the part of the device-seconds that choosing the frozen weights took."


def _gain_notes(table: Table) -> Iterator[str]:
    lower = [METRICS[metric].title for metric in table.metrics if METRICS[metric].lower_is_better]
    below = f"; for {' and '.join(lower)} a negative difference is a gain" if lower else ""
    yield f"Differences are paired by seed and image; their intervals are a bootstrap over both{below}."
    corrected, seeds = table.cells["p_holm"].dropna(), len(table.seeds)
    if len(corrected):
        marked = (corrected < 0.05).any()
        which = f"{SIGNIFICANT} marks differences that are" if marked else "No difference is"
        number = f"{len(corrected)} comparison{'s' if len(corrected) > 1 else ''}"
        yield f"{which} significant (p < 0.05) after Holm's correction for the {number} of this table."
    if seeds < FEW_SEEDS:
        yield (f"With {seeds} seeds, intervals are too narrow where seeds differ as much as images or more.")
    found = []
    for metric in table.metrics:
        unit = " dB" if metric == "psnr" else ""
        sizes = {name: table.detectable[name, metric] for name in table.benchmarks}
        texts = [f"{size:.2g}{unit} on {name}" for name, size in sizes.items() if not math.isnan(size)]
        found += [f"{METRICS[metric].title} {', '.join(texts)}"] if texts else []
    if found:
        yield (
            f"With {seeds} seeds, this design finds true differences of these sizes in 4 of 5 cases (paired "
            f"t-test over seeds, 5 % level, one comparison): {'; '.join(found)}."
        )


def brief_notes(table: Table) -> Iterator[str]:
    """Which networks do worse than no network."""
    below = [
        f"{model} ×{scale} on {benchmark} ({', '.join(methods)})"
        for (scale, model, benchmark), methods in below_bicubic(table).items()
    ]
    if below:
        yield (
            f"PSNR is below that of bicubic interpolation for {'; '.join(below)}: trained too briefly, or "
            "from unsuitable photographs or settings, so these rows do not tell methods apart."
        )


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


def _paper_note(table: Table) -> str:
    """Where the paper's scores are from, or why there are none."""
    if table.paper is None:
        return "The paper has no table of these methods to compare with."
    if table.cells["paper"].isna().all():
        return (
            f"No scores of the paper's Table {table.paper} stand here: it has none for these networks, "
            "scales, methods and benchmarks."
        )
    ours = "" if table.trained_on == PAPERS_PHOTOGRAPHS else f", ours on {table.trained_on}"
    return (
        f"Under a row: the scores of the paper's Table {table.paper}, and ours minus these. "
        f"The paper's networks are trained on DIV2K{ours}."
    )
