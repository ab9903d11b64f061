"""Integrated gradients against their definition; which units a mask marks."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from bspa.training.attribution import attributable, integrated_gradients, overlap, top_fraction_mask
from bspa.training.losses import l1
from tests.support.training import plain_network


def snapshots(model: nn.Module, change: float) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    torch.manual_seed(1)
    baseline = {name: value.clone() for name, value in model.state_dict().items()}
    target = {name: v + change * v.abs().mean() * torch.randn_like(v) for name, v in baseline.items()}
    return baseline, target


def batches(count: int) -> list[tuple[Tensor, Tensor]]:
    torch.manual_seed(2)
    return [(torch.rand(4, 3, 8, 8), torch.rand(4, 3, 16, 16)) for _ in range(count)]


def mean_loss(model: nn.Module, weights: dict[str, Tensor], pairs: list[tuple[Tensor, Tensor]]) -> float:
    model.load_state_dict(weights)
    with torch.no_grad():
        return sum(float(l1(model(lr), hr)) for lr, hr in pairs) / len(pairs)


@pytest.mark.parametrize("change", [0.05, 1.0])
def test_completeness_at_100_steps_is_within_one_percent(change: float) -> None:
    model, pairs = plain_network(), batches(2)
    baseline, target = snapshots(model, change)
    signed = integrated_gradients(model, baseline, target, pairs, l1, steps=100)
    total = sum(float(g.double().sum()) for g in signed.values())
    difference = mean_loss(model, target, pairs) - mean_loss(model, baseline, pairs)
    assert abs(total - difference) <= 0.01 * abs(difference), f"{total} against {difference}"


def test_it_is_the_left_riemann_sum_of_equation_10() -> None:
    model, pairs = plain_network(), batches(2)
    baseline, target = snapshots(model, 0.5)
    got = integrated_gradients(model, baseline, target, pairs, l1, steps=5)
    expected = {name: torch.zeros_like(v) for name, v in baseline.items()}
    for s in range(5):
        model.load_state_dict({n: v + s / 5 * (target[n] - v) for n, v in baseline.items()})
        loss = torch.stack([l1(model(lr), hr) for lr, hr in pairs]).mean()
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        for (name, _), gradient in zip(model.named_parameters(), gradients, strict=True):
            expected[name] += gradient
    for name, value in expected.items():
        torch.testing.assert_close(got[name], (target[name] - baseline[name]) / 5 * value)


def test_a_weight_that_did_not_move_has_no_importance_and_the_model_is_left_as_it_was() -> None:
    model = plain_network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    baseline, target = snapshots(model, 0.5)
    target["2.weight"][3] = baseline["2.weight"][3]
    signed = integrated_gradients(model, baseline, target, batches(1), l1, steps=3)
    assert bool((signed["2.weight"][3] == 0).all())
    assert bool((signed["2.weight"][2] != 0).any())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_only_trainable_convolution_weights_compete() -> None:
    model = plain_network()
    model.get_parameter("2.weight").requires_grad_(False)
    assert attributable(model) == ["0.weight", "4.weight"]


def test_a_snapshot_of_another_network_is_refused() -> None:
    model = plain_network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    baseline, target = snapshots(model, 0.5)
    del target["2.weight"]
    with pytest.raises(ValueError, match=r"target snapshot: .* missing: 2\.weight"):
        integrated_gradients(model, baseline, target, batches(1), l1, steps=3)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


# ---- the mask ------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
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


@pytest.mark.parametrize(
    ("value", "fraction", "message"),
    [
        (1.0, -0.1, "fraction: -0.1; allowed"),
        (1.0, 1.1, "fraction: 1.1; allowed"),
        (float("nan"), 0.5, "not finite"),
    ],
)
def test_what_cannot_be_ranked_is_refused(value: float, fraction: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        top_fraction_mask({"a": torch.tensor([1.0, value])}, fraction)


def test_the_overlap_of_two_masks_is_a_share_of_the_marked() -> None:
    first = {"a": torch.tensor([True, True, False]), "b": torch.tensor([True, False])}
    second = {"a": torch.tensor([True, False, True]), "b": torch.tensor([True, False])}
    assert overlap(first, second) == 2 / 3
    assert overlap({"a": torch.tensor([False])}, {"a": torch.tensor([False])}) is None
