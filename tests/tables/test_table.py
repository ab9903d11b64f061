from __future__ import annotations

import json
import math
import re
import runpy
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bspa.metrics import CONVENTION, LPIPS_CONVENTION, NIQE_CONVENTION
from bspa.tables.markup import LATEX, MARKDOWN, print_number, rank_printed, short_count, to_latex, to_markdown
from bspa.tables.statistics import mean_interval
from bspa.tables.table import read_table, to_frame

SCRIPTS = Path(__file__).parents[2] / "workflow_scripts"
LEADING = ["scale", "model", "method", "parameters", "steps", "device_seconds"]


class Results:
    """Evaluations and summaries of runs in a folder, in the order that they are added."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.evaluations: list[Path] = []
        self.rows: list[dict] = []
        self.summaries: list[Path] = []
        self.runs: list[dict] = []

    def score(self, scale: int, model: Path, method, benchmark: str, psnr, ssim, *, seed: int = 0, images=None, **labels):
        self.write(scale, model, method, benchmark, {"psnr": psnr, "ssim": ssim}, seed, images, labels)

    def perceive(self, scale: int, model: Path, method, benchmark: str, niqe, lpips, *, seed: int = 0, images=None, **labels):
        self.write(scale, model, method, benchmark, {"niqe": niqe, "lpips": lpips}, seed, images, labels)

    def write(self, scale: int, model: Path, method, benchmark: str, scores, seed: int, images, labels):
        path = self.folder / f"{len(self.evaluations)}.csv"
        images = images or [f"{number:03}" for number in range(len(next(iter(scores.values()))))]
        pd.DataFrame({"image": images, "width": 64, "height": 48, **scores}).to_csv(path, index=False)
        self.evaluations.append(path)
        self.rows.append(
            dict(
                scale=scale, model=model, method=method, seed=seed, benchmark=benchmark,
                metrics=list(scores), **labels,
            )
        )  # fmt: skip

    def run(self, scale: int, model: Path, method, *, seed: int = 0, parameters=24518, steps=800, device_seconds=12.5, **more):
        path = self.folder / f"{len(self.summaries)}.json"
        summary = {
            "parameters": parameters,
            "steps": steps,
            "device_seconds": device_seconds,
            "precision": "float32",
            "device": "cpu",
            **more,
        }
        path.write_text(json.dumps(summary))
        self.summaries.append(path)
        self.runs.append({"scale": scale, "model": model, "method": method, "seed": seed})

    def settings(self, **different):
        """What the rule gives to the script."""
        values = {
            "table": "table4",
            "caption": "Methods compared.",
            "metrics": list(dict.fromkeys(metric for row in self.rows for metric in row["metrics"])),
            "benchmarks": list(dict.fromkeys(row["benchmark"] for row in self.rows)),
            "seeds": list(dict.fromkeys(run["seed"] for run in self.runs)) or [0],
            "baseline": "baseline",
            "trained_on": "my_photos",
            "paper": None,
            "evaluations": self.rows,
            "runs": self.runs,
        }
        return dict(sorted({**values, **different}.items()))

    def table(self, **different):
        return read_table(self.evaluations, self.summaries, **self.settings(**different))


@pytest.fixture
def results(tmp_path: Path):
    return Results(tmp_path)


@pytest.fixture
def two_scales(results: Results):
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


def test_csv_has_the_documented_columns_and_the_means_over_images(results: Results) -> None:
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


def test_rows_are_grouped_by_scale_and_begin_with_bicubic(two_scales: Table) -> None:
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


def test_several_seeds_give_the_mean_and_sample_deviation_of_their_means(results: Results) -> None:
    results.score(4, "bicubic", "bicubic", "Set5", [28.0, 29.0], [0.8, 0.7])
    for seed, psnr, seconds in ((0, 28.0, 10.0), (1, 28.5, 20.0), (5, 30.0, 60.0)):
        # Images differ by far more than seeds; only the seeds' means may count in the deviation.
        results.score(4, "fsrcnn", "bspa", "Set5", [psnr - 9, psnr + 9], [psnr / 100] * 2, seed=seed)
        results.run(4, "fsrcnn", "bspa", seed=seed, device_seconds=seconds)
    table = results.table()
    frame = to_frame(table)
    documented = [*LEADING, "Set5_psnr", "Set5_ssim", "Set5_psnr_std", "Set5_ssim_std"]
    # No method is the baseline: nothing is gained.
    assert list(frame.columns) == [*documented, "Set5_psnr_sem", "Set5_ssim_sem"]
    bicubic, bspa = frame.iloc[0], frame.iloc[1]
    assert (bspa["device_seconds"], bspa["steps"]) == (30.0, 800)
    assert bspa["Set5_psnr"] == pytest.approx(86.5 / 3)
    variance = sum((value - 86.5 / 3) ** 2 for value in (28.0, 28.5, 30.0)) / 2
    assert bspa["Set5_psnr_std"] == pytest.approx(math.sqrt(variance))
    assert bspa["Set5_ssim_std"] == pytest.approx(math.sqrt(variance) / 100)
    assert bspa["Set5_psnr_sem"] == pytest.approx(math.sqrt(variance / 3))
    assert math.isnan(bicubic["Set5_psnr_std"]), "one value has no deviation"
    assert frame.to_csv(index=False).splitlines()[1].endswith(",28.5,0.75,,,,")
    text = to_markdown(table)
    assert "over seeds 0, 1, 5" in text
    assert markdown_rows(text)[-1][6] == "28.83 ± 1.04 / 0.2883 ± 0.0104"
    assert "Difference" not in text


def test_an_infinite_psnr_is_kept_and_printed(results: Results) -> None:
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
    assert frame["Set5_psnr_gain"][0] == math.inf
    assert math.isnan(frame["Set5_psnr_gain_low"][0])
    assert "**∞** / **0.9500** ± 0.0000" in to_markdown(table)
    assert "| +∞ / +0.0500 [0.0000, +0.1000] |" in to_markdown(table)
    assert r"\textbf{$\infty$} / \textbf{0.9500} $\pm$ 0.0000" in to_latex(table)


def test_infinite_psnrs_have_no_difference(results: Results) -> None:
    for seed in (0, 1):
        for method in ("baseline", "bspa"):
            results.score(4, "fsrcnn", method, "Set5", [math.inf, 30.0], [1.0, 0.9], seed=seed)
            results.run(4, "fsrcnn", method, seed=seed)
    frame = to_frame(results.table())
    assert np.isnan(frame["Set5_psnr_gain"]).all()
    assert frame["Set5_ssim_gain"][1] == 0


def test_markdown_prints_scores_as_the_paper_and_marks_what_is_printed(two_scales: Table) -> None:
    header, _, *rows = markdown_rows(to_markdown(two_scales))
    assert header == [
        "Scale", "Model", "Method", "Params", "Steps", "Device-seconds",
        "Set5<br>PSNR/SSIM", "my_set<br>PSNR/SSIM",
    ]  # fmt: skip
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


def test_both_texts_tell_the_convention_the_cost_and_the_device(two_scales: Table) -> None:
    for text in (to_markdown(two_scales), to_latex(two_scales)):
        assert CONVENTION in text
        assert "Device-seconds" in text
        assert "cpu (float32)" in text


def test_latex_holds_the_cells_of_markdown(two_scales: Table) -> None:
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
    assert as_markdown[0] == [name.removesuffix("<br>PSNR/SSIM") for name in header]
    assert as_markdown[2:] == cells
    assert body.count(r"\midrule") == 2
    assert text.count("{") == text.count("}")


@pytest.mark.parametrize("which", ["two_scales", "two_seeds", "ablation", "perceived"])
def test_latex_compiles(which, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed")
    made = request.getfixturevalue(which)
    table = (
        made.table(paper={"ablation": 1, "perceived": 6}.get(which)) if isinstance(made, Results) else made
    )
    (tmp_path / "table4.tex").write_text(to_latex(table))
    (tmp_path / "page.tex").write_text(
        r"\documentclass{article}\usepackage{booktabs}\begin{document}\begin{table}\input{table4}\end{table}"
        r"\end{document}"
    )
    command = ["pdflatex", "-halt-on-error", "-interaction=batchmode", "page.tex"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60)


# ---- over seeds ------------------------------------------------------------


@pytest.fixture
def two_seeds(results: Results):
    """Two networks; BSPA is better by 0.1 to 0.5 dB, which differs by seed and image."""
    results.score(4, "bicubic", "bicubic", "Set5", [26.0, 27.0, 28.0], [0.8] * 3)
    for model in ("fsrcnn", "rcan"):
        for seed in (0, 7):
            base = np.array([30.0, 31.0, 35.0]) + seed
            gain = np.array([0.1, 0.2, 0.3]) + seed * 0.2 / 7
            results.score(4, model, "baseline", "Set5", base, base / 40, seed=seed)
            results.score(4, model, "bspa", "Set5", base + gain, base / 40, seed=seed, method_label="BSPA, β")
            for method in ("baseline", "bspa"):
                results.run(4, model, method, seed=seed)
    return results


def test_gains_are_paired_by_seed_and_image(two_seeds: Results) -> None:
    frame = to_frame(two_seeds.table())
    names = [
        f"Set5_{metric}_{what}"
        for metric in ("psnr", "ssim")
        for what in ("sem", "gain", "gain_low", "gain_high")
    ]
    assert list(frame.columns[6:]) == ["Set5_psnr", "Set5_ssim", "Set5_psnr_std", "Set5_ssim_std", *names]
    gains = frame.set_index(["model", "method"])[
        [f"Set5_psnr_{what}" for what in ("gain", "gain_low", "gain_high")]
    ]
    low, high = mean_interval(np.array([[0.1, 0.2, 0.3], [0.3, 0.4, 0.5]]))
    for model in ("fsrcnn", "rcan"):
        assert gains.loc[model, "bspa"].tolist() == pytest.approx([0.3, low, high])
        assert gains.loc[model, "baseline"].isna().all()
    assert gains.loc["bicubic", "bicubic"].isna().all()
    # The seeds differ by 7 dB, the gains by 0.2: what both methods share is no uncertainty of the gain.
    assert frame["Set5_psnr_sem"][1] == pytest.approx(3.5)
    assert 0.1 < low < 0.3 < high < 0.5


def test_gains_stand_in_a_block_of_their_own(two_seeds: Results) -> None:
    table = two_seeds.table()
    (gain,) = {entry.gains["Set5", "psnr"] for entry in table.entries if entry.gains}
    interval = f"+0.30 [{gain.low:+.2f}, {gain.high:+.2f}] / 0.0000 [0.0000, 0.0000]"
    text = to_markdown(table)
    above, below = text.split("Difference to baseline, with its 95 % interval:\n")
    assert markdown_rows(below) == [
        ["Scale", "Model", "Method", "Set5<br>PSNR/SSIM"],
        [":--", ":--", ":--", ":-:"],
        ["×4", "fsrcnn", "BSPA, β", interval],
        ["", "rcan", "BSPA, β", interval],
    ]
    assert interval not in above
    assert "paired by seed and image" in below
    assert "With 2 seeds, intervals are too narrow" in below
    assert interval in to_latex(table)


def test_one_seed_has_no_deviation_and_no_gain(two_scales: Table) -> None:
    frame = to_frame(two_scales)
    assert list(frame.columns[6:]) == ["Set5_psnr", "Set5_ssim", "my_set_psnr", "my_set_ssim"]
    for text in (to_markdown(two_scales), to_latex(two_scales)):
        assert "Difference" not in text
        assert "±" not in text


def test_tables_are_made_alike(two_seeds: Results) -> None:
    first, again = two_seeds.table(), two_seeds.table()
    assert to_frame(first).to_csv() == to_frame(again).to_csv()
    assert to_markdown(first) == to_markdown(again)


def test_a_seed_that_was_not_evaluated_is_named(two_seeds: Results) -> None:
    with pytest.raises(ValueError, match="fsrcnn x4 baseline seed 8: no evaluation of psnr on Set5"):
        two_seeds.table(seeds=[0, 7, 8])


# ---- against the paper -----------------------------------------------------


@pytest.fixture
def ablation(results: Results):
    """The paper's Table 1, as far as it is made."""
    for benchmark in ("set14", "own"):
        results.score(4, "bicubic", "bicubic", benchmark, [25.0, 27.0], [0.7] * 2)
        results.score(4, "edsr_baseline", "baseline", benchmark, [28.0, 28.5], [0.7] * 2)
        results.score(4, "edsr_baseline", "mine", benchmark, [28.0, 28.6], [0.7] * 2)
        results.score(4, "edsr_baseline", "bspa", benchmark, [28.0, 28.74], [0.7] * 2)
    for method in ("baseline", "mine", "bspa"):
        results.run(4, "edsr_baseline", method)
    return results


