"""Every criterion, and every way to aggregate batches, against a few plain lines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from bspa.training.attribution import attributable, top_fraction_mask
from bspa.training.importance import InversePhase, measure_importance
from bspa.training.losses import l1
from tests.support.training import make_attribution, plain_network

Tensors = dict[str, Tensor]
Pairs = Sequence[tuple[Tensor, Tensor]]


def phase() -> InversePhase:
    model = plain_network()
    torch.manual_seed(1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    after = {name: value + 0.1 * torch.randn_like(value) for name, value in before.items()}
    return InversePhase(model=model, baseline=before, target=after, loss=l1)


def batches(count: int) -> Pairs:
    torch.manual_seed(2)
    return [(torch.rand(2, 3, 8, 8), torch.rand(2, 3, 16, 16)) for _ in range(count)]


def gradients(weights: Tensors, pairs: Pairs) -> Tensors:
    """Gradients of the mean loss, by autograd on a network of its own."""
    model = plain_network()
    model.load_state_dict(weights)
    loss = sum(((model(lr) - hr).abs().mean() for lr, hr in pairs), torch.zeros(())) / len(pairs)
    named = dict(model.named_parameters())
    return dict(zip(named, torch.autograd.grad(loss, list(named.values())), strict=True))


def plain_ig(of: InversePhase, pairs: Pairs, points: Sequence[float]) -> Tensors:
    change = {name: of.target[name] - value for name, value in of.baseline.items()}
    total = {name: torch.zeros_like(value) for name, value in change.items()}
    for point in points:
        there = {name: value + point * change[name] for name, value in of.baseline.items()}
        for name, gradient in gradients(there, pairs).items():
            total[name] += gradient
    return {name: change[name] * value / len(points) for name, value in total.items()}


def in_batches(one: Callable[[Pairs], Tensors], pairs: Pairs) -> Tensors:
    """Sum over the batches of the size of each batch's value."""
    sizes = [{name: value.abs() for name, value in one([pair]).items()} for pair in pairs]
    return {name: sum((size[name] for size in sizes[1:]), sizes[0][name]) for name in sizes[0]}


LEFT, RIGHT = [0, 0.25, 0.5, 0.75], [0.25, 0.5, 0.75, 1]


def expected(of: InversePhase, pairs: Pairs, case: str) -> Tensors:
    change = {name: of.target[name] - value for name, value in of.baseline.items()}
    plain: dict[str, Callable[[], Tensors]] = {
        "ig": lambda: plain_ig(of, pairs, LEFT),
        "ig right": lambda: plain_ig(of, pairs, RIGHT),
        "ig each": lambda: in_batches(lambda some: plain_ig(of, some, LEFT), pairs),
        "ig each right": lambda: in_batches(lambda some: plain_ig(of, some, RIGHT), pairs),
        "taylor": lambda: {n: g * change[n] for n, g in gradients(dict(of.baseline), pairs).items()},
        "snip": lambda: {n: g * of.target[n] for n, g in gradients(dict(of.target), pairs).items()},
        "fisher": lambda: in_batches(
            lambda some: {n: g * g for n, g in gradients(dict(of.target), some).items()}, pairs
        ),
        "magnitude": lambda: dict(of.target),
        "change": lambda: change,
    }
    return {name: value.abs() for name, value in plain[case]().items() if name in attributable(of.model)}


CASES: dict[str, dict[str, str]] = {
    "ig": {},
    "ig right": {"riemann": "right"},
    "ig each": {"aggregate": "each_batch"},
    "ig each right": {"aggregate": "each_batch", "riemann": "right"},
    **{name: {"criterion": name} for name in ("taylor", "snip", "fisher", "magnitude", "change")},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("unit", ["weight", "filter"])
@pytest.mark.parametrize("freeze", ["most", "least"])
def test_a_criterion_is_its_definition_and_freezes_the_same_weights(
    case: str, unit: str, freeze: str
) -> None:
    of, pairs, settings = phase(), batches(3), make_attribution(**CASES[case], unit=unit)
    measured, _ = measure_importance(of, pairs, settings)
    plain = expected(of, pairs, case)
    if unit == "filter":
        plain = {name: value.sum((2, 3), keepdim=True) for name, value in plain.items()}
    for name, value in plain.items():
        torch.testing.assert_close(measured[name], value, rtol=2e-4, atol=1e-9)
    # Python's sort is stable: equals stay in order of layer and place.
    flat = torch.cat([value.flatten() for value in plain.values()]).tolist()
    ranked = sorted(range(len(flat)), key=lambda place: -flat[place] if freeze == "most" else flat[place])
    frozen = set(ranked[: round(0.2 * len(flat))])
    sign = 1 if freeze == "most" else -1
    masks = top_fraction_mask({name: sign * value for name, value in measured.items()}, settings.fraction)
    assert torch.cat([mask.flatten() for mask in masks.values()]).nonzero().flatten().tolist() == sorted(
        frozen
    )


def test_the_halves_are_those_of_the_batches() -> None:
    pairs = batches(5)
    for settings in (make_attribution(), make_attribution(aggregate="each_batch")):
        _, halves = measure_importance(phase(), pairs, settings)
        for half, some in zip(halves, (pairs[:2], pairs[2:]), strict=True):
            alone, _ = measure_importance(phase(), some, settings)
            share = len(some) / 5 if settings.aggregate == "mean_loss" else 1
            for name, value in alone.items():
                torch.testing.assert_close(half[name], value * share)
    assert measure_importance(phase(), batches(1), make_attribution())[1] == []


def test_random_importance_is_of_the_seed_and_the_cycle_alone() -> None:
    settings = make_attribution(criterion="random")
    first, halves = measure_importance(phase(), [], settings)
    again, _ = measure_importance(phase(), batches(2), settings)
    assert halves == []
    assert all(torch.equal(first[name], again[name]) for name in first)
    for changed in (replace(settings, seed=6), replace(settings, cycle=2)):
        other, _ = measure_importance(phase(), [], changed)
        assert not any(torch.equal(first[name], other[name]) for name in first)
    values = torch.cat([value.flatten() for value in first.values()])
    assert len(values.unique()) == len(values)
    assert 0.45 < float(values.mean()) < 0.55


def test_an_epoch_of_batches_is_as_many_as_training_takes() -> None:
    assert make_attribution(batches="epoch", batch=16).batch_count(800) == 50
    assert make_attribution(batches="epoch", batch=16, repeat=2).batch_count(401) == 51
    assert make_attribution(batches=7).batch_count(800) == 7
