"""A compiled network trains as the plain one does, and a stage with it resumes exactly."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_training import STAGE, Noise, assert_same, network, train

from bspa.training import compiling
from bspa.training.compiling import compile_network, has_compiler, is_worth_it
from bspa.training.job import compiling_pays

needs_compiler = pytest.mark.skipif(not has_compiler(), reason="needs a C++ compiler and Python's headers")
CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
SETTINGS = {"arch": "fsrcnn", "batch": 16, "patch": 128, "loss": "l1"}


@needs_compiler
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_compiled_stage_differs_by_rounding_and_resumes_exactly(tmp_path: Path, precision: str) -> None:
    plain, whole = (
        train(tmp_path / f"{compiled}", precision=precision, compiled=compiled).snapshot
        for compiled in (False, True)
    )
    with pytest.raises(SystemExit):
        train(tmp_path / "cut", precision=precision, compiled=True, sampler=Noise(signal_at=5))
    assert_same(train(tmp_path / "cut", precision=precision, compiled=True).snapshot, whole)
    start = network().state_dict()
    tolerance = 1e-3 if precision == "float32" else 0.1
    for name, value in plain.weights.items():
        moved, apart = (value - start[name]).norm(), (value - whole.weights[name]).norm()
        assert apart <= tolerance * moved, f"{name}: moved by {moved}, {apart} apart"


@needs_compiler
def test_a_compiled_network_has_the_same_parameters() -> None:
    model = network()
    called = compile_network(model)
    assert [*map(id, called.parameters())] == [*map(id, model.parameters())]
    x = torch.from_numpy(np.random.default_rng(0).random((2, 3, 6, 5), np.float32))
    torch.testing.assert_close(called(x), model(x))


@pytest.mark.parametrize(
    ("arch", "pixels", "device", "worth"),
    [
        ("fsrcnn", 20_000 * 16 * 128**2, CPU, True),  # the paper's run in one stage
        ("fsrcnn", 2_500 * 16 * 128**2, CPU, False),  # in eight
        ("fsrcnn", 360 * 16 * 64**2, CPU, False),  # the default run
        ("edsr", 1e15, CPU, False),
        ("fsrcnn", 1e15, GPU, False),
    ],
)
def test_compiling_is_for_long_stages_of_small_networks_on_a_cpu(
    arch: str, pixels: float, device: torch.device, worth: bool
) -> None:
    assert is_worth_it(arch, pixels=pixels, device=device) is worth


def test_the_length_of_the_stage_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bspa.training.job.has_compiler", lambda: True)
    run = replace(STAGE, total_epochs=400, steps_per_epoch=50)
    one, of_eight = (replace(run, epochs=epochs) for epochs in (400, 50))
    assert compiling_pays(SETTINGS, one, CPU)
    assert not compiling_pays(SETTINGS, of_eight, CPU)
    assert not compiling_pays({**SETTINGS, "loss": "uncertainty"}, one, CPU)
    assert not compiling_pays({**SETTINGS, "arch": "edsr"}, one, CPU)


def test_without_a_compiler_nothing_is_compiled_and_the_log_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert not compiling.has_compiler()
    with caplog.at_level(logging.WARNING):
        assert not compiling_pays(SETTINGS, replace(STAGE, epochs=400, steps_per_epoch=50), CPU)
    assert "needs a C++ compiler" in caplog.text