def test_the_papers_scores_follow_the_documented_columns(ablation: Results) -> None:
    frame = to_frame(ablation.table(paper=1, metrics=["psnr"]))
    assert list(frame.columns) == [
        *LEADING, "set14_psnr", "own_psnr", "set14_psnr_paper", "set14_psnr_minus_paper",
    ]  # fmt: skip
    assert frame["set14_psnr_paper"].tolist() == pytest.approx(
        [math.nan, 28.22, math.nan, 28.37], nan_ok=True
    )
    assert frame["set14_psnr_minus_paper"].tolist() == pytest.approx(
        [math.nan, 0.03, math.nan, 0.0], nan_ok=True
    )


def test_the_papers_scores_and_the_differences_stand_beneath(ablation: Results) -> None:
    _, _, *rows = markdown_rows(to_markdown(ablation.table(paper=1)))
    assert [row[2:] for row in rows] == [
        ["", "0", "0", "0", "26.00/0.7000", "26.00/0.7000"],
        ["baseline", "24.5K", "800", "12", "28.25/**0.7000**", "28.25/**0.7000**"],
        ["*paper*", "", "", "", "28.22/–", ""],
        ["*difference*", "", "", "", "+0.03/–", ""],
        ["mine", "24.5K", "800", "12", "<u>28.30</u>/**0.7000**", "<u>28.30</u>/**0.7000**"],
        ["bspa", "24.5K", "800", "12", "**28.37**/**0.7000**", "**28.37**/**0.7000**"],
        ["*paper*", "", "", "", "28.37/–", ""],
        ["*difference*", "", "", "", "0.00/–", ""],
    ]


