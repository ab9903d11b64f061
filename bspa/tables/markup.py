"""Tables for readers, in Markdown and LaTeX; scores of one benchmark share a cell, as in the paper."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bspa.metrics.catalogue import LPIPS_CONVENTION, NIQE_CONVENTION
from bspa.metrics.catalogue import PSNR_SSIM_CONVENTION as CONVENTION
from bspa.tables.paper import TRAINED_ON
from bspa.tables.table import BICUBIC, Column, Entry, Gain, Table

LEADING = ("Scale", "Model", "Method", "Params", "Steps", "Device-seconds")
FEW_SEEDS = 10
"""Below which a bootstrap over seeds is narrower than it says: see `bspa.tables.statistics.mean_interval`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """How a metric is printed and read."""

    label: str
    form: str
    convention: str
    lower_is_better: bool = False
    needs: str = ""
    """What must be there to compute it, if not everyone has it."""


METRICS = {
    "psnr": Metric(label="PSNR", form=".2f", convention=CONVENTION),
    "ssim": Metric(label="SSIM", form=".4f", convention=CONVENTION),
    "niqe": Metric(
        label="NIQE",
        form=".2f",
        convention=NIQE_CONVENTION,
        lower_is_better=True,
        needs="a pristine model (perceptual.niqe in the config) and images of 192x96 pixels or more",
    ),
    "lpips": Metric(
        label="LPIPS",
        form=".4f",
        convention=LPIPS_CONVENTION,
        lower_is_better=True,
        needs='the extra "perceptual" (pip install -e ".[perceptual]")',
    ),
}

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
    """How a text format writes what the table holds."""

    best: str
    second: str
    aside: str
    scale: str
    minus: str
    infinity: str
    plus_minus: str
    missing: str
    escape: Callable[[str], str]


