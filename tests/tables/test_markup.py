"""Tables for readers: what stands in Markdown, LaTeX and HTML."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bspa.metrics.catalogue import LPIPS_CONVENTION, NIQE_CONVENTION, PSNR_SSIM_CONVENTION
from bspa.tables.markup import (
    LATEX,
    MARKDOWN,
    print_number,
    rank_printed,
    short_count,
    to_html,
    to_latex,
    to_markdown,
)
from bspa.tables.table import Table
from tests.support.table_files import Results

ALL = pytest.mark.parametrize("write", [to_markdown, to_latex, to_html])
Write = Callable[[Table], str]


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(tmp_path)


@pytest.fixture
def two_scales(results: Results) -> Table:
    results.two_scales()
    return results.table()


def markdown_rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|") and "--" not in line]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def latex_rows(text: str) -> list[list[str]]:
    """Cells of LaTeX, in Markdown."""
    for latex, markdown in (
        (r"\\underline\{(.*?)\}", r"<u>\1</u>"),
        (r"\\textbf\{(.*?)\}", r"**\1**"),
        (r"\\shortstack\{(.*?)\\\\(.*?)\}", r"\1<br>\2"),
        (r"\$\\times (\d)\$", r"×\1"),
        (r"--", "–"),
        (r"\\([_&])", r"\1"),
    ):
        text = re.sub(latex, markdown, text)
    rows = [line.removesuffix(r"\\") for line in text.splitlines() if line.endswith(r"\\")]
    return [[cell.strip() for cell in re.split(" & (?!co)", row)] for row in rows]


class Cells(HTMLParser):
    """Rows of cells of a page, in Markdown."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self._inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self._inside = True
        elif self._inside:
            self.rows[-1][-1] += "**" if tag == "b" else f"<{tag}>"

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self.rows[-1][-1] = self.rows[-1][-1].strip()
            self._inside = False
        elif self._inside:
            self.rows[-1][-1] += "**" if tag == "b" else f"</{tag}>"

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.rows[-1][-1] += data


def test_scores_are_printed_as_in_the_paper_and_marked_as_printed(two_scales: Table) -> None:
    header, *rows = markdown_rows(to_markdown(two_scales))
    leading = ["Scale", "Model", "Method", "Params", "Steps", "Device-seconds"]
    assert header == [*leading, "Set5<br>PSNR/SSIM", "my_set<br>PSNR/SSIM"]
    assert [row[:3] for row in rows[:3]] == [
        ["×2", "–", "bicubic"],
        ["", "FSRCNN", "baseline & co"],
        ["", "FSRCNN", "bspa & co"],
    ]
    assert [row[0] for row in rows] == ["×2", "", "", "", "", "×4", "", ""]
    assert rows[1][3:6] == ["24.5K", "800", "12"]
    assert [row[6] for row in rows] == [
        "35.00/0.8500",
        # 33.094 and 33.086 are both printed as 33.09, 0.91804 and 0.91796 both as 0.9180.
        "**33.09**/<u>0.9180</u>",
        "**33.09**/<u>0.9180</u>",
        "<u>33.05</u>/**0.9185**",
        "37.58/0.9590",
        "35.00/0.8500",
        "<u>28.14</u>/<u>0.7960</u>",
        "**29.04**/**0.8241**",
    ]


def test_latex_and_html_hold_the_cells_of_markdown(two_scales: Table) -> None:
    expected = markdown_rows(to_markdown(two_scales))
    latex = to_latex(two_scales)
    assert latex_rows(latex) == expected
    assert latex.count(r"\midrule") == 2
    assert latex.count("{") == latex.count("}")
    assert Cells(to_html(two_scales)).rows == expected


@ALL
def test_each_text_tells_number_convention_cost_and_marks(two_scales: Table, write: Write) -> None:
    text = write(two_scales)
    expected = (
        "Table 4: Methods compared.",
        PSNR_SSIM_CONVENTION,
        "cpu (float32)",
        "shares cores",
        "Equal scores",
    )
    for words in expected:
        assert words in text
    assert "±" not in text
    assert "Difference" not in text
    assert "moving average" not in text


@ALL
def test_a_heading_without_caption_or_number(results: Results, write: Write) -> None:
    results.two_scales()
    text = write(results.table(caption=""))
    assert "Table 4" in text
    assert "Table 4:" not in text
    assert "Table own: <Two\nlines>" in to_markdown(results.table(table="own", caption="<Two\nlines>"))


def test_a_caption_stays_one_comment_in_latex_and_text_in_html(results: Results) -> None:
    results.two_scales()
    table = results.table(caption="<Two\nlines>")
    assert to_latex(table).startswith("% Table 4: <Two lines>\n% Needs")
    assert "&lt;Two\nlines&gt;" in to_html(table)