@pytest.mark.parametrize(
    ("trained_on", "words"),
    [("my_photos", "trained on DIV2K, ours on my_photos."), ("div2k_train", "trained on DIV2K.")],
)
def test_what_networks_are_trained_on_is_told(ablation: Results, trained_on, words) -> None:
    assert f"The paper's networks are {words}" in to_markdown(ablation.table(paper=1, trained_on=trained_on))
    assert "paper" not in to_markdown(ablation.table(trained_on=trained_on))


def test_names_that_the_paper_does_not_have_leave_no_trace(two_scales: Table, results: Results) -> None:
    table = results.table(paper=4)
    assert to_frame(table).equals(to_frame(two_scales))
    assert to_markdown(table) == to_markdown(two_scales)


def test_a_table_of_the_paper_that_is_not_there_is_told(ablation: Results) -> None:
    with pytest.raises(ValueError, match="paper: 7; the paper's tables of scores are 1, 2, 3, 4, 5, 6"):
        ablation.table(paper=7)


# ---- perceptual metrics ----------------------------------------------------


@pytest.fixture
def perceived(results: Results):
    """RCAN on set14, where LPIPS was not computed."""
    none = [math.nan] * 3
    results.perceive(4, "bicubic", "bicubic", "set14", [8.0, 8.0, 8.0], none)
    results.perceive(4, "rcan", "baseline", "set14", [6.5, 6.6, 6.7], none)
    results.perceive(4, "rcan", "bspa", "set14", [6.2, 6.3, 6.4], none)
    results.run(4, "rcan", "baseline")
    results.run(4, "rcan", "bspa")
    return results


