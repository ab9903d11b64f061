"""The study of difficulty scores: that what it imitates and compares is what it says."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

BENCH = Path(__file__).resolve().parents[2] / "bench"
sys.path.insert(0, str(BENCH))

import difficulty  # noqa: E402
from photographs import pack, training_files  # noqa: E402
from sizes import TINY, Bench  # noqa: E402

CPU = torch.device("cpu")


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.delenv("BSPA_DATA", raising=False)
    return Bench(folder=tmp_path, device=CPU, threads=1, tiny=True, **TINY)


def test_tf32_has_ten_bits_of_mantissa_and_rounds_to_even() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(size=1000), rng.normal(size=1000) * 1e-4]).astype(np.float32)
    # Halves between two neighbours, and the last value before a power of two.
    ulp = 2.0**-10
    values = np.append(values, [1 + ulp / 2, 1 + 1.5 * ulp, -1 - 2.5 * ulp, 2 - ulp / 4, 0]).astype(
        np.float32
    )
    expected = []
    for value in values.astype(float):
        mantissa, exponent = math.frexp(value)
        expected.append(math.ldexp(round(mantissa * 2**11), exponent - 11))  # round() takes halves to even
    rounded = difficulty.round_to_tf32(torch.from_numpy(values)).double().numpy()
    np.testing.assert_array_equal(rounded, expected)


def test_every_convolution_is_rounded_and_gets_its_weights_back(bench: Bench) -> None:
    model = bench.build("msrresnet").to(memory_format=torch.channels_last).eval()
    convolutions = [layer for layer in model.modules() if isinstance(layer, torch.nn.Conv2d)]
    before = [layer.weight.clone() for layer in convolutions]
    x = torch.rand(1, 3, 8, 8)
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    with torch.inference_mode():
        exact = model(x)
        with difficulty.imitated_tf32(model):
            for layer in convolutions:
                layer.register_forward_pre_hook(
                    lambda layer, inputs: seen.append((inputs[0].clone(), layer.weight.clone()))
                )
            rounded = model(x)
        again = model(x)
    assert len(convolutions) > 5
    for tensors in seen[: len(convolutions)]:
        for tensor in tensors:
            assert torch.equal(difficulty.round_to_tf32(tensor), tensor)
    difference = (rounded - exact).abs().max()
    assert 0 < difference < 1e-2 * exact.abs().max(), difference
    assert torch.equal(again, exact)
    assert all(map(torch.equal, before, (layer.weight for layer in convolutions)))


def test_ranks_classes_and_differences() -> None:
    exact = np.arange(1, 101, dtype=np.float32)
    assert difficulty.compared(2 * exact, exact) == (pytest.approx(1), 1.0, 1.0)
    swapped = exact.copy()
    swapped[[23, 24]] = swapped[[24, 23]]  # of class 1, which has 25 of 100
    assert difficulty.compared(swapped, exact)[1] == 1
    swapped = exact.copy()
    swapped[[24, 25]] = swapped[[25, 24]]
    spearman, kept, largest = difficulty.compared(swapped, exact)
    assert (kept, largest) == (0.98, pytest.approx(1 / 25))
    assert spearman == pytest.approx(1 - 6 * 2 / (100 * (100**2 - 1)))


def test_a_sample_is_of_whole_images_from_all_over(bench: Bench) -> None:
    images = pack(training_files(bench), bench.folder / "photographs.h5")
    everything = difficulty.sample(bench, images, 10**6)
    assert sorted(set(everything.image.tolist())) == [0, 1]
    half = difficulty.sample(bench, images, len(everything) // 2)
    assert np.array_equal(half.top, everything.top[everything.image == 0])


def test_every_way_has_its_line(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    images = pack(training_files(bench), bench.folder / "photographs.h5")
    windows = difficulty.sample(bench, images, 10**6)
    difficulty.report(bench.build("msrresnet"), images, windows, difficulty.WAYS, batch=64, device=CPU)
    out = capsys.readouterr().out
    assert out.startswith(f"{len(windows)} sub-images")
    lines = re.findall(r"^\| ([a-z].*?) \| (\S+) \| (\S+) % \| (\S+) \|", out, re.MULTILINE)
    rows = {name: list(map(float, values)) for name, *values in lines if name != "way"}
    assert list(rows) == ["tf32", "bfloat16"]
    for spearman, kept, largest in rows.values():
        assert 0 < spearman <= 1
        assert 0 < kept <= 100
        assert largest > 0
    assert rows["tf32"][2] < rows["bfloat16"][2]