@ALL
def test_a_method_without_effect_has_a_footnote(results: Results, write: Write) -> None:
    results.score(4, "fsrcnn", "baseline", "Set5", [30.0], [0.9])
    results.score(4, "fsrcnn", "bspa", "Set5", [30.0], [0.9])
    results.run(4, "fsrcnn", "baseline")
    results.run(4, "fsrcnn", "bspa", warning="no inverse phase: trains as the baseline")
    mark = "$^{1}$" if write is to_latex else "<sup>1</sup>"
    text = write(results.table())
    assert f"bspa{mark}" in text
    assert f"baseline{mark}" not in text
    assert f"{mark} no inverse phase: trains as the baseline" in text
    assert "<u>" not in text.replace("<ul>", "")
    assert "**" not in text, "where all are equal, none is marked"


def test_gains_stand_in_a_block_of_their_own(results: Results) -> None:
    results.two_seeds()
    table = results.table()
    cell = table.cells.loc[(4, "rcan", "bspa", "Set5", "psnr")]
    interval = f"+0.30 [{cell['gain_low']:+.2f}, {cell['gain_high']:+.2f}] / 0.0000 [0.0000, 0.0000]"
    above, below = to_markdown(table).split("Difference to baseline, with its 95 % interval:\n")
    assert markdown_rows(below) == [
        ["Scale", "Model", "Method", "Set5<br>PSNR/SSIM"],
        ["×4", "fsrcnn", "BSPA, β", interval],
        ["", "rcan", "BSPA, β", interval],
    ]
    assert interval not in above
    assert markdown_rows(above)[2][6] == "<u>35.50</u> ± 4.95 / 0.8875 ± 0.1237"
    assert "over seeds 0, 7" in below
    assert "With 2 seeds" in below
    assert interval in to_latex(table)
    assert interval in to_html(table)


def test_an_infinite_psnr_is_printed(results: Results) -> None:
    for seed in (0, 1):
        results.score(4, "fsrcnn", "bspa", "Set5", [math.inf, 30.0], [1.0, 0.9], seed=seed)
        results.score(4, "fsrcnn", "baseline", "Set5", [30.0, 31.0], [0.9, 0.9], seed=seed)
        results.run(4, "fsrcnn", "bspa", seed=seed)
        results.run(4, "fsrcnn", "baseline", seed=seed)
    text = to_markdown(results.table())
    assert "**∞** / **0.9500** ± 0.0000" in text
    assert "+∞ / +0.0500 [0.0000, +0.1000]" in text
    assert r"\textbf{$\infty$} / \textbf{0.9500} $\pm$ 0.0000" in to_latex(results.table())


# ---- against the paper -----------------------------------------------------


def test_the_papers_scores_and_the_differences_stand_beneath(results: Results) -> None:
    results.ablation()
    _, *rows = markdown_rows(to_markdown(results.table(paper=1)))
    assert [row[2:] for row in rows] == [
        ["bicubic", "0", "0", "0", "26.00/0.7000", "26.00/0.7000"],
        ["baseline", "24.5K", "800", "12", "28.25/0.7000", "28.25/0.7000"],
        ["*paper*", "", "", "", "28.22/–", ""],
        ["*difference*", "", "", "", "+0.03/–", ""],
        ["mine", "24.5K", "800", "12", "<u>28.30</u>/0.7000", "<u>28.30</u>/0.7000"],
        ["bspa", "24.5K", "800", "12", "**28.37**/0.7000", "**28.37**/0.7000"],
        ["*paper*", "", "", "", "28.37/–", ""],
        ["*difference*", "", "", "", "0.00/–", ""],
    ]


@pytest.mark.parametrize(
    ("paper", "trained_on", "words"),
    [
        (1, "my_photos", "trained on DIV2K, ours on my_photos."),
        (1, "div2k_train", "trained on DIV2K."),
        (4, "my_photos", "trained on DIV2K, ours on my_photos."),
        (6, "my_photos", "No scores of the paper's Table 6"),
        (None, "my_photos", "The paper has no table of these methods"),
    ],
)
def test_a_note_tells_of_the_papers_scores_or_why_there_are_none(
    results: Results, paper: int | None, trained_on: str, words: str
) -> None:
    results.ablation()
    assert words in to_markdown(results.table(paper=paper, trained_on=trained_on))


# ---- perceptual metrics ----------------------------------------------------


def test_the_lowest_niqe_is_best_and_missing_metrics_are_told(results: Results) -> None:
    results.perceived()
    table = results.table(paper=6)
    text = to_markdown(table)
    header, *rows = markdown_rows(text)
    assert header[6] == "set14<br>NIQE/LPIPS"
    assert [row[6] for row in rows] == [
        "8.00/–",
        *("<u>6.60</u>/–", "6.59/0.2932", "+0.01/–"),
        *("**6.30**/–", "6.26/0.2844", "+0.04/–"),
    ]
    for note in (NIQE_CONVENTION, LPIPS_CONVENTION, "LPIPS was not computed: ", '".[perceptual]"'):
        assert note in text
    assert PSNR_SSIM_CONVENTION not in text
    assert "NIQE was not computed" not in text
    assert r"\underline{6.60}/--" in to_latex(table)


