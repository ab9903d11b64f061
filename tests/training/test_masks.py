"""Masks: which units they mark, and that marked weights keep every bit."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bspa.training.adam import Adam
from bspa.training.masks import FrozenWeights, top_fraction_mask
from tests.support.training import make_stage, make_task


@settings(deadline=None, max_examples=60)
@given(
    values=st.lists(st.sampled_from([0.0, 0.0, 0.5, 1.0, 2.0, 3.5]), min_size=4, max_size=60),
    fraction=st.floats(0, 1),
    split=st.integers(1, 3),
)
def test_the_mask_has_exactly_round_p_n_units_and_takes_the_first_of_equals(
    values: list[float], fraction: float, split: int
) -> None:
    layers = {"a": torch.tensor(values[:split]), "b": torch.tensor(values[split:])}
    mask = torch.cat(list(top_fraction_mask(layers, fraction).values())).tolist()
    count = round(fraction * len(values))
    # Python's sort is stable: by falling importance, equals in order.
    best = sorted(range(len(values)), key=lambda i: -values[i])[:count]
    assert [i for i, m in enumerate(mask) if m] == sorted(best)


def test_cumulative_keeps_what_was_frozen_and_adds_the_best_of_the_rest() -> None:
    layers = {"a": torch.tensor([5.0, 1.0, 4.0, 0.0]), "b": torch.tensor([3.0, 2.0])}
    keep = {"a": torch.tensor([False, False, False, True]), "b": torch.tensor([False, True])}
    mask = top_fraction_mask(layers, 4 / 6, keep)
    assert mask["a"].tolist() == [True, False, True, True]
    assert mask["b"].tolist() == [False, True]


@pytest.mark.parametrize("fraction", [-0.1, 1.1])
def test_a_fraction_outside_0_to_1_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match=rf"fraction: {fraction}; allowed"):
        top_fraction_mask({"a": torch.ones(3)}, fraction)


def test_importance_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        top_fraction_mask({"a": torch.tensor([1.0, float("nan")])}, 0.5)


def test_zero_gradients_alone_would_not_freeze() -> None:
    """Why values are restored after each step: a momentum goes on moving the weights."""
    model = make_task(make_stage()).model
    adam = Adam(model, betas=(0.9, 0.999), epsilon=1e-8)
    adam.set_learning_rate(1e-3)
    frozen = FrozenWeights(model, {n: torch.ones_like(p) > 0 for n, p in model.named_parameters()})
    start = [p.detach().clone() for p in model.parameters()]
    for gradient in (1.0, 0.0):
        before = [p.detach().clone() for p in model.parameters()]
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, gradient)
        adam.step()
    assert all(bool((p != b).all()) for p, b in zip(model.parameters(), before, strict=True))
    frozen.restore_values()
    assert all(torch.equal(p, s) for p, s in zip(model.parameters(), start, strict=True))


@pytest.mark.parametrize(("name", "shape"), [("nothing", (1,)), ("head_conv.0.bias", (3,))])
def test_a_mask_of_another_network_is_refused(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=f"mask is of another network: {name}"):
        FrozenWeights(make_task(make_stage()).model, {name: torch.ones(shape, dtype=torch.bool)})