MARKDOWN = Markup(
    best="**{}**",
    second="<u>{}</u>",
    aside="*{}*",
    scale="×{}",
    minus="−",
    infinity="∞",
    plus_minus="±",
    missing="–",
    escape=lambda text: text.replace("|", r"\|"),
)
LATEX = Markup(
    best=r"\textbf{{{}}}",
    second=r"\underline{{{}}}",
    aside=r"\textit{{{}}}",
    scale=r"$\times {}$",
    minus="$-$",
    infinity=r"$\infty$",
    plus_minus=r"$\pm$",
    missing="--",
    escape=lambda text: "".join(LATEX_SPECIAL.get(character, character) for character in text),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A line of text in the table, about an entry."""

    entry: Entry
    cells: Sequence[str]


def to_markdown(table: Table) -> str:
    """Return the table in Markdown: the best score of a network at a scale is bold, the second underlined."""
    headings = [f"{benchmark}<br>{_metric_labels(table)}" for benchmark in table.benchmarks]
    blocks = [f"{table.caption}\n"] if table.caption else []
    blocks.append(_grid([*LEADING, *headings], _score_lines(table, MARKDOWN), left=3, right=3))
    if table.has_gains:
        gains = _grid([*LEADING[:3], *headings], _gain_lines(table, MARKDOWN), left=3)
        blocks += [f"{_gain_title(table)}\n", gains]
    return "\n".join([*blocks, "".join(f"- {note}\n" for note in _notes(table))])


def to_latex(table: Table) -> str:
    r"""Return what `to_markdown` holds as a tabular to ``\input``; the package booktabs is needed."""
    lines = [
        rf"% {' '.join(table.caption.split()) or table.name}",
        r"% Needs \usepackage{booktabs}.",
        *_tabular(table, LEADING, _score_lines(table, LATEX), "lllrrr"),
    ]
    if table.has_gains:
        lines += [
            r"\par\medskip",
            LATEX.escape(_gain_title(table)) + r"\par\smallskip",
            *_tabular(table, LEADING[:3], _gain_lines(table, LATEX), "lll"),
        ]
    notes = [LATEX.escape(note) + r"\par" for note in _notes(table)]
    return "\n".join([*lines, r"{\par\footnotesize", *notes, "}"]) + "\n"


def rank_printed(numbers: Sequence[str], *, lower_is_better: bool = False) -> list[int]:
    """Rank numbers as they are printed: 1 for the best, 2 for the next; equal ones share a rank.

    What is not a number, and a number alone, has nothing to be compared with and gets 0.
    """
    values = [float(number) for number in numbers]
    present = [value for value in values if not math.isnan(value)]
    if len(present) < 2:
        return [0] * len(values)
    ranked = sorted(set(present), reverse=not lower_is_better)
    return [0 if math.isnan(value) else 1 + ranked.index(value) for value in values]


def short_count(count: int) -> str:
    """Write a count as the paper does: 24.5K, 1.5M."""
    if count < 1000:
        return str(count)
    thousands = f"{count / 1e3:.1f}"
    return f"{thousands}K" if float(thousands) < 1000 else f"{count / 1e6:.1f}M"


def print_number(value: float, metric: str, markup: Markup, *, signed: bool = False) -> str:
    """Write a score, or with its sign a difference of scores; a difference printed as zero has none."""
    if math.isnan(value):
        return markup.missing
    text = format(value, ("+" if signed else "") + METRICS[metric].form)
    if float(text) == 0:
        text = text.lstrip("+-")
    return text.replace("inf", markup.infinity).replace("-", markup.minus)


# ---- layout ----------------------------------------------------------------


def _grid(header: Sequence[str], lines: Iterable[Line], *, left: int, right: int = 0) -> str:
    """A table of Markdown: so many columns to the left, then to the right, the others centred."""
    rule = [":--"] * left + ["--:"] * right + [":-:"] * (len(header) - left - right)
    rows = [[MARKDOWN.escape(name) for name in header], rule, *(line.cells for line in lines)]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in rows)


def _tabular(table: Table, leading: Sequence[str], lines: Iterable[Line], alignment: str) -> Iterator[str]:
    """A tabular of LaTeX, with a rule between scales and a space between networks."""
    columns = len(table.benchmarks)
    yield rf"\begin{{tabular}}{{{alignment}{'c' * columns}}}"
    yield r"\toprule"
    yield " & ".join(map(LATEX.escape, [*leading, *table.benchmarks])) + r" \\"
    yield " & ".join([""] * len(leading) + [_metric_labels(table)] * columns) + r" \\"
    above = None
    for line in lines:
        if above is None or above.scale != line.entry.scale:
            yield r"\midrule"
        elif above.model != line.entry.model:
            yield r"\addlinespace"
        yield " & ".join(line.cells) + r" \\"
        above = line.entry
    yield r"\bottomrule"
    yield r"\end{tabular}"


def _metric_labels(table: Table) -> str:
    return "/".join(METRICS[metric].label for metric in table.metrics)


# ---- cells -----------------------------------------------------------------


def _score_lines(table: Table, markup: Markup) -> list[Line]:
    """A line for each entry and, where the paper has its scores, these and the differences beneath."""
    marked = _marked_scores(table, markup)
    lines = []
    for index, (entry, names) in enumerate(_named(table.entries, markup)):
        cost = [short_count(entry.parameters), str(entry.steps), f"{entry.device_seconds:.0f}"]
        scores = {column: marked[index, column] for column in table.columns}
        lines.append(Line(entry=entry, cells=[*names, *cost, *_per_benchmark(table, scores)]))
        if entry.paper:
            lines += _paper_lines(table, entry, markup)
    return lines


def _paper_lines(table: Table, entry: Entry, markup: Markup) -> Iterator[Line]:
    """The paper's scores, and ours minus these; no text on benchmarks of which the paper says nothing."""
    said = {benchmark for benchmark, _ in entry.paper}
    columns = [column for column in table.columns if column[0] in said]
    blank = dict.fromkeys(table.columns, "")
    scores = {
        column: print_number(entry.paper.get(column, math.nan), column[1], markup) for column in columns
    }
    differences = {
        column: print_number(entry.minus_paper(column), column[1], markup, signed=True) for column in columns
    }
    for title, texts in (("paper", scores), ("difference", differences)):
        names = ["", "", markup.aside.format(title), "", "", ""]
        yield Line(entry=entry, cells=[*names, *_per_benchmark(table, blank | texts)])


def _gain_lines(table: Table, markup: Markup) -> Iterator[Line]:
    """A line for each entry with the mean difference to the baseline and its interval."""
    compared = [entry for entry in table.entries if entry.gains]
    for entry, names in _named(compared, markup):
        texts = {column: _print_gain(entry.gains[column], column[1], markup) for column in table.columns}
        yield Line(entry=entry, cells=[*names, *_per_benchmark(table, texts)])


def _print_gain(gain: Gain, metric: str, markup: Markup) -> str:
    mean, low, high = (
        print_number(value, metric, markup, signed=True) for value in (gain.mean, gain.low, gain.high)
    )
    return mean if math.isnan(gain.low) else f"{mean} [{low}, {high}]"


def _named(entries: Sequence[Entry], markup: Markup) -> Iterator[tuple[Entry, list[str]]]:
    """Each entry with its scale, where it is the first of it, its network and its method."""
    above = None
    for entry in entries:
        yield (
            entry,
            [
                "" if above == entry.scale else markup.scale.format(entry.scale),
                markup.escape(entry.model_label),
                "" if entry.model == BICUBIC else markup.escape(entry.method_label),
            ],
        )
        above = entry.scale


def _per_benchmark(table: Table, texts: Mapping[Column, str]) -> Iterator[str]:
    """A cell for each benchmark: its metrics' texts, the slash between blanks where they hold blanks."""
    for benchmark in table.benchmarks:
        of_metrics = [texts[benchmark, metric] for metric in table.metrics]
        yield (" / " if any(" " in text for text in of_metrics) else "/").join(filter(None, of_metrics))


def _marked_scores(table: Table, markup: Markup) -> dict[tuple[int, Column], str]:
    """Scores as printed and marked, by row and column."""
    groups: dict[tuple[int, str], list[int]] = {}
    for index, entry in enumerate(table.entries):
        groups.setdefault((entry.scale, entry.model), []).append(index)
    marks = {1: markup.best, 2: markup.second}
    marked = {}
    for rows in groups.values():
        for column in table.columns:
            metric = METRICS[column[1]]
            numbers = [format(table.entries[index].mean(column), metric.form) for index in rows]
            ranks = rank_printed(numbers, lower_is_better=metric.lower_is_better)
            for index, rank in zip(rows, ranks, strict=True):
                entry = table.entries[index]
                score = marks.get(rank, "{}").format(print_number(entry.mean(column), column[1], markup))
                marked[index, column] = score + _deviation(entry, column, markup)
    return marked


def _deviation(entry: Entry, column: Column, markup: Markup) -> str:
    std = entry.std(column)
    return "" if math.isnan(std) else f" {markup.plus_minus} {print_number(std, column[1], markup)}"


# ---- notes -----------------------------------------------------------------


def _notes(table: Table) -> Iterator[str]:
    for convention in dict.fromkeys(METRICS[metric].convention for metric in table.metrics):
        yield f"{convention}."
    yield from _missing_notes(table)
    if len(table.seeds) > 1:
        seeds = ", ".join(map(str, table.seeds))
        yield f"Means over images, then over seeds {seeds}; after ± the standard deviation over seeds."
    else:
        yield "Means over images."
    yield (
        "Of each network at each scale, the best score as printed is bold and the second underlined; "
        "bicubic interpolation is not ranked."
    )
    if table.devices:
        yield f"Optimiser steps and device-seconds are those of one run, on {', '.join(table.devices)}."
    yield from _average_notes(table)
    if any(entry.paper for entry in table.entries):
        yield _paper_note(table)
    if table.has_gains:
        yield from _gain_notes(table)


def _missing_notes(table: Table) -> Iterator[str]:
    for name in table.metrics:
        columns = [column for column in table.columns if column[1] == name]
        missing = [math.isnan(entry.mean(column)) for entry in table.entries for column in columns]
        if any(missing):
            where = "" if all(missing) else f" where {MARKDOWN.missing} stands"
            yield f"{METRICS[name].label} was not computed{where}: it needs {METRICS[name].needs}."
    for (scale, (benchmark, name)), images in table.unmeasured.items():
        yield (
            f"{METRICS[name].label} on {benchmark} ×{scale} leaves out {', '.join(images)}: "
            "too small, or of too little texture, to be measured in every row."
        )


def _average_notes(table: Table) -> Iterator[str]:
    """Which networks are moving averages of what was trained."""
    trained = [entry for entry in table.entries if entry.model != BICUBIC]
    for decay in dict.fromkeys(entry.ema for entry in trained if entry.ema is not None):
        averaged = [entry for entry in trained if entry.ema == decay]
        names = [f"{entry.model_label} ×{entry.scale} {entry.method_label}" for entry in averaged]
        which = "all networks" if len(averaged) == len(trained) else ", ".join(names)
        yield f"The weights of {which} are exponential moving averages (decay {decay:g}) of the trained ones."


def _paper_note(table: Table) -> str:
    ours = "" if table.trained_on == TRAINED_ON else f", ours on {table.trained_on}"
    return (
        f"Beneath: the scores of the paper's Table {table.paper}, and ours minus these. "
        f"The paper's networks are trained on DIV2K{ours}."
    )


def _gain_title(table: Table) -> str:
    labels = {entry.method_label for entry in table.entries if entry.method == table.baseline}
    return f"Difference to {' or '.join(sorted(labels))}, with its 95 % interval:"


def _gain_notes(table: Table) -> Iterator[str]:
    lower = [METRICS[metric].label for metric in table.metrics if METRICS[metric].lower_is_better]
    below = f"; of {' and '.join(lower)} a negative difference is a gain" if lower else ""
    yield f"Differences are paired by seed and image, their intervals a bootstrap over both{below}."
    if len(table.seeds) < FEW_SEEDS:
        yield f"With {len(table.seeds)} seeds, intervals are too narrow where seeds differ more than images."