def test_a_metric_that_some_rows_lack_is_told(results: Results) -> None:
    results.perceived()
    results.rewrite(2, niqe=[6.2, 6.3, 6.4], lpips=[0.25, 0.5, 0.75])
    text = to_markdown(results.table())
    assert "LPIPS was not computed where – stands: " in text
    assert "**6.30**/0.5000" in text, "a number alone is not ranked"


def test_left_out_images_are_named(results: Results) -> None:
    results.perceived()
    results.rewrite(1, niqe=[6.5, None, 6.7])
    assert "NIQE on set14 ×4 leaves out 001: too small or too flat" in to_markdown(results.table())
    assert r"set14 $\times$4 leaves out 001" in to_latex(results.table())


def test_moving_averages_of_the_weights_are_told(results: Results) -> None:
    results.score(4, "bicubic", "bicubic", "Set5", [26.0], [0.8])
    for method, ema in (("baseline", None), ("bspa", 0.999)):
        labels = {"model_label": "FSRCNN", "method_label": method.upper()}
        results.score(4, "fsrcnn", method, "Set5", [30.0], [0.9], **labels)
        results.run(4, "fsrcnn", method, ema=ema)
    assert "FSRCNN ×4 BSPA are exponential moving averages (decay 0.999)" in to_markdown(results.table())
    text = results.summaries[0].read_text()
    results.summaries[0].write_text(text.replace("null", "0.999"))
    assert "all networks are exponential moving averages" in to_markdown(results.table())


# ---- pieces ----------------------------------------------------------------


@pytest.mark.parametrize("which", ["two_scales", "two_seeds", "ablation", "perceived"])
def test_latex_compiles(which: str, results: Results, tmp_path: Path) -> None:
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed")
    getattr(results, which)()
    table = results.table(paper={"ablation": 1, "perceived": 6}.get(which))
    (tmp_path / "table4.tex").write_text(to_latex(table))
    (tmp_path / "page.tex").write_text(
        r"\documentclass{article}\usepackage{booktabs}\begin{document}\begin{table}\input{table4}\end{table}"
        r"\end{document}"
    )
    command = ["pdflatex", "-halt-on-error", "-interaction=batchmode", "page.tex"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60)


@pytest.mark.parametrize(
    ("value", "signed", "text"),
    [
        (28.219, False, "28.22"),
        (0.0349, True, "+0.03"),
        (-0.0349, True, "−0.03"),
        (0.0049, True, "0.00"),
        (-0.0049, True, "0.00"),
        (-0.0049, False, "0.00"),
        (math.nan, True, "–"),
        (math.inf, False, "∞"),
        (-math.inf, True, "−∞"),
    ],
)
def test_differences_have_a_sign_unless_they_are_printed_as_zero(
    value: float, signed: bool, text: str
) -> None:
    assert print_number(value, "psnr", MARKDOWN, signed=signed) == text


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        (
            r"a_b & 5% #1 $x {y} ~^\z",
            r"a\_b \& 5\% \#1 \$x \{y\} \textasciitilde{}\textasciicircum{}\textbackslash{}z",
        ),
        ("β = 0.5, ×4 ± −1 – σ", r"$\beta$ = 0.5, $\times$4 $\pm$ $-$1 -- $\sigma$"),
    ],
)
def test_special_characters_of_latex_are_escaped(text: str, latex: str) -> None:
    assert LATEX.escape(text) == latex


@given(st.lists(st.integers(2000, 2010), min_size=2, max_size=8).filter(lambda values: len(set(values)) > 1))
def test_ranks_are_dense_and_follow_the_numbers(hundredths: list[int]) -> None:
    ranks = rank_printed([f"{value / 100:.2f}" for value in hundredths])
    for value, rank in zip(hundredths, ranks, strict=True):
        assert rank == 1 + len({other for other in hundredths if other > value})
    negatives = rank_printed([f"-{value / 100:.2f}" for value in hundredths], lower_is_better=True)
    assert negatives == ranks


@pytest.mark.parametrize(
    ("numbers", "ranks"),
    [
        (["28.22"], [0]),
        (["28.22", "28.22"], [0, 0]),
        (["28.22", "nan"], [0, 0]),
        (["28.22", "nan", "28.23"], [2, 0, 1]),
        (["inf", "28.22", "inf"], [1, 2, 1]),
        (["9.99", "10.01"], [2, 1]),
    ],
)
def test_only_different_numbers_are_ranked(numbers: list[str], ranks: list[int]) -> None:
    assert rank_printed(numbers) == ranks


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (999, "999"), (24518, "24.5K"), (999949, "999.9K"), (999950, "1.0M"), (15592355, "15.6M")],
)
def test_counts_are_printed_as_in_the_paper(count: int, text: str) -> None:
    assert short_count(count) == text