def test_the_lowest_niqe_is_best_and_what_was_not_computed_is_told(perceived: Results) -> None:
    table = perceived.table(paper=6)
    frame = to_frame(table)
    assert list(frame.columns) == [
        *LEADING, "set14_niqe", "set14_lpips",
        "set14_niqe_paper", "set14_niqe_minus_paper", "set14_lpips_paper", "set14_lpips_minus_paper",
    ]  # fmt: skip
    assert frame["set14_lpips"].isna().all()
    assert frame["set14_lpips_paper"].tolist() == pytest.approx([math.nan, 0.2932, 0.2844], nan_ok=True)
    text = to_markdown(table)
    header, _, *rows = markdown_rows(text)
    assert header[6] == "set14<br>NIQE/LPIPS"
    assert [row[6] for row in rows] == [
        "8.00/–",
        "<u>6.60</u>/–", "6.59/0.2932", "+0.01/–",
        "**6.30**/–", "6.26/0.2844", "+0.04/–",
    ]  # fmt: skip
    for note in (NIQE_CONVENTION, LPIPS_CONVENTION):
        assert note in text
    assert CONVENTION not in text
    assert 'LPIPS was not computed: it needs the extra "perceptual" (pip install -e ".[perceptual]").' in text
    assert "NIQE was not computed" not in text
    assert r"\underline{6.60}/--" in to_latex(table)


