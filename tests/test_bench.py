"""The bench: that it runs, that its ratios mean what they say, and that the plain ways compute the same."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from snakemake.utils import update_config

from bspa.attribution import attributable, integrated_gradients
from bspa.config import load_config
from bspa.evaluation import evaluate
from bspa.inference import super_resolve
from bspa.losses import l1
from bspa.packed import PackedImages
from bspa.resize import imresize
from bspa.scoring import score_sub_images
from bspa.sub_images import Windows

ROOT = Path(__file__).resolve().parents[1]
BENCH = ROOT / "bench"
sys.path.insert(0, str(BENCH))

import photographs  # noqa: E402
import pipeline  # noqa: E402
import toolbox  # noqa: E402
from measuring import Item, Measured, compare  # noqa: E402
from sizes import SCALE, TINY, Bench  # noqa: E402

CPU = torch.device("cpu")


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.delenv("BSPA_DATA", raising=False)
    return Bench(folder=tmp_path, device=CPU, threads=1, tiny=True, **TINY)


@pytest.fixture
def sub_images(bench: Bench) -> tuple[PackedImages, Windows]:
    images, windows = photographs.sub_images(bench, 1)
    return images, photographs.first(windows, 3)


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, BENCH / "run.py", *arguments]
    return subprocess.run([*map(str, command)], capture_output=True, text=True)


def test_a_tiny_run_writes_every_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BSPA_DATA", raising=False)
    names, file = ["imresize", "train_step_fsrcnn_x4"], tmp_path / "bench.json"
    ran = run("--tiny", "--threads", "1", "--seconds", "0.1", "--json", file, "--only", *names)
    assert ran.returncode == 0, ran.stderr
    results = json.loads(file.read_text())
    assert list(results) == names
    for name, result in results.items():
        assert f"| {name} | {result['unit']} " in ran.stdout
        assert result["unit"].startswith("ms per ")
        assert result["rounds"] >= 3
        assert min(result[key] for key in ("limit", "ours", "plain", "peak_mib")) > 0
        assert result["ratio_limit"] == pytest.approx(result["limit"] / result["ours"])
        assert result["ratio_plain"] == pytest.approx(result["plain"] / result["ours"])
        low, high = result["spread"]["ours"]
        assert 0 < low <= result["ours"] <= high


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    ran = run("--only", "train")
    assert ran.returncode == 2
    known = """
        imresize crop_and_shards_write shard_read score attribute evaluate stage_overhead dag
        train_step_fsrcnn_x4 train_step_edsr_x4 train_step_rcan_x4
    """
    missing = [name for name in known.split() if name not in ran.stderr]
    assert not missing, ran.stderr


def test_contestants_take_turns_and_the_fastest_bare_work_is_the_limit() -> None:
    order: list[str] = []

    def takes(name: str, *seconds: float) -> partial[Measured]:
        left = list(seconds)

        def contestant(number: int) -> Measured:
            order.append(name)
            return Measured(2 * (left.pop(0) if len(left) > 1 else left[0]), 2, len(order))

        return partial(contestant)

    result = compare(
        Item(
            unit="thing",
            samples=10,
            limits={"slow": takes("slow", 0.3), "fast": takes("fast", 0.2)},
            # Two turns of warming up, then seven rounds.
            ours=takes("ours", 9, 9, 0.4, 0.3, 0.5, 0.4, 0.4, 9, 0.1),
            plain=takes("plain", 1.2),
        ),
        seconds=1.0,
    )
    assert order[8:] == ["slow", "fast", "ours", "plain"] * 7
    assert (result["limit"], result["limit_is"]) == (200, "fast")
    assert (result["ours"], result["plain"]) == (400, 1200)
    assert result["ratio_limit"] == pytest.approx(0.5)
    assert result["ratio_plain"] == pytest.approx(3)
    assert result["samples_per_s"]["ours"] == pytest.approx(25)
    assert result["peak_mib"] == 8 + 6 * 4 + 3


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_plain_imresize_is_matlabs(scale: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (37, 52, 3), np.uint8)
    ours = imresize(image, 1 / scale, border="symmetric")
    difference = toolbox.imresize(image, 1 / scale).astype(int) - ours
    assert not difference.any(), np.unique(difference, return_counts=True)


def test_plain_scores_are_ours(bench: Bench, sub_images: tuple[PackedImages, Windows]) -> None:
    images, windows = sub_images
    photographs.write_sub_image_pngs(bench.folder / "pngs", images, windows)
    model = bench.build("msrresnet")
    ours = score_sub_images(model, images, windows, batch=2, device=CPU)
    plain = [toolbox.score(model, bench.folder / "pngs", n, CPU) for n in range(len(windows))]
    np.testing.assert_allclose(plain, ours, rtol=1e-4)


def test_plain_evaluation_is_ours(bench: Bench) -> None:
    images = photographs.pack(photographs.benchmark_files(bench), bench.folder / "benchmark.h5")
    photographs.write_png(bench.folder / "000000_lr.png", images.lr(0))
    photographs.write_png(bench.folder / "000000_hr.png", images.hr(0))
    model = bench.build("fsrcnn").eval()
    ours = evaluate(partial(super_resolve, model, scale=SCALE, device=CPU), images).iloc[0]
    plain = toolbox.evaluate(model, bench.folder, 0, SCALE, CPU)
    assert plain == pytest.approx((ours["psnr"], ours["ssim"]), rel=1e-5)


def test_plain_attribution_is_ours(bench: Bench) -> None:
    torch.manual_seed(0)
    lr, hr = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 32, 32)
    model = bench.build("edsr")
    baseline = {name: value.clone() for name, value in model.state_dict().items()}
    target = baseline | {name: 1.1 * baseline[name] for name in attributable(model)}
    ours = integrated_gradients(model, baseline, target, [(lr, hr)], l1, steps=3)
    plain = toolbox.integrated_gradients(model, baseline, target, lr, hr, 3)
    for name in attributable(model):
        np.testing.assert_allclose(plain[name], ours[name].numpy(), rtol=1e-3, atol=1e-7, err_msg=name)


def test_training_pairs_show_the_same_place(bench: Bench) -> None:
    images = photographs.pack(photographs.training_files(bench), bench.folder / "photographs.h5")
    photographs.write_training_pngs(bench.folder / "pngs", images, side=256, most=3)
    data = toolbox.PngPairs(bench.folder / "pngs", patch=64, scale=SCALE)
    assert len(data) == 3
    for lr, hr in (data[index] for index in range(3)):
        assert (lr.shape, hr.shape) == ((3, 16, 16), (3, 64, 64))
        small = torch.nn.functional.avg_pool2d(hr, SCALE)
        assert (lr - small).abs().mean() < 0.02
        assert (lr - small.flip(2)).abs().mean() > 2 * (lr - small).abs().mean()


def test_the_config_of_the_stages_is_accepted(bench: Bench) -> None:
    target, overlay, steps = pipeline._workflow(bench)
    values = yaml.safe_load((ROOT / "config.yaml").read_text())
    update_config(values, yaml.safe_load(overlay.read_text()))
    load_config(values)
    assert target == f"results/shards/bench_train/x{SCALE}/default"
    assert steps >= bench.stage_steps
