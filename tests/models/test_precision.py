"""The precision that auto stands for, and that it is used."""

from __future__ import annotations

import pytest
import torch

from bspa.models.precision import TRAINED_IN_FLOAT32, Precision, choose_precision

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [({"avx2"}, "float32"), ({"avx512_bf16"}, "bfloat16"), ({"amx_bf16"}, "bfloat16"), (set(), "float32")],
)
def test_auto_on_a_cpu_goes_by_its_flags(
    monkeypatch: pytest.MonkeyPatch, flags: set[str], expected: str
) -> None:
    monkeypatch.setattr("bspa.models.precision.cpu_flags", lambda: flags)
    assert choose_precision("auto", CPU, arch="edsr") == Precision(expected, "cpu")


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), "float32"), ((8, 0), "bfloat16")])
def test_auto_on_a_gpu_goes_by_its_generation(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert choose_precision("auto", GPU) == Precision(expected, "cuda")


@pytest.mark.parametrize("arch", TRAINED_IN_FLOAT32)
def test_some_architectures_train_in_float32_unless_told(monkeypatch: pytest.MonkeyPatch, arch: str) -> None:
    monkeypatch.setattr("bspa.models.precision.cpu_flags", lambda: {"amx_bf16"})
    assert choose_precision("auto", CPU, arch=arch).name == "float32"
    assert choose_precision("bfloat16", CPU, arch=arch).name == "bfloat16"


@pytest.mark.parametrize(("name", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_convolutions_compute_in_it(name: str, dtype: torch.dtype) -> None:
    with choose_precision(name, CPU).autocast():
        assert torch.nn.Conv2d(1, 1, 1)(torch.ones(1, 1, 2, 2)).dtype == dtype