def test_niqe_that_was_not_computed_is_told(perceived: Results) -> None:
    for path in perceived.evaluations:
        path.write_text("image,niqe,lpips\n001,,0.25\n002,,0.5\n")
    text = to_markdown(perceived.table())
    assert "NIQE was not computed: it needs a pristine model (perceptual.niqe in the config)" in text
    assert "LPIPS was not computed" not in text
    assert "–/**0.3750**" in text


def test_a_metric_that_some_rows_lack_is_told(perceived: Results) -> None:
    perceived.evaluations[2].write_text("image,niqe,lpips\n000,6.2,0.25\n001,6.3,0.5\n002,6.4,0.75\n")
    text = to_markdown(perceived.table())
    assert "LPIPS was not computed where – stands: it needs" in text
    assert "**6.30**/0.5000" in text, "a number alone is not ranked"


def test_images_that_a_metric_cannot_measure_are_left_out_of_every_row(perceived: Results) -> None:
    perceived.evaluations[1].write_text("image,niqe,lpips\n000,6.5,\n001,,\n002,6.7,\n")
    table = perceived.table()
    assert to_frame(table)["set14_niqe"].tolist() == pytest.approx([8.0, 6.6, 6.3])
    perceived.evaluations[2].write_text("image,niqe,lpips\n000,6.2,\n001,9.9,\n002,6.4,\n")
    assert to_frame(perceived.table())["set14_niqe"].tolist() == pytest.approx([8.0, 6.6, 6.3])
    assert "NIQE on set14 ×4 leaves out 001: too small" in to_markdown(table)
    assert r"set14 $\times$4 leaves out 001" in to_latex(table)


def test_a_row_without_a_metric_does_not_count_for_what_is_left_out(perceived: Results) -> None:
    perceived.evaluations[0].write_text("image,niqe,lpips\n000,,\n001,,\n002,,\n")
    perceived.evaluations[1].write_text("image,niqe,lpips\n000,6.5,\n001,,\n002,6.7,\n")
    assert to_frame(perceived.table())["set14_niqe"].tolist() == pytest.approx(
        [math.nan, 6.6, 6.3], nan_ok=True
    )


def test_quality_and_perception_share_a_cell(results: Results) -> None:
    results.score(4, "fsrcnn", "bspa", "Set5", [30.0, 31.0], [0.9, 0.9])
    results.perceive(4, "fsrcnn", "bspa", "Set5", [6.0, 7.0], [0.2, 0.4])
    results.run(4, "fsrcnn", "bspa")
    table = results.table(metrics=["lpips", "psnr"])
    assert list(to_frame(table).columns) == [*LEADING, "Set5_lpips", "Set5_psnr"]
    text = to_markdown(table)
    assert markdown_rows(text)[-1][6] == "0.3000/30.50"
    assert CONVENTION in text
    assert NIQE_CONVENTION not in text


def test_a_metric_alone_is_printed_alone(results: Results) -> None:
    results.score(4, "fsrcnn", "bspa", "Set5", [28.22], [0.7])
    results.run(4, "fsrcnn", "bspa")
    header, _, row = markdown_rows(to_markdown(results.table(metrics=["psnr"])))
    assert (header[6], row[6]) == ("Set5<br>PSNR", "28.22")


