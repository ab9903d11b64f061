"""Tables for readers: what stands in Markdown, LaTeX and HTML."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from bspa.metrics.catalogue import LPIPS_CONVENTION, NIQE_CONVENTION, PSNR_SSIM_CONVENTION
from bspa.tables.markup import LATEX, MARKDOWN, print_number, short_count, to_html, to_latex, to_markdown
from bspa.tables.table import Table
from tests.support.table_files import Results

ALL = pytest.mark.parametrize("write", [to_markdown, to_latex, to_html])
Write = Callable[[Table], str]


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


def html_rows(text: str) -> list[list[str]]:
    """Cells of a page, in Markdown."""
    rows = re.findall(r"<tr>(.*?)</tr>", re.sub("</?b>", "**", text))
    cells = [re.findall(r"<t[dh].*?>(.*?)</t[dh]>", row) for row in rows]
    return [[cell.replace("&amp;", "&").strip() for cell in row] for row in cells]


def test_scores_are_printed_as_in_the_paper_and_marked_as_printed(two_scales: Table) -> None:
    header, *rows = markdown_rows(to_markdown(two_scales))
    leading = ["Scale", "Model", "Method", "Params", "Steps", "Device-seconds"]
    assert header == [*leading, "Set5<br>PSNR/SSIM", "my_set<br>PSNR/SSIM"]
    assert [row[:3] for row in rows[:2]] == [["×2", "–", "bicubic"], ["", "FSRCNN", "baseline & co"]]
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
    assert html_rows(to_html(two_scales)) == expected


@ALL
def test_each_text_tells_number_convention_cost_and_marks(two_scales: Table, write: Write) -> None:
    text = write(two_scales)
    for words in ("Table 4: Methods compared.", PSNR_SSIM_CONVENTION, "cpu (float32)", "Equal scores"):
        assert words in text
    assert "Scores are those of the last weights." in text
    for words in ("±", "Difference", "Attribution-seconds", "Holm", "this design"):
        assert words not in text


def test_captions_and_names(results: Results) -> None:
    results.two_scales()
    assert "### Table 4\n" in to_markdown(results.table(caption=""))
    table = results.table(table="own", caption="<Two\nlines>")
    assert "Table own: <Two\nlines>" in to_markdown(table)
    assert to_latex(table).startswith("% Table own: <Two lines>\n% Needs")
    assert "&lt;Two\nlines&gt;" in to_html(table)


@ALL
def test_a_method_without_effect_has_a_footnote(results: Results, write: Write) -> None:
    warning = "no inverse phase: trains as the baseline"
    for method in ("baseline", "bspa"):
        results.score(4, "fsrcnn", method, "Set5", [30.0], [0.9])
        results.run(4, "fsrcnn", method, warning=warning if method == "bspa" else None)
    mark = "$^{1}$" if write is to_latex else "<sup>1</sup>"
    text = write(results.table())
    assert f"bspa{mark}" in text
    assert f"baseline{mark}" not in text
    assert f"{mark} {warning}" in text
    assert "<u>" not in text, "where all are equal, none is marked"
    assert "**" not in text


def test_gains_stand_in_a_block_of_their_own(results: Results) -> None:
    results.two_seeds()
    table = results.table()
    cell = table.cells.loc[(4, "rcan", "bspa", "Set5", "psnr")]
    ends = f"[{cell['gain_low']:+.2f}, {cell['gain_high']:+.2f}]"
    interval = f"+0.20 {ends}† / 0.0000 [0.0000, 0.0000]"
    above, below = to_markdown(table).split("Difference to baseline, with its 95 % interval:\n")
    assert markdown_rows(below) == [
        ["Scale", "Model", "Method", "Set5<br>PSNR/SSIM"],
        ["×4", "fsrcnn", "BSPA, β", interval],
        ["", "rcan", "BSPA, β", interval],
    ]
    assert markdown_rows(above)[2][6] == "<u>35.50</u> ± 4.95 / 0.8875 ± 0.1237"
    assert "over seeds 0, 7" in below
    assert "With 2 seeds, intervals are too narrow where" in below
    assert interval.replace("†", r"$^{\dagger}$") in to_latex(table)
    assert interval in to_html(table)


def test_notes_tell_of_significance_and_of_what_the_design_can_see(results: Results) -> None:
    results.two_seeds()
    text = to_markdown(results.table())
    assert (
        "† marks differences that are significant (p < 0.05) after Holm's correction for the 4 comp" in text
    )
    # The seeds' gains are 0.2 and 0.202; their spread over root 2 is 0.001, times t(0.975) + t(0.8).
    assert "With 2 seeds, this design finds true differences" in text
    assert f"one comparison): PSNR {0.001 * (12.7062 + 1.3764):.2g} dB on Set5.\n" in text
    text = to_markdown(results.table(metrics=["ssim"]))
    assert "No difference is significant (p < 0.05) after Holm's correction for the 2 comparisons" in text
    assert "†" not in text
    assert "this design" not in text, "nothing differs"


@ALL
def test_the_cost_of_attribution_has_a_column(results: Results, write: Write) -> None:
    for method, seconds in (("baseline", 0.0), ("bspa", 3.4)):
        results.score(4, "edsr_baseline", method, "set14", [30.0], [0.9])
        results.run(4, "edsr_baseline", method, attribution_seconds=seconds)
    text = write(results.table(paper=1))
    rows = {to_markdown: markdown_rows, to_latex: latex_rows, to_html: html_rows}[write](text)
    header, baseline, *of_the_paper, bspa, _, _ = [row[5:7] for row in rows]
    assert header == ["Device-seconds", "Attribution-seconds"]
    assert (baseline, *of_the_paper, bspa) == (["12", "0"], ["", ""], ["", ""], ["12", "3"])
    assert {len(row) for row in rows} == {8}
    assert "Attribution-seconds are the part of the device-seconds" in text


def test_an_infinite_psnr_is_printed(results: Results) -> None:
    for seed in (0, 1):
        for method, first in (("baseline", 31.0), ("bspa", math.inf)):
            results.score(4, "fsrcnn", method, "Set5", [first, 30.0], [0.9, 0.9], seed=seed)
            results.run(4, "fsrcnn", method, seed=seed)
    assert "**∞** / 0.9000 ± 0.0000" in to_markdown(results.table())
    assert "+∞ / 0.0000 [0.0000, 0.0000]" in to_markdown(results.table())
    assert r"\textbf{$\infty$} / 0.9000 $\pm$ 0.0000" in to_latex(results.table())


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
        (4, "div2k_train", "trained on DIV2K."),
        (6, "my_photos", "No scores of the paper's Table 6"),
        (None, "my_photos", "The paper has no table of these methods"),
    ],
)
def test_a_note_tells_of_the_papers_scores_or_why_there_are_none(
    results: Results, paper: int | None, trained_on: str, words: str
) -> None:
    results.ablation()
    assert words in to_markdown(results.table(paper=paper, trained_on=trained_on))


def test_the_lowest_niqe_is_best_and_missing_metrics_are_told(results: Results) -> None:
    results.perceived()
    text = to_markdown(results.table(paper=6))
    header, *rows = markdown_rows(text)
    assert header[6] == "set14<br>NIQE/LPIPS"
    assert [row[6] for row in rows] == [
        "8.00/–",
        *("<u>6.60</u>/–", "6.59/0.2932", "+0.01/–"),
        *("**6.30**/–", "6.26/0.2844", "+0.04/–"),
    ]
    for note in (NIQE_CONVENTION, LPIPS_CONVENTION, "LPIPS was not computed: ", '".[perceptual]"'):
        assert note in text
    assert "NIQE was not computed" not in text


def test_a_metric_that_some_rows_lack_is_told_and_left_out_images_are_named(results: Results) -> None:
    results.perceived()
    results.rewrite(1, niqe=[6.5, None, 6.7])
    results.rewrite(2, lpips=[0.25, 0.5, 0.75])
    text = to_markdown(results.table())
    assert "LPIPS was not computed where – stands: " in text
    assert "**6.30**/0.5000" in text, "a number alone is not ranked"
    assert "NIQE on set14 ×4 leaves out 001: too small or too flat" in text


@pytest.mark.parametrize(
    ("fsrcnn", "rcan", "notes"),
    [
        ("last", "last", ["Scores are those of the last weights."]),
        (
            "average, decay 0.999",
            "last",
            [
                "Scores of FSRCNN are those of the moving average of the weights (decay 0.999).",
                "Scores of RCAN are those of the last weights.",
            ],
        ),
        (
            "best on Set5, at step 40",
            "best on Set5, at step 60",
            [
                "Scores are those of the weights that were best on Set5, chosen on it: scores on Set5 are "
                "too favourable."
            ],
        ),
        ("best on own, at step 40",) * 2 + (["Scores are those of the weights that were best on own."],),
        ("best average on own, at step 40",) * 2
        + (["Scores are those of the moving average of the weights where it was best on own."],),
    ],
)
def test_a_note_tells_which_weights_are_scored(
    results: Results, fsrcnn: str, rcan: str, notes: list[str]
) -> None:
    results.score(4, "bicubic", "bicubic", "Set5", [26.0], [0.8])
    for model, weights in (("fsrcnn", fsrcnn), ("rcan", rcan)):
        for method in ("baseline", "bspa"):
            results.score(4, model, method, "Set5", [30.0], [0.9], model_label=model.upper())
            results.run(4, model, method, weights=weights)
    lines = to_markdown(results.table()).splitlines()
    assert [line[2:] for line in lines if line.startswith("- Scores")] == notes


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


@pytest.mark.parametrize(
    ("scores", "marks"),
    [
        ([28.22, 28.22], "  "),
        ([28.22, math.nan], "  "),
        ([28.22, math.nan, 28.23], "2 1"),
        ([math.inf, 28.22, math.inf, 28.21], "121 "),
        ([9.99, 10.01, 9.99, 9.98], "212 "),
    ],
)
def test_only_scores_that_differ_in_print_are_marked(
    results: Results, scores: list[float], marks: str
) -> None:
    for number, score in enumerate(scores):  # of NIQE, the lowest is best
        results.score(4, "rcan", f"m{number}", "own", [-score], [score], kind="perceptual")
        results.run(4, "rcan", f"m{number}")
    rows = markdown_rows(to_markdown(results.table(metrics=["niqe"])))[1:]
    assert "".join("1" if "**" in row[6] else "2" if "<u>" in row[6] else " " for row in rows) == marks


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (999, "999"), (24518, "24.5K"), (999949, "999.9K"), (999950, "1.0M"), (15592355, "15.6M")],
)
def test_counts_are_printed_as_in_the_paper(count: int, text: str) -> None:
    assert short_count(count) == text


@ALL
def test_networks_below_bicubic_interpolation_are_named(results: Results, write: Write) -> None:
    psnr = {"bicubic": (30.0, 30.0), "baseline": (31.0, 30.0), "udn": (29.9, 31.0), "bspa": (1.0, 29.99)}
    for method, scores in psnr.items():
        for benchmark, score in zip(("Set5", "Set14"), scores, strict=True):
            model = "bicubic" if method == "bicubic" else "rcan"
            labels = {"model_label": "RCAN", "method_label": method.upper()}
            results.score(4, model, method, benchmark, [score - 1, score + 1], [0.9] * 2, **labels)
        if method != "bicubic":
            results.run(4, "rcan", method)
    text = write(results.table()).replace(r"$\times$", "×")
    found = "below that of bicubic interpolation for RCAN ×4 on Set5 (UDN, BSPA); RCAN ×4 on Set14 (BSPA):"
    assert found in text
    assert "bicubic interpolation for" not in write(results.table(metrics=["ssim"]))


def test_degraded_lr_images_are_told_under_the_table(results: Results) -> None:
    results.two_scales()
    said = "LR images are degraded"
    assert said not in to_markdown(results.table())
    assert f"- {said}: jpeg." in to_markdown(results.table(degradation=f"{said}: jpeg"))
