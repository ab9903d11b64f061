"""The paper's tables, as transcribed, against themselves and the paper's text."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bspa.tables.table import read_paper

Scores = dict[tuple[int, str, str, str, str], float]
Paper = dict[int, Scores]
TABLES = range(1, 7)
ABLATIONS = ("set14", "b100", "urban100", "div2k_valid")
BENCHMARKS = ("set5", "set14", "b100", "urban100", "manga109", "div2k_valid")
MODELS = ("fsrcnn", "edsr_baseline", "rcan")
METHODS = ("baseline", "sampling_aug", "udn", "bspa")
ABLATED = {
    1: ("baseline", "inverse", "alternating", "fig", "bspa"),
    2: ("bspa", "bspa_beta05", "bspa_beta08", "bspa_beta10"),
    3: ("bspa", "bspa_imbalance50", "bspa_imbalance100", "bspa_imbalance200"),
    5: ("bspa_classes5", "bspa", "bspa_classes20"),
}
GROUPS = [(scale, model) for scale in (2, 3, 4) for model in MODELS]


@pytest.fixture(scope="module")
def paper() -> Paper:
    return {table: read_paper(table) for table in TABLES}


def ablated(table: Scores) -> list[list[float]]:
    """An ablation's table as the paper prints it: a row for each benchmark, a column for each method."""
    return [
        [table[4, "edsr_baseline", method, benchmark, "psnr"] for method in methods_of(table)]
        for benchmark in ABLATIONS
    ]


def methods_of(table: Scores) -> list[str]:
    return list(dict.fromkeys(method for _, _, method, _, _ in table))


def test_every_cell_is_there(paper: Paper) -> None:
    assert [len(paper[table]) for table in TABLES] == [20, 16, 16, 432, 12, 32]
    for number, methods in ABLATED.items():
        assert set(paper[number]) == {
            (4, "edsr_baseline", method, benchmark, "psnr") for method in methods for benchmark in ABLATIONS
        }
        assert methods_of(paper[number]) == list(methods)
    assert set(paper[4]) == {
        (scale, model, method, benchmark, metric)
        for scale, model in GROUPS
        for method in METHODS
        for benchmark in BENCHMARKS
        for metric in ("psnr", "ssim")
    }
    assert set(paper[6]) == {
        (4, "rcan", method, benchmark, metric)
        for method in METHODS
        for benchmark in ABLATIONS
        for metric in ("niqe", "lpips")
    }


def test_the_tables_agree_where_they_meet(paper: Paper) -> None:
    for benchmark in ABLATIONS:
        bspa = {paper[table][4, "edsr_baseline", "bspa", benchmark, "psnr"] for table in (1, 2, 3, 4, 5)}
        baseline = {paper[table][4, "edsr_baseline", "baseline", benchmark, "psnr"] for table in (1, 4)}
        assert len(bspa) == len(baseline) == 1, (benchmark, bspa, baseline)


# ---- against the paper's text ----------------------------------------------


@pytest.fixture(scope="module")
def lines(data: Path) -> list[str]:
    file = data.parent / "paper" / "bspa.md"
    if not file.exists():
        pytest.skip(f"the paper's text is not at {file}")
    return file.read_text(encoding="utf-8").splitlines()


def grid_after(lines: list[str], title: str) -> list[list[float]]:
    """The rows with numbers that follow a title: first cell, then the others."""
    start = next(index for index, line in enumerate(lines) if re.match(title, line))
    rows = []
    for line in lines[start + 1 :]:
        if re.match(r"(Set14|B100|Urban100|DIV2K valid)\t\d", line):
            rows.append([float(cell) for cell in line.split("\t")[1:]])
        elif rows:
            return rows
    raise AssertionError(f"no end of {title}")


@pytest.mark.parametrize("number", ABLATED)
def test_the_ablations_are_those_of_the_text(paper: Paper, lines: list[str], number: int) -> None:
    assert ablated(paper[number]) == grid_after(lines, f"Table {number}:")


def rows_of_table4(lines: list[str]) -> list[list[str]]:
    """The cells of the scores, in the rows' order, with what is left of their marks."""
    rows = [re.search(r"\t[\d.]+[KM]\t(.*)", line) for line in lines]
    return [row[1].split("\t") for row in rows if row]


def plain(cell: str) -> list[float]:
    """The numbers of a cell (PSNR/SSIM) without marks."""
    return [float(number) for number in re.findall(r"[\d.]+", cell)]


def test_table_4_is_that_of_the_text(paper: Paper, lines: list[str]) -> None:
    transcribed = [
        [
            [paper[4][scale, model, method, benchmark, metric] for metric in ("psnr", "ssim")]
            for benchmark in BENCHMARKS
        ]
        for scale, model in GROUPS
        for method in METHODS
    ]
    assert transcribed == [[plain(cell) for cell in row] for row in rows_of_table4(lines)]


def test_table_6_is_that_of_the_text(paper: Paper, lines: list[str]) -> None:
    start = lines.index("Model\tSet14\tB100\tUrban100\tDIV2K valid\t\t\t\t") + 1
    printed = [[plain(cell) for cell in line.split("\t")[1:5]] for line in lines[start : start + 4]]
    assert printed == [
        [
            [paper[6][4, "rcan", method, benchmark, metric] for metric in ("niqe", "lpips")]
            for benchmark in ABLATIONS
        ]
        for method in METHODS
    ]