# ---- notes and marks -------------------------------------------------------


def test_moving_averages_of_the_weights_are_told(results: Results) -> None:
    results.score(4, "bicubic", "bicubic", "Set5", [26.0], [0.8])
    for method in ("baseline", "bspa"):
        results.score(4, "fsrcnn", method, "Set5", [30.0], [0.9], label="FSRCNN", method_label=method.upper())
    results.run(4, "fsrcnn", "baseline", ema=None)
    results.run(4, "fsrcnn", "bspa", ema=0.999)
    assert "The weights of FSRCNN ×4 BSPA are exponential moving averages (decay 0.999)" in to_markdown(
        results.table()
    )
    results.summaries[0].write_text(results.summaries[1].read_text())
    assert "The weights of all networks are exponential moving averages" in to_markdown(results.table())
    results.summaries[0].write_text(results.summaries[0].read_text().replace("0.999", "0.99"))
    assert "FSRCNN ×4 BASELINE are exponential moving averages (decay 0.99)" in to_markdown(results.table())


def test_no_average_no_note(two_scales: Table) -> None:
    assert "moving average" not in to_markdown(two_scales)


def test_runs_of_unlike_averages_have_no_mean(results: Results) -> None:
    for seed in (0, 1):
        results.score(4, "fsrcnn", "bspa", "Set5", [30.0], [0.9], seed=seed)
        results.run(4, "fsrcnn", "bspa", seed=seed, ema=0.999 if seed else None)
    with pytest.raises(ValueError, match=r"its runs differ in \(parameters, steps, ema\)"):
        results.table()


def test_the_caption_stands_above(two_scales: Table, results: Results) -> None:
    assert to_markdown(two_scales).startswith("Methods compared.\n\n| Scale |")
    assert to_markdown(results.table(caption="")).startswith("| Scale |")
    # A second line of a comment would be text.
    assert to_latex(results.table(caption="Two\nlines")).startswith("% Two lines\n% Needs")
    assert to_latex(results.table(caption="")).startswith("% table4\n")


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
def test_differences_have_a_sign_unless_they_are_printed_as_zero(value: float, signed, text) -> None:
    assert print_number(value, "psnr", MARKDOWN, signed=signed) == text


def test_every_special_character_of_latex_is_escaped() -> None:
    assert LATEX.escape(r"a_b & 5% #1 $x {y} ~^\z") == (
        r"a\_b \& 5\% \#1 \$x \{y\} \textasciitilde{}\textasciicircum{}\textbackslash{}z"
    )


def test_signs_that_labels_hold_are_mathematics_in_latex() -> None:
    assert LATEX.escape("BSPA, β = 0.5, ×4 ± −1 – σ") == (
        r"BSPA, $\beta$ = 0.5, $\times$4 $\pm$ $-$1 -- $\sigma$"
    )


@given(st.lists(st.integers(2000, 2010), min_size=2, max_size=8))
def test_ranks_are_dense_and_follow_the_numbers(hundredths) -> None:
    ranks = rank_printed([f"{value / 100:.2f}" for value in hundredths])
    for value, rank in zip(hundredths, ranks, strict=True):
        assert rank == 1 + len({other for other in hundredths if other > value})


@given(st.lists(st.integers(200, 210), min_size=2, max_size=8))
def test_where_lower_is_better_the_ranks_are_those_of_the_negatives(hundredths) -> None:
    numbers = [f"{value / 100:.2f}" for value in hundredths]
    assert rank_printed(numbers, lower_is_better=True) == rank_printed([f"-{number}" for number in numbers])


def test_a_number_alone_is_not_ranked() -> None:
    assert rank_printed(["28.22"]) == [0]
    assert rank_printed(["28.22", "nan"]) == [0, 0]
    assert rank_printed(["28.22", "nan", "28.23"]) == [2, 0, 1]
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
def test_counts_are_printed_as_in_the_paper(count, text) -> None:
    assert short_count(count) == text


def test_a_missing_evaluation_is_named(results: Results) -> None:
    results.score(4, "fsrcnn", "bspa", "Set5", [30.0], [0.9])
    results.score(4, "fsrcnn", "baseline", "Set5", [30.0], [0.9])
    results.score(4, "fsrcnn", "baseline", "Set14", [30.0], [0.9])
    results.run(4, "fsrcnn", "bspa")
    results.run(4, "fsrcnn", "baseline")
    with pytest.raises(ValueError, match="fsrcnn x4 bspa seed 0: no evaluation of psnr on Set14"):
        results.table()


def test_scores_of_different_images_are_not_compared(results: Results) -> None:
    results.score(4, "fsrcnn", "bspa", "Set5", [30.0, 31.0], [0.9, 0.9], images=["001", "002"])
    results.score(4, "fsrcnn", "baseline", "Set5", [30.0, 31.0], [0.9, 0.9], images=["001", "003"])
    with pytest.raises(ValueError, match=r"1\.csv and .*0\.csv score different images"):
        results.table()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,psnr\n001,30\n", "a row for each image with image, psnr, ssim is needed"),
        ("image,psnr,ssim\n", "a row for each image with image, psnr, ssim is needed"),
        ("image,psnr,ssim\n001,30,\n", "image 001 has no ssim"),
    ],
)
def test_an_evaluation_without_scores_is_named(results: Results, text, message: str) -> None:
    results.score(4, "fsrcnn", "bspa", "Set5", [30.0], [0.9])
    results.evaluations[0].write_text(text)
    with pytest.raises(ValueError, match=rf"0\.csv: {message}"):
        results.table()


def test_unlike_runs_have_no_mean(results: Results) -> None:
    for seed in (0, 1):
        results.score(4, "fsrcnn", "bspa", "Set5", [30.0], [0.9], seed=seed)
        results.run(4, "fsrcnn", "bspa", seed=seed, steps=800 + seed)
    with pytest.raises(
        ValueError, match=r"fsrcnn x4 bspa: its runs differ .*\(24518, 800, None\), \(24518, 801, None\)"
    ):
        results.table()


def test_a_missing_summary_is_told(results: Results) -> None:
    results.score(4, "fsrcnn", "bspa", "Set5", [30.0], [0.9])
    with pytest.raises(ValueError, match="1 seeds are evaluated, but 0 runs are summarised"):
        results.table()


def test_the_script_writes_all_three_files(results: Results, tmp_path: Path) -> None:
    results.score(4, "bicubic", "bicubic", "Set5", [28.0, 29.0], [0.8, 0.7])
    results.score(4, "fsrcnn", "bspa", "Set5", [1 / 3, 30.25], [0.81, 0.83])
    results.run(4, "fsrcnn", "bspa")
    output = SimpleNamespace(**{suffix: tmp_path / f"out/table4.{suffix}" for suffix in ("csv", "md", "tex")})
    runpy.run_path(str(SCRIPTS / "table.py"))["main"](
        SimpleNamespace(
            input=SimpleNamespace(evaluations=results.evaluations, runs=results.summaries),
            params=SimpleNamespace(settings=results.settings()),
            output=output,
        )
    )
    frame = pd.read_csv(output.csv, dtype=str)
    assert float(frame["Set5_psnr"][1]) == (1 / 3 + 30.25) / 2, "every digit is kept"
    assert frame["parameters"].tolist() == ["0", "24518"]
    assert output.md.read_text() == to_markdown(results.table())
    assert output.tex.read_text() == to_latex(results.table())


def test_classes_are_joined_with_every_digit(tmp_path: Path) -> None:
    for name, threshold in (("a", "0.00012345678901234567"), ("b", "1e-05")):
        (tmp_path / f"{name}.csv").write_text(f"k,N_k,t_k,P_k\n1,10,{threshold},0.25\n2,5,inf,0.5\n")
    output = tmp_path / "classes.csv"
    run_classes(tmp_path, ["a", "b"], output)
    assert output.read_text() == (
        "scale,split,k,N_k,t_k,P_k\n"
        "2,default,1,10,0.00012345678901234567,0.25\n2,default,2,5,inf,0.5\n"
        "4,fine,1,10,1e-05,0.25\n4,fine,2,5,inf,0.5\n"
    )


def test_a_file_that_holds_no_classes_is_named(tmp_path: Path) -> None:
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
