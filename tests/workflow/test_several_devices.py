"""A run on several devices, here processes on a CPU, through the workflow."""

from __future__ import annotations

import pytest
import torch

from bspa.training.masks import load_masks
from bspa.training.snapshot import load_snapshot
from tests.support.workflow import Project

pytestmark = pytest.mark.workflow

RUN = "results/training/tiny_x4_bspa_seed0"


def test_a_run_on_two_devices(project: Project) -> None:
    configs = (project.overlay("two", {"models": {"tiny": {"devices": 2}}}),)
    target = f"{RUN}/cycle2/uniform.safetensors"
    assert project.jobs(target) == {}
    work = {"train_uniform": 2, "train_inverse": 1, "attribute_parameters": 1}
    assert project.jobs(target, configs=configs) == work
    alone = load_snapshot(project.folder / target)[0]
    project.run(target, configs=configs)
    assert project.jobs(target, configs=configs) == {}
    together, header = load_snapshot(project.folder / target)
    assert header["device"] == "2 x cpu"
    assert together.optimiser_steps == alone.optimiser_steps
    torch.testing.assert_close(together.weights, alone.weights, rtol=0, atol=1e-5)
    before = load_snapshot(project.folder / RUN / "cycle1/inverse.safetensors")[0]
    masks = load_masks(project.folder / RUN / "cycle1/mask.safetensors")
    assert any(mask.any() for mask in masks.values())
    for name, mask in masks.items():
        assert torch.equal(together.weights[name][mask], before.weights[name][mask])
