"""Tables from generated evaluations and summaries: numbers, keys, and the script."""

from __future__ import annotations

import json
import math
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from bspa.metrics.catalogue import METRICS
from bspa.system.origin import in_words
from bspa.tables.markup import to_html, to_latex, to_markdown
from bspa.tables.statistics import detectable_difference, holm, mean_interval, p_value
from bspa.tables.table import _gain, to_frame
from tests.support.jobs import make_job
from tests.support.table_files import Results

SCRIPT = Path(__file__).parents[2] / "workflow_scripts" / "table.py"
LEADING = ["scale", "model", "method", "parameters", "steps", "device_seconds"]


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


def test_rows_are_grouped_by_scale_and_begin_with_bicubic(results: Results) -> None:
    for scale in (4, 2):
        results.score(scale, "bicubic", "bicubic", "Set5", [30.0], [0.8])
    for scale, model in ((2, "rcan"), (4, "rcan"), (2, "fsrcnn")):
        results.score(scale, model, "bspa", "Set5", [30.0], [0.8])
        results.run(scale, model, "bspa")
    rows = to_frame(results.table())[["scale", "model"]].values.tolist()
    assert rows == [[4, "bicubic"], [4, "rcan"], [2, "bicubic"], [2, "rcan"], [2, "fsrcnn"]]


def test_several_seeds_give_the_mean_and_sample_deviation_of_their_means(results: Results) -> None:
    results.score(4, "bicubic", "bicubic", "Set5", [28.0, 29.0], [0.8, 0.7])
    for seed, psnr, seconds in ((0, 28.0, 10.0), (1, 28.5, 20.0), (5, 30.0, 60.0)):
        # Images differ by far more than seeds; only the seeds' means may count in the deviation.
        results.score(4, "fsrcnn", "bspa", "Set5", [psnr - 9, psnr + 9], [psnr / 100] * 2, seed=seed)
        results.run(4, "fsrcnn", "bspa", seed=seed, device_seconds=seconds)
    frame = to_frame(results.table())
    documented = [*LEADING, "Set5_psnr", "Set5_ssim", "Set5_psnr_std", "Set5_ssim_std"]
    # There is but the baseline, so there are no gains.
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


def test_gains_are_paired_by_seed_and_image(results: Results) -> None:
    results.two_seeds()
    frame = to_frame(results.table())
    columns = ["sem", "gain", "gain_low", "gain_high", "p", "p_holm"]
    gains = frame.set_index(["model", "method"])[[f"Set5_psnr_{what}" for what in columns[1:]]]
    differences = np.array([[0.1, 0.2, 0.3], [0.102, 0.202, 0.302]])
    low, high = mean_interval(differences)
    p = p_value(differences)
    corrected = holm([p, 1.0, p, 1.0])[0]  # of two networks, PSNR and SSIM, which does not differ
    assert corrected == 4 * p
    for model in ("fsrcnn", "rcan"):
        assert gains.loc[(model, "bspa")].tolist() == pytest.approx([0.201, low, high, p, corrected])
        assert gains.loc[(model, "baseline")].isna().all()
    assert gains.loc[("bicubic", "bicubic")].isna().all()
    # The seeds differ by 7 dB, the gains hardly: what both methods share is no uncertainty of the gain.
    assert frame["Set5_psnr_sem"][1] == pytest.approx(3.5)
    assert 0.1 <= low < 0.2 < high < 0.31
    scores = ["Set5_psnr", "Set5_ssim", "Set5_psnr_std", "Set5_ssim_std"]
    more = [f"{score}_{what}" for score in scores[:2] for what in columns]
    assert list(frame.columns) == [*LEADING, *scores, *more]


def test_a_large_table_has_p_values_small_enough_to_be_corrected() -> None:
    assert _gain(np.full((2, 3), 0.1), comparisons=1000)["p"] * 1000 < 0.02


def test_the_detectable_difference_is_pooled_over_the_methods_that_differ(results: Results) -> None:
    parts = [np.array([[0.1, 0.2], [0.3, 0.5]]), np.array([[0.0, 0.1], [0.4, 0.4]])]
    for method, difference in (("baseline", 0 * parts[0]), ("one", parts[0]), ("two", parts[1])):
        for seed in (0, 1):
            results.score(4, "fsrcnn", method, "Set5", 30 + difference[seed], [0.9] * 2, seed=seed)
            results.run(4, "fsrcnn", method, seed=seed)
    results.score(4, "fsrcnn", "same", "Set5", [30.0] * 2, [0.9] * 2)
    results.score(4, "fsrcnn", "same", "Set5", [30.0] * 2, [0.9] * 2, seed=1)
    for seed in (0, 1):
        results.run(4, "fsrcnn", "same", seed=seed)
    found = results.table().detectable
    assert found["Set5", "psnr"] == pytest.approx(detectable_difference(parts))
    assert math.isnan(found["Set5", "ssim"])


def test_costs_are_means_over_seeds_and_hold_those_of_attribution_if_any(results: Results) -> None:
    # Of runs as long as another, the seeds differ in steps; of the best weights, in their step.
    for method, seconds in (("baseline", 0.0), ("bspa", 3.5)):
        for seed, steps in ((0, 100), (1, 103)):
            results.score(4, "fsrcnn", method, "Set5", [30.0] * 2, [0.9] * 2, seed=seed)
            more = {"steps": steps, "weights": f"best on own, at step {steps}"}
            results.run(4, "fsrcnn", method, seed=seed, attribution_seconds=seed * seconds, **more)
    table = results.table()
    costs = to_frame(table)[[*LEADING, "attribution_seconds"]]
    assert list(to_frame(table).columns)[:7] == list(costs.columns)
    assert costs.iloc[:, 3:].values.tolist() == [[24518, 102, 12.5, 0.0], [24518, 102, 12.5, 1.75]]
    assert table.rows["weights"].tolist() == ["best on own"] * 2


