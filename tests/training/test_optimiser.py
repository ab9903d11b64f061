"""Adam is torch's, and a stage that trains with it starts without what it has no use for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch
from test_training import STAGE, network
from torch import nn

from bspa.training.optimiser import make_optimiser, set_learning_rate

ROOT = Path(__file__).resolve().parents[2]
STAGE_ALONE = """
import sys
from pathlib import Path

sys.path += sys.argv[2:]
import attribute_parameters
import train_informative, train_inverse, train_uncertainty, train_uniform, train_weighted
from test_training import AVERAGED, train

train(Path(sys.argv[1]), stage=AVERAGED)
print(*sorted({"pandas", "torch._dynamo"} & set(sys.modules)))
"""


def take_steps(model: nn.Module, optimiser: torch.optim.Adam, steps: int) -> None:
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        lr = torch.rand((2, 3, 8, 8), generator=generator)
        optimiser.zero_grad(set_to_none=True)
        model(lr).square().mean().backward()
        optimiser.step()


def test_its_steps_are_those_of_torch() -> None:
    ours, theirs = network(), network()
    optimiser = make_optimiser(ours, STAGE)
    reference = torch.optim.Adam(theirs.parameters(), lr=STAGE.learning_rate, fused=True)
    for rate in (1e-3, 5e-4):
        set_learning_rate(optimiser, rate)
        reference.param_groups[0]["lr"] = rate
        take_steps(ours, optimiser, 3)
        take_steps(theirs, reference, 3)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)
        assert not optimiser.state[a]["exp_avg"].requires_grad
        for moment in ("exp_avg", "exp_avg_sq", "step"):
            assert torch.equal(optimiser.state[a][moment], reference.state[b][moment])


def test_its_state_goes_into_another_and_into_torchs() -> None:
    model = network()
    optimiser = make_optimiser(model, STAGE)
    take_steps(model, optimiser, 3)
    for other in (make_optimiser(model, STAGE), torch.optim.Adam(model.parameters(), fused=True)):
        other.load_state_dict(optimiser.state_dict())
        for parameter in model.parameters():
            assert torch.equal(other.state[parameter]["exp_avg"], optimiser.state[parameter]["exp_avg"])


def test_weights_that_are_not_trained_are_left_out() -> None:
    model = network()
    fixed = next(model.parameters())
    fixed.requires_grad_(False)
    optimiser = make_optimiser(model, STAGE)
    take_steps(model, optimiser, 1)
    assert fixed not in optimiser.state
    assert len(optimiser.state) == len(list(model.parameters())) - 1


def test_a_stage_imports_neither_the_compiler_nor_pandas(tmp_path: Path) -> None:
    """Each would take longer than many steps of FSRCNN, in every stage."""
    folders = [str(ROOT / "workflow_scripts"), str(ROOT / "tests")]
    ran = subprocess.run(
        [sys.executable, "-c", STAGE_ALONE, str(tmp_path / "state"), *folders],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ran.stdout.split() == []
