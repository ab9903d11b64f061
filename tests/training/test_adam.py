"""Adam is torch's, and a stage starts without torch's compiler."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from bspa.training.adam import MOMENTS, Adam
from tests.support.training import make_stage, make_task

BETAS = (0.9, 0.999)
STAGE_ALONE = """
import runpy, sys
from pathlib import Path
from tests.support.training import make_stage, train

for name in ("train_stage", "attribute_parameters"):
    runpy.run_path(f"workflow_scripts/{name}.py")
train(Path(sys.argv[1]), make_stage(ema=0.9))
print(*sorted({"pandas", "torch._dynamo"} & set(sys.modules)))
"""


def network() -> nn.Module:
    return make_task(make_stage()).model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def take_step(model: nn.Module, optimiser: Adam | torch.optim.Adam, seed: int) -> None:
    lr = torch.rand((2, 3, 8, 8), generator=torch.Generator().manual_seed(seed))
    optimiser.zero_grad()
    model(lr).square().mean().backward()
    optimiser.step()


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_its_steps_are_those_of_torch_to_the_bit(decay: float) -> None:
    ours, theirs = network(), network()
    adam = Adam(ours, betas=BETAS, epsilon=1e-8, weight_decay=decay)
    kind = torch.optim.AdamW if decay else torch.optim.Adam
    reference = kind(theirs.parameters(), fused=True, weight_decay=decay)
    for seed, rate in enumerate([1e-3, 1e-3, 5e-4, 5e-4]):
        adam.set_learning_rate(rate)
        reference.param_groups[0]["lr"] = rate
        take_step(ours, adam, seed)
        take_step(theirs, reference, seed)
    for (name, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)
        for moment in MOMENTS:
            assert torch.equal(adam.moments[moment][name], reference.state[b][moment])
            assert not adam.moments[moment][name].requires_grad


def test_a_stage_imports_neither_the_compiler_nor_pandas(root: Path, tmp_path: Path) -> None:
    """Each would take longer than many steps of FSRCNN, in every stage."""
    command = [sys.executable, "-c", STAGE_ALONE, str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=root, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == []
