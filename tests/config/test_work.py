"""What jobs ask of a cluster: enough for what was measured, more for more work, and nothing heavy to load."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from snakemake.utils import update_config

from bspa.config.contents import Contents
from bspa.config.load import load_config
from bspa.config.plan import Plan
from bspa.config.runs import Run
from bspa.config.work import memory_mb, minutes, pixel_costs
from bspa.models.registry import build
from bspa.training.stage import Stage

MEASURED = {"fsrcnn": (731, 0.0283), "edsr_baseline": (1089, 0.596), "rcan": (5559, 5.324)}
"""MiB and seconds of a step on two CPU cores: docs/performance.md."""


@pytest.fixture(scope="module")
def plan(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    values: dict[str, Any] = yaml.safe_load((root / "config.yaml").read_text())
    update_config(values, yaml.safe_load((root / "configs/paper.yaml").read_text()))
    contents = Contents(tmp_path_factory.mktemp("contents") / "contents.json")
    return Plan(load_config(values), scripts=root / "workflow_scripts", contents=contents)


@pytest.mark.parametrize(
    ("arch", "options"),
    [
        ("fsrcnn", {"d": 56, "s": 12, "m": 4}),
        ("edsr", {"blocks": 16, "channels": 64}),
        ("rcan", {"groups": 2, "blocks": 3, "channels": 32, "reduction": 4}),
        ("msrresnet", {"blocks": 16, "channels": 64}),
    ],
)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_multiply_adds_are_those_of_the_network(arch: str, options: dict[str, Any], scale: int) -> None:
    network, side, counted = build(arch, scale, **options), 12, 0

    def count(layer: torch.nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        nonlocal counted
        positions = inputs[0] if isinstance(layer, torch.nn.ConvTranspose2d) else output
        weight = layer.get_parameter("weight")
        counted += weight.numel() * positions.shape[-2] * positions.shape[-1]

    for layer in network.modules():
        if isinstance(layer, (torch.nn.Conv2d, torch.nn.ConvTranspose2d)):
            layer.register_forward_hook(count)
    with torch.no_grad():
        network(torch.rand(1, 3, side, side))
    products, _ = pixel_costs(arch, scale, options)
    assert products * side**2 == pytest.approx(counted, rel=0.1)


@pytest.mark.parametrize("model", MEASURED)
def test_the_papers_stages_ask_for_more_than_was_measured_but_not_for_everything(
    plan: Plan, model: str
) -> None:
    (stage,) = plan.work(Run(model, 4, "baseline", 0))
    megabytes, seconds = MEASURED[model]
    assert megabytes < memory_mb(stage) < 20 * megabytes
    steps = 400 * 50
    assert steps * seconds / 60 < minutes(stage, 800, cpu=True)
    assert minutes(stage, 800, cpu=False) < 24 * 60


def test_more_work_asks_for_more(plan: Plan) -> None:
    (stage,) = plan.work(Run("edsr_baseline", 4, "baseline", 0))
    assert isinstance(stage, Stage)
    assert memory_mb(replace(stage, batch=64)) > memory_mb(stage)
    assert memory_mb(replace(stage, patch=256)) > memory_mb(stage)
    assert minutes(replace(stage, epochs=800), 800, cpu=False) > minutes(stage, 800, cpu=False)
    assert minutes(stage, 1600, cpu=False) > minutes(stage, 800, cpu=False)