def test_an_infinite_psnr_has_no_deviation_and_no_interval(results: Results) -> None:
    for seed in (0, 1):
        for method, psnr in (("baseline", 31.0), ("bspa", math.inf), ("same", math.inf)):
            # The first image is called NA, which must stay a name.
            images = ["NA", "002"]
            results.score(4, "fsrcnn", method, "Set5", [psnr, 30.0], [0.9] * 2, seed=seed, images=images)
            results.run(4, "fsrcnn", method, seed=seed)
    frame = to_frame(results.table())
    assert frame["Set5_psnr"].tolist() == [30.5, math.inf, math.inf]
    assert frame["Set5_psnr_std"].tolist() == pytest.approx([0, math.nan, math.nan], nan_ok=True)
    assert frame["Set5_psnr_gain"].tolist() == pytest.approx([math.nan, math.inf, math.inf], nan_ok=True)
    assert frame["Set5_psnr_gain_low"].isna().all()
    between = to_frame(results.table(baseline="bspa"))
    assert math.isnan(between["Set5_psnr_gain"][2]), "two infinite PSNRs have no difference"


def test_the_papers_scores_follow_the_documented_columns(results: Results) -> None:
    results.ablation()
    frame = to_frame(results.table(paper=1, metrics=["psnr"]))
    documented = [*LEADING, "set14_psnr", "own_psnr"]
    assert list(frame.columns) == [*documented, "set14_psnr_paper", "set14_psnr_minus_paper"]
    nan = math.nan
    assert frame["set14_psnr_paper"].tolist() == pytest.approx([nan, 28.22, nan, 28.37], nan_ok=True)
    assert frame["set14_psnr_minus_paper"].tolist() == pytest.approx([nan, 0.03, nan, 0.0], nan_ok=True)


def test_images_without_a_value_are_left_out_of_every_row(results: Results) -> None:
    results.perceived()
    results.rewrite(1, niqe=[6.5, None, 6.7])
    results.rewrite(2, niqe=[6.2, 9.9, 6.4])
    assert to_frame(results.table())["set14_niqe"].tolist() == pytest.approx([8.0, 6.6, 6.3])
    assert results.table().left_out == {(4, "set14", "niqe"): ["001"]}


def test_a_row_without_any_value_leaves_no_image_out(results: Results) -> None:
    results.perceived()
    results.rewrite(0, niqe=[None] * 3)
    table = results.table()
    assert to_frame(table)["set14_niqe"].tolist() == pytest.approx([math.nan, 6.6, 6.3], nan_ok=True)
    assert not table.left_out


def test_metrics_of_both_kinds_keep_the_order_of_the_settings(results: Results) -> None:
    results.score(4, "fsrcnn", "bspa", "Set5", [30.0, 31.0], [0.9, 0.9])
    results.score(4, "fsrcnn", "bspa", "Set5", [6.0, 7.0], [0.2, 0.4], kind="perceptual")
    results.run(4, "fsrcnn", "bspa")
    frame = to_frame(results.table(metrics=["lpips", "psnr"]))
    assert list(frame.columns) == [*LEADING, "Set5_lpips", "Set5_psnr"]
    assert frame.iloc[0, 6:].tolist() == pytest.approx([0.3, 30.5])


def test_every_table_of_the_default_run_has_scores_that_need_nothing(root: Path) -> None:
    tables = yaml.safe_load((root / "config.yaml").read_text())["tables"]
    for name, table in tables.items():
        assert any(not METRICS[metric].needs for metric in table["metrics"]), name


@pytest.mark.parametrize("which", ["evaluations", "runs"])
def test_a_file_with_another_key_is_refused(results: Results, which: str) -> None:
    results.ablation()
    item = getattr(results, which)[1]
    found, item["key"] = item["key"], "new"
    with pytest.raises(ValueError, match=rf"1\.(csv|json): .*key {found}, expected new.*same command"):
        results.table()


def test_the_script_writes_all_files(results: Results, tmp_path: Path) -> None:
    results.score(4, "bicubic", "bicubic", "Set5", [28.0, 29.0], [0.8, 0.7])
    results.score(4, "fsrcnn", "bspa", "Set5", [1 / 3, 30.25], [0.81, 0.83])
    results.run(4, "fsrcnn", "bspa")
    suffixes = ("csv", "json", "md", "tex", "html")
    output = {suffix: tmp_path / f"out/table4.{suffix}" for suffix in suffixes}
    files = {"evaluations": results.files, "runs": results.summaries}
    runpy.run_path(str(SCRIPT))["main"](make_job("table", files, output, results.settings()))
    frame = pd.read_csv(output["csv"], dtype=str)
    assert float(frame["Set5_psnr"][1]) == (1 / 3 + 30.25) / 2, "every digit is kept"
    assert frame["parameters"].tolist() == ["0", "24518"]
    origin = json.loads(output["json"].read_text())
    table = replace(results.table(), origin=in_words(origin, "table4.json"))
    assert output["md"].read_text() == to_markdown(table)
    assert output["tex"].read_text() == to_latex(table)
    assert output["html"].read_text() == to_html(table)
