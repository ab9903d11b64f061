from __future__ import annotations

import json
import math
import re
import runpy
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bspa.metrics import CONVENTION
from bspa.table_markup import LATEX, rank_printed, short_count, to_latex, to_markdown
from bspa.tables import read_table4, to_frame

SCRIPTS = Path(__file__).parents[1] / "workflow_scripts"
LEADING = ["scale", "model", "method", "parameters", "steps", "device_seconds"]


class Results:
    """Evaluations and summaries of runs in a folder, in the order that they are added."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.evaluations: list[Path] = []
        self.rows: list[dict] = []
        self.summaries: list[Path] = []
        self.runs: list[dict] = []

    def score(self, scale, model, method, benchmark, psnr, ssim, *, seed=0, images=None, **labels):
        path = self.folder / f"{len(self.evaluations)}.csv"
        images = images or [f"{number:03}" for number in range(len(psnr))]
        pd.DataFrame({"image": images, "width": 64, "height": 48, "psnr": psnr, "ssim": ssim}).to_csv(
            path, index=False
        )
        self.evaluations.append(path)
        self.rows.append(
            dict(scale=scale, model=model, method=method, seed=seed, benchmark=benchmark, **labels)
        )

    def run(self, scale, model, method, *, seed=0, parameters=24518, steps=800, device_seconds=12.5):
        path = self.folder / f"{len(self.summaries)}.json"
        summary = {
            "parameters": parameters,
            "steps": steps,
            "device_seconds": device_seconds,
            "precision": "float32",
            "device": "cpu",
        }
        path.write_text(json.dumps(summary))
        self.summaries.append(path)
        self.runs.append({"scale": scale, "model": model, "method": method, "seed": seed})

    def table(self):
        return read_table4(self.evaluations, self.rows, self.summaries, self.runs)


@pytest.fixture
def results(tmp_path):
    return Results(tmp_path)


@pytest.fixture
def two_scales(results):
    """Bicubic interpolation at both scales first, as the rule lists it; then the runs."""
    for scale in (2, 4):
        for benchmark in ("Set5", "my_set"):
            results.score(scale, "bicubic", "bicubic", benchmark, [30.0, 40.0], [0.8, 0.9], label="bicubic")
    scores = {
        (2, "fsrcnn", "baseline"): (33.094, 0.91804),
        (2, "fsrcnn", "bspa"): (33.086, 0.91796),
        (2, "fsrcnn", "udn"): (33.05, 0.9185),
        (2, "edsr_x", "baseline"): (37.58, 0.9590),
        (4, "fsrcnn", "baseline"): (28.14, 0.7960),
        (4, "fsrcnn", "bspa"): (29.04, 0.8241),
    }
    for (scale, model, method), (psnr, ssim) in scores.items():
        for benchmark in ("Set5", "my_set"):
            results.score(
                scale,
                model,
                method,
                benchmark,
                [psnr - 1, psnr + 1],
                [ssim] * 2,
                label=model.upper(),
                method_label=f"{method} & co",
            )
        results.run(scale, model, method, parameters=1369859 if model == "edsr_x" else 24518)
    return results.table()


def markdown_rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_csv_has_the_documented_columns_and_the_means_over_images(results):
    results.score(4, "bicubic", "bicubic", "Set5", [28.0, 29.0], [0.8, 0.7])
    results.score(4, "bicubic", "bicubic", "Set14", [26.0], [0.6])
    results.score(4, "fsrcnn", "bspa", "Set5", [28.125, 30.25], [0.81, 0.83])
    results.score(4, "fsrcnn", "bspa", "Set14", [26.5], [0.7251])
    results.run(4, "fsrcnn", "bspa", steps=20000, device_seconds=321.75)
    frame = to_frame(results.table())
    assert list(frame.columns) == [*LEADING, "Set5_psnr", "Set5_ssim", "Set14_psnr", "Set14_ssim"]
    assert frame.values.tolist() == [
        [4, "bicubic", "bicubic", 0, 0, 0.0, 28.5, 0.75, 26.0, 0.6],
        [4, "fsrcnn", "bspa", 24518, 20000, 321.75, 29.1875, pytest.approx(0.82), 26.5, 0.7251],
    ]


def test_rows_are_grouped_by_scale_and_begin_with_bicubic(two_scales):
    frame = to_frame(two_scales)
    assert frame[["scale", "model", "method"]].values.tolist() == [
        [2, "bicubic", "bicubic"],
        [2, "fsrcnn", "baseline"],
        [2, "fsrcnn", "bspa"],
        [2, "fsrcnn", "udn"],
        [2, "edsr_x", "baseline"],
        [4, "bicubic", "bicubic"],
        [4, "fsrcnn", "baseline"],
        [4, "fsrcnn", "bspa"],
    ]


def test_several_seeds_give_the_mean_and_sample_deviation_of_their_means(results):
    results.score(4, "bicubic", "bicubic", "Set5", [28.0, 29.0], [0.8, 0.7])
    for seed, psnr, seconds in ((0, 28.0, 10.0), (1, 28.5, 20.0), (5, 30.0, 60.0)):
        # Images differ by far more than seeds; only the seeds' means may count in the deviation.
        results.score(4, "fsrcnn", "bspa", "Set5", [psnr - 9, psnr + 9], [psnr / 100] * 2, seed=seed)
        results.run(4, "fsrcnn", "bspa", seed=seed, device_seconds=seconds)
    table = results.table()
    frame = to_frame(table)
    assert list(frame.columns) == [*LEADING, "Set5_psnr", "Set5_ssim", "Set5_psnr_std", "Set5_ssim_std"]
    bicubic, bspa = frame.iloc[0], frame.iloc[1]
    assert (bspa["device_seconds"], bspa["steps"]) == (30.0, 800)
    assert bspa["Set5_psnr"] == pytest.approx(86.5 / 3)
    variance = sum((value - 86.5 / 3) ** 2 for value in (28.0, 28.5, 30.0)) / 2
    assert bspa["Set5_psnr_std"] == pytest.approx(math.sqrt(variance))
    assert bspa["Set5_ssim_std"] == pytest.approx(math.sqrt(variance) / 100)
    assert math.isnan(bicubic["Set5_psnr_std"]), "one value has no deviation"
    assert frame.to_csv(index=False).splitlines()[1].endswith(",28.5,0.75,,")
    assert "over seeds 0, 1, 5" in to_markdown(table)


def test_an_infinite_psnr_is_kept_and_printed(results):
    for seed in (0, 1):
        # The first image is called NA, which must stay a name.
        named = {"seed": seed, "images": ["NA", "002"]}
        results.score(4, "fsrcnn", "bspa", "Set5", [math.inf, 30.0], [1.0, 0.9], **named)
        results.score(4, "fsrcnn", "baseline", "Set5", [30.0, 31.0], [0.9, 0.9], **named)
        results.run(4, "fsrcnn", "bspa", seed=seed)
        results.run(4, "fsrcnn", "baseline", seed=seed)
    table = results.table()
    frame = to_frame(table)
    assert frame["Set5_psnr"].tolist() == [math.inf, 30.5]
    assert math.isnan(frame["Set5_psnr_std"][0])
    assert frame["Set5_psnr_std"][1] == 0
    assert "**∞**/**0.9500**" in to_markdown(table)
    assert r"\textbf{$\infty$}/\textbf{0.9500}" in to_latex(table)


def test_markdown_prints_scores_as_the_paper_and_marks_what_is_printed(two_scales):
    header, _, *rows = markdown_rows(to_markdown(two_scales))
    assert header == ["Scale", "Model", "Method", "Params", "Steps", "Device-seconds", "Set5", "my_set"]
    assert [row[:3] for row in rows[:3]] == [
        ["×2", "bicubic", ""],
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


def test_both_texts_tell_the_convention_the_cost_and_the_device(two_scales):
    for text in (to_markdown(two_scales), to_latex(two_scales)):
        assert CONVENTION in text
        assert "Device-seconds" in text
        assert "cpu (float32)" in text


def test_latex_holds_the_cells_of_markdown(two_scales):
    text = to_latex(two_scales)
    body = text[text.index(r"\toprule") : text.index(r"\bottomrule")]
    rows = [re.split(r"(?<!\\) & ", line.removesuffix(r" \\")) for line in body.splitlines() if " & " in line]
    assert {len(row) for row in rows} == {8}
    as_markdown = [
        [
            re.sub(r"\\underline\{(.*?)\}", r"<u>\1</u>", re.sub(r"\\textbf\{(.*?)\}", r"**\1**", cell))
            .replace(r"$\times 2$", "×2")
            .replace(r"$\times 4$", "×4")
            .replace(r"\_", "_")
            .replace(r"\&", "&")
            for cell in row
        ]
        for row in rows
    ]
    assert as_markdown[1] == [""] * 6 + ["PSNR/SSIM"] * 2
    header, _, *cells = markdown_rows(to_markdown(two_scales))
    assert [as_markdown[0], *as_markdown[2:]] == [header, *cells]
    assert body.count(r"\midrule") == 2
    assert text.count("{") == text.count("}")


def test_latex_compiles(two_scales, tmp_path):
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed")
    (tmp_path / "table4.tex").write_text(to_latex(two_scales))
    (tmp_path / "page.tex").write_text(
        r"\documentclass{article}\usepackage{booktabs}\begin{document}\begin{table}\input{table4}\end{table}"
        r"\end{document}"
    )
    command = ["pdflatex", "-halt-on-error", "-interaction=batchmode", "page.tex"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60)


def test_every_special_character_of_latex_is_escaped():
    assert LATEX.escape(r"a_b & 5% #1 $x {y} ~^\z") == (
        r"a\_b \& 5\% \#1 \$x \{y\} \textasciitilde{}\textasciicircum{}\textbackslash{}z"
    )


@given(st.lists(st.integers(2000, 2010), min_size=2, max_size=8))
def test_ranks_are_dense_and_follow_the_numbers(hundredths):
    ranks = rank_printed([f"{value / 100:.2f}" for value in hundredths])
    for value, rank in zip(hundredths, ranks, strict=True):
        assert rank == 1 + len({other for other in hundredths if other > value})


def test_a_number_alone_is_not_ranked():
    assert rank_printed(["28.22"]) == [0]
    assert rank_printed(["inf", "28.22", "inf"]) == [1, 2, 1]
    assert rank_printed(["9.99", "10.01"]) == [2, 1]


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (999, "999"),
        (24518, "24.5K"),
        (999949, "999.9K"),
        (999950, "1.0M"),
        (1517571, "1.5M"),
        (15592355, "15.6M"),
    ],
)
def test_counts_are_printed_as_in_the_paper(count, text):
    assert short_count(count) == text


def test_a_missing_evaluation_is_named(results):
    results.score(4, "fsrcnn", "bspa", "Set5", [30.0], [0.9])
    results.score(4, "fsrcnn", "baseline", "Set5", [30.0], [0.9])
    results.score(4, "fsrcnn", "baseline", "Set14", [30.0], [0.9])
    results.run(4, "fsrcnn", "bspa")
    results.run(4, "fsrcnn", "baseline")
    with pytest.raises(ValueError, match="fsrcnn x4 bspa seed 0: no evaluation on Set14"):
        results.table()


def test_scores_of_different_images_are_not_compared(results):
    results.score(4, "fsrcnn", "bspa", "Set5", [30.0, 31.0], [0.9, 0.9], images=["001", "002"])
    results.score(4, "fsrcnn", "baseline", "Set5", [30.0, 31.0], [0.9, 0.9], images=["001", "003"])
    with pytest.raises(ValueError, match=r"1\.csv and .*0\.csv score different images"):
        results.table()


@pytest.mark.parametrize("text", ["image,psnr\n001,30\n", "image,psnr,ssim\n", "image,psnr,ssim\n001,30,\n"])
def test_an_evaluation_without_scores_is_named(results, text):
    results.score(4, "fsrcnn", "bspa", "Set5", [30.0], [0.9])
    results.evaluations[0].write_text(text)
    with pytest.raises(ValueError, match=r"0\.csv: a row for each image"):
        results.table()


def test_unlike_runs_have_no_mean(results):
    for seed in (0, 1):
        results.score(4, "fsrcnn", "bspa", "Set5", [30.0], [0.9], seed=seed)
        results.run(4, "fsrcnn", "bspa", seed=seed, steps=800 + seed)
    with pytest.raises(ValueError, match=r"fsrcnn x4 bspa: its runs differ .*\(24518, 800\), \(24518, 801\)"):
        results.table()


def test_a_missing_summary_is_told(results):
    results.score(4, "fsrcnn", "bspa", "Set5", [30.0], [0.9])
    with pytest.raises(ValueError, match="1 seeds are evaluated, but 0 runs are summarised"):
        results.table()


def test_the_script_writes_all_three_files(results, tmp_path):
    results.score(4, "bicubic", "bicubic", "Set5", [28.0, 29.0], [0.8, 0.7])
    results.score(4, "fsrcnn", "bspa", "Set5", [1 / 3, 30.25], [0.81, 0.83])
    results.run(4, "fsrcnn", "bspa")
    output = SimpleNamespace(**{suffix: tmp_path / f"out/table4.{suffix}" for suffix in ("csv", "md", "tex")})
    runpy.run_path(str(SCRIPTS / "table_4.py"))["main"](
        SimpleNamespace(
            input=SimpleNamespace(evaluations=results.evaluations, runs=results.summaries),
            params=SimpleNamespace(rows=results.rows, runs=results.runs),
            output=output,
        )
    )
    frame = pd.read_csv(output.csv, dtype=str)
    assert float(frame["Set5_psnr"][1]) == (1 / 3 + 30.25) / 2, "every digit is kept"
    assert frame["parameters"].tolist() == ["0", "24518"]
    assert output.md.read_text() == to_markdown(results.table())
    assert output.tex.read_text() == to_latex(results.table())


def test_classes_are_joined_with_every_digit(tmp_path):
    for name, threshold in (("a", "0.00012345678901234567"), ("b", "1e-05")):
        (tmp_path / f"{name}.csv").write_text(f"k,N_k,t_k,P_k\n1,10,{threshold},0.25\n2,5,inf,0.5\n")
    output = tmp_path / "classes.csv"
    run_classes(tmp_path, ["a", "b"], output)
    assert output.read_text() == (
        "scale,split,k,N_k,t_k,P_k\n"
        "2,default,1,10,0.00012345678901234567,0.25\n2,default,2,5,inf,0.5\n"
        "4,fine,1,10,1e-05,0.25\n4,fine,2,5,inf,0.5\n"
    )


def test_a_file_that_holds_no_classes_is_named(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text("k,N_k\n1,10\n")
    with pytest.raises(ValueError, match=r"a\.csv: has columns k, N_k, not k, N_k, t_k, P_k"):
        run_classes(tmp_path, ["a", "b"], tmp_path / "classes.csv")


def run_classes(folder: Path, names: list[str], output: Path) -> None:
    runpy.run_path(str(SCRIPTS / "table_classes.py"))["main"](
        SimpleNamespace(
            input=SimpleNamespace(thresholds=[folder / f"{name}.csv" for name in names]),
            params=SimpleNamespace(rows=[{"scale": 2, "split": "default"}, {"scale": 4, "split": "fine"}]),
            output=[output],
        )
    )
