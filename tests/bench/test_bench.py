"""The bench: that it runs, that its ratios mean what they say, and that the plain ways compute the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from snakemake.utils import update_config

from bspa.config import load_config
from bspa.data.packed import PackedImages
from bspa.data.resize import imresize
from bspa.difficulty.scoring import score_sub_images
from bspa.difficulty.windows import Windows
from bspa.metrics.evaluate import evaluate
from bspa.models.inference import super_resolve
from bspa.models.precision import Precision
from bspa.sampling.uniform import UniformSampler
from bspa.training.attribution import attributable, integrated_gradients
from bspa.training.losses import l1

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / "bench"
sys.path.insert(0, str(BENCH))

import growth  # noqa: E402
import photographs  # noqa: E402
import pipeline  # noqa: E402
import precision  # noqa: E402
import toolbox  # noqa: E402
from measuring import Item, Measured, compare  # noqa: E402
from records import add_record, latest, read_records  # noqa: E402
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
    ours = score_sub_images(
        model, images, windows, batch=2, device=CPU, precision=Precision("float32", "cpu")
    )
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


@pytest.fixture
def small_images(tmp_path: Path) -> PackedImages:
    random = np.random.default_rng(0)
    (tmp_path / "small").mkdir()
    for n in range(3):
        coarse = Image.fromarray(random.integers(0, 256, (6, 6, 3), np.uint8))
        coarse.resize((48, 48)).save(tmp_path / "small" / f"{n}.png")
    files = photographs.list_files("folder", path=tmp_path / "small")
    return photographs.pack(files, tmp_path / "small.h5")


TINY_NETWORK = precision.Network(arch="edsr", options={"blocks": 1, "channels": 8}, steps=20)


def test_settings_are_told_apart_to_the_last_bit(small_images: PackedImages, tmp_path: Path) -> None:
    def run(setting: precision.Setting, seed: int = 0) -> dict[str, float]:
        return precision.train_and_score(
            TINY_NETWORK, setting, seed,
            patch=16, train=small_images, test=small_images, folder=tmp_path, device=CPU,
        )  # fmt: skip

    plain = run(precision.Setting())
    again = run(precision.Setting())
    rounded, reduced, other = (
        run(precision.SETTINGS[precision.YARDSTICK]),
        run(precision.SETTINGS["bfloat16"]),
        run(precision.Setting(), seed=1),
    )
    assert again["weights"] == plain["weights"]
    assert [again["average"], again["last"]] == [plain["average"], plain["last"]]
    assert len({result["weights"] for result in (plain, rounded, reduced, other)}) == 4
    # After so few steps, rounding has hardly grown yet, and another seed is another network.
    far = {name: abs(result["last"] - plain["last"]) for name, result in
           (("rounding", rounded), ("bfloat16", reduced), ("seed", other))}  # fmt: skip
    assert far["rounding"] < 1e-3 < far["seed"], far
    assert far["rounding"] < far["bfloat16"] < far["seed"], far


def test_other_rounding_is_the_same_batch(small_images: PackedImages) -> None:
    keys = {"patch": 16, "batch": 5, "seed": 3}
    ours = precision.Reversed(small_images, **keys).batch(7)
    plain = UniformSampler(small_images, **keys).batch(7)
    for a, b in zip(ours, plain, strict=True):
        np.testing.assert_array_equal(a, b[::-1])


def test_precision_is_studied_in_parts(
    small_images: PackedImages,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("BSPA_DATA", raising=False)
    monkeypatch.setattr(precision, "NETWORKS", {"edsr_small": TINY_NETWORK})
    for name in ("training_images", "benchmark_images"):
        monkeypatch.setattr(precision, name, lambda folder: small_images)
    file = str(tmp_path / "results.jsonl")
    study = ["--json", file, "--patch", "16", "--threads", "1"]
    precision.main([*study, "--seeds", "0", "--settings", "float32"])
    precision.main([*study, "--seeds", "0", "--settings", "bfloat16"])
    capsys.readouterr()
    precision.main([*study, "--seeds"])
    runs, summary = capsys.readouterr().out.strip().split("\n\n")
    assert [line.split(" | ")[:3] for line in runs.splitlines()[2:]] == [
        ["| edsr_small", "0", "float32"],
        ["| edsr_small", "0", "bfloat16"],
    ]
    assert summary.splitlines()[-1].startswith("| edsr_small | bfloat16 | ")
    assert len(read_records(Path(file))) == 2
    with pytest.raises(ValueError, match="edsr_small, 0, float32: measured with steps = 20, not 30"):
        precision.main([*study, "--seeds", "--steps", "30"])


def test_the_mean_over_seeds_decides_and_bits_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(precision.SETTINGS, "compiled", precision.Setting())

    def runs(setting: str, averages: list[float], *, same: bool = False) -> list[dict[str, object]]:
        return [
            {
                "network": "fsrcnn", "seed": seed, "setting": setting, "average": average,
                "last": average + 1, "weights": "" if same else setting,
                "ms_per_step": 8.0 if setting == "float32" else 4.0,
            }
            for seed, average in enumerate(averages)
        ]  # fmt: skip

    records = [
        *runs("float32", [28.0, 29.0, 30.0], same=True),
        *runs("float32, other rounding", [28.03, 28.97, 30.0]),
        *runs("bfloat16", [27.9, 28.94, 30.04]),
        *runs("compiled", [28.0, 29.0, 30.0], same=True),
    ]
    rows = [row[2:-2].split(" | ") for row in precision.summary_table(records).splitlines()[2:]]
    assert rows == [
        ["fsrcnn", "float32, other rounding", "yes", "3", *2 * ["+0.000 ± 0.017"], "1.000", "2.00"],
        ["fsrcnn", "bfloat16", "no", "3", *2 * ["-0.040 ± 0.042"], "1.000", "2.00"],
        ["fsrcnn", "compiled", "same bits", "3", *2 * ["+0.000 ± 0.000"], "1.000", "2.00"],
    ]


def test_the_latest_of_equal_records_stands_and_other_conditions_do_not(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    assert read_records(file) == []
    for name, value, threads in (("a", 1, 2), ("b", 2, 2), ("a", 3, 2)):
        add_record(file, {"name": name, "value": value, "threads": threads})
    values = [(r["name"], r["value"]) for r in latest(read_records(file), ["name"], {"threads": 2})]
    assert values == [("a", 3), ("b", 2)]
    add_record(file, {"name": "c", "value": 4, "threads": 1})
    with pytest.raises(ValueError, match="c: measured with threads = 1, not 2; use another file"):
        latest(read_records(file), ["name"], {"threads": 2})


def test_every_part_of_growth_works_on_what_those_before_it_made(bench: Bench) -> None:
    growth.write_photographs(bench, 20)
    sizes = {}
    for name, part in growth.PARTS.items():
        part.work(bench)
        if part.output:
            sizes[name] = growth.size_on_disk(bench.folder / part.output)
    number = len(growth.read_windows(bench.folder / "windows.h5"))
    assert number == 20 * growth.count_windows([bench.photo], **growth._grid(bench))
    pixels = 3 * (bench.patch**2 + (bench.patch // SCALE) ** 2) * number
    assert sizes["write_class_shards, windows"] < pixels < sizes["write_class_shards, pixels"]
    shards = growth.open_shards(bench.folder / "windows")
    assert sum(map(len, shards)) == number
    assert growth.needed_bytes(number, bench) > 3 * 20 * bench.photo[0] * bench.photo[1] + pixels


def test_a_photograph_of_growth_is_of_its_size_and_like_no_other() -> None:
    source = np.random.default_rng(0).integers(100, 151, (40, 50, 3), np.uint8)
    one, again, other = (growth.photograph(source, (64, 120), seed) for seed in (0, 0, 1))
    assert (one.shape, one.dtype) == ((64, 120, 3), np.uint8)
    assert (one.min(), one.max()) == (98, 152)
    np.testing.assert_array_equal(one, again)
    assert (one != other).mean() > 0.5


def test_private_memory_has_arrays_and_not_the_pages_of_files(tmp_path: Path) -> None:
    side = 64 << 20
    (tmp_path / "file").write_bytes(bytes(side))
    before = growth.private_mib(os.getpid())
    mapped = np.memmap(tmp_path / "file", np.uint8, "r")
    assert not mapped.any()
    with_file = growth.private_mib(os.getpid())
    array = np.ones(side, np.uint8)
    with_array = growth.private_mib(os.getpid())
    assert array.all()
    assert with_file - before < 32 < with_array - with_file, (before, with_file, with_array)


def test_a_part_is_watched_in_a_process_of_its_own(bench: Bench) -> None:
    growth.write_photographs(bench, 1)
    measured, before, private = growth.in_a_process("make_manifest", bench)
    assert (bench.folder / "manifest.csv").exists()
    assert measured.seconds > 0
    assert 0 < before <= private <= measured.peak_mib
    with pytest.raises(RuntimeError, match=r"(?s)crop_sub_images failed:.*packed\.h5"):
        growth.in_a_process("crop_sub_images", bench)


def test_growth_is_from_one_number_to_the_next() -> None:
    def record(what: str, number: int, seconds: float, private: float, **rest: float) -> dict[str, object]:
        units = rest.pop("units", number)
        memory = {"private_before_mib": 100.0, "private_mib": private, "resident_mib": 2 * private}
        return {
            "what": what, "number": number, "seconds": seconds, "units": units, **memory, "bytes": 0, **rest
        }  # fmt: skip

    records = [
        record("train_inverse, pixels", 1000, 6.0, 200.0, units=60),
        record("train_inverse, pixels", 101_000, 9.0, 200.0, units=60),
        record("crop_sub_images", 101_000, 2.02, 210.0, bytes=2_424_000),
        record("crop_sub_images", 1000, 0.05, 150.0, bytes=5),
        record("crop_sub_images", 2000, 0.02, 200.0, bytes=5),
    ]
    first, further, in_all = (mib * 2**20 / n for mib, n in ((50, 1000), (10, 99_000), (60, 100_000)))
    rows = [row[2:-2].split(" | ") for row in growth.growth_table(records).splitlines()[2:]]
    assert rows == [
        ["crop_sub_images", "1,000", "2,000", "0.20", "1.33", f"{first:.0f}", "", ""],
        ["crop_sub_images", "2,000", "101,000", "2.00", "1.05", f"{further:.0f}", "250", "705"],
        ["crop_sub_images", "1,000", "101,000", "0.40", "1.40", f"{in_all:.0f}", "", ""],
        ["train_inverse, pixels", "1,000", "101,000", "1.50", "1.00", "0", "200", "200"],
    ]
    assert growth.disk_table(records).splitlines()[2:] == ["| crop_sub_images | 24 | 0.012 | 0.12 |"]
    parts = growth.parts_table(records).splitlines()[2:]
    assert parts[0] == "| crop_sub_images | 1,000 | 0.05 | 50 | 100 | 150 | 300 | 5e-06 |"
    assert parts[-1] == "| train_inverse, pixels | 101,000 | 9.00 | 1.5e+05 a step | 100 | 200 | 400 |  |"


def test_growth_needs_room_on_the_disk(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    free = growth.shutil.disk_usage("/")._replace(free=10**9)
    monkeypatch.setattr(growth.shutil, "disk_usage", lambda path: free)
    with pytest.raises(SystemExit):
        growth.main(["--numbers", "100000"])
    assert "100000 sub-images take 6.7 GB in" in capsys.readouterr().err
