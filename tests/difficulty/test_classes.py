from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bspa.difficulty.class_table import read_classes, write_classes
from bspa.difficulty.classes import (
    assign_classes,
    class_sizes,
    classify,
    inverse_probabilities,
    split_classes,
    thresholds,
)

Split = tuple[int, int, float]

splits = st.tuples(st.integers(1, 30), st.floats(1, 500)).flatmap(
    lambda ku: st.tuples(st.integers(ku[0], 100_000), st.just(ku[0]), st.just(ku[1]))
)
# Few distinct values, so that equal scores straddle the borders.
tied_scores = st.lists(st.integers(0, 6).map(lambda n: n / 8), min_size=1, max_size=60)


def test_the_papers_class_sizes() -> None:
    # mu = 10^(-1/9) = 0.774263682681127, 1 + mu + ... + mu^9 = 4.086952612187204, so the quotas are
    # 122309.957 94700.158 73322.893 56771.253 43955.920 34033.472 26350.882 20402.531 15796.938 12230.996:
    # the floors sum to 499,868, and the seven largest remainders are .996 .957 .938 .920 .893 .882 .531.
    sizes = [122310, 94700, 73323, 56771, 43956, 34033, 26351, 20403, 15797, 12231]
    assert class_sizes(499_875, 10, 10).tolist() == sizes
    assert sum(sizes) == 499_875
    # The same quotas, times 502,200 / 499,875, for x3.
    assert class_sizes(502_200, 10, 10).tolist() == [
        122879, 95141, 73664, 57035, 44160, 34192, 26474, 20497, 15870, 12288,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("total", "classes", "imbalance", "sizes"),
    [
        (7, 1, 10, [7]),
        (7, 3, 4, [4, 2, 1]),
        (10, 3, 1, [4, 3, 3]),
        (110, 2, 10, [100, 10]),
        (6, 5, 200, [2, 1, 1, 1, 1]),
    ],
)
def test_small_class_sizes(total: int, classes: int, imbalance: float, sizes: list[int]) -> None:
    assert class_sizes(total, classes, imbalance).tolist() == sizes


@given(splits)
def test_class_sizes_are_a_long_tail_within_one_of_their_quotas(split: Split) -> None:
    total, classes, imbalance = split
    sizes = class_sizes(total, classes, imbalance)
    assert len(sizes) == classes
    assert sizes.sum() == total
    assert sizes.min() >= 1
    assert (np.diff(sizes) <= 0).all()
    weights = np.array([imbalance ** (-k / max(classes - 1, 1)) for k in range(classes)])
    quotas = total * weights / weights.sum()
    if quotas[-1] >= 1:  # no class had to be lifted to one sub-image
        assert np.abs(sizes - quotas).max() < 1 + 1e-6, sizes - quotas
        up = sizes > np.floor(quotas)
        remainders = quotas % 1
        if up.any() and np.abs(quotas - np.rint(quotas)).min() > 1e-6:  # of the largest remainders
            assert remainders[up].min() >= remainders[~up].max(initial=0) - 1e-6


def test_inverse_probabilities_are_equation_4() -> None:
    # 1/100, 1/50, 1/20 over their sum 0.08
    np.testing.assert_allclose(inverse_probabilities([100, 50, 20]), [0.125, 0.25, 0.625], rtol=1e-15)


def test_thresholds_are_equation_3_and_equal_scores_are_ranked_by_position() -> None:
    scores = np.array([0.5, 0.1, 0.4, 0.2, 0.3, 0.6, 0.7])
    assert thresholds(scores, [4, 2, 1]).tolist() == [0.4, 0.6, 0.7]
    assert assign_classes(scores, [4, 2, 1]).tolist() == [2, 1, 1, 1, 1, 2, 3]
    assert assign_classes([0.2, 0.1, 0.2, 0.2, 0.1], [3, 2]).tolist() == [1, 1, 2, 2, 1]
    # On a threshold is the easier class; none is beyond the last.
    assert classify([0.0, 0.1, 0.15, 0.2, 0.3, 0.31], [0.1, 0.2, 0.3]).tolist() == [1, 1, 2, 2, 3, 3]


@given(tied_scores, st.integers(1, 10), st.floats(1, 100))
def test_classes_are_exact_and_ordered(values: list[float], classes: int, imbalance: float) -> None:
    scores = np.array(values, np.float32)
    sizes = class_sizes(len(scores), min(classes, len(scores)), imbalance)
    assigned = assign_classes(scores, sizes)
    limits = thresholds(scores, sizes)
    assert np.bincount(assigned)[1:].tolist() == sizes.tolist()
    assert [scores[assigned == k].max() for k in range(1, len(sizes) + 1)] == limits.tolist()
    for k in range(1, len(sizes)):
        assert scores[assigned == k].max() <= scores[assigned == k + 1].min()
    # A later score of equal value is never in an easier class.
    for value in np.unique(scores):
        assert (np.diff(assigned[scores == value]) >= 0).all()


@given(st.lists(st.floats(0, 1, width=32), min_size=3, max_size=60, unique=True))
def test_thresholds_classify_the_scores_they_came_from(values: list[float]) -> None:
    scores = np.array(values, np.float32)
    sizes = class_sizes(len(scores), 3, 5)
    assert classify(scores, thresholds(scores, sizes)).tolist() == assign_classes(scores, sizes).tolist()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: class_sizes(10, 0, 10), "classes is 0"),
        (lambda: class_sizes(10, 2, 0.5), "imbalance is 0.5"),
        (lambda: class_sizes(10, 2, math.nan), "imbalance is nan"),
        (lambda: class_sizes(4, 5, 10), "4 sub-images cannot fill 5 classes"),
        (lambda: inverse_probabilities([]), r"\[\]"),
        (lambda: inverse_probabilities([3, 0]), r"\[3, 0\]"),
        (lambda: thresholds([0.1, math.nan, 0.2], [2, 1]), r"1 of 3 scores are NaN .* number 1\)"),
        (lambda: thresholds([0.1, 0.2, 0.3], [2, 2]), r"\[2, 2\] \(sum 4\) .* 3 scores"),
    ],
)
def test_impossible_arguments_are_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_the_thresholds_file_gives_back_every_bit(tmp_path: Path) -> None:
    scores = np.random.default_rng(0).exponential(1e-3, 1000).astype(np.float32)
    classes = split_classes(scores, 7, 13.3)
    write_classes(tmp_path / "thresholds.csv", classes, key="abc")
    again = read_classes(tmp_path / "thresholds.csv")
    assert (tmp_path / "thresholds.csv").read_text().startswith("k,N_k,t_k,P_k,key\n1,")
    assert [column.tolist() for column in again] == [column.tolist() for column in classes]
    assert set(again.thresholds.astype(np.float32)) <= set(scores)


@pytest.mark.parametrize(
    "text", ["", "k,N_k,t_k\n1,5,0.1\n", "k,N_k,t_k,P_k\n2,5,0.1,1\n", "k,N_k,t_k,P_k\n1,x,0.1,1\n"]
)
def test_other_files_are_no_thresholds(tmp_path: Path, text: str) -> None:
    path = tmp_path / "thresholds.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"thresholds\.csv: not a thresholds file"):
        read_classes(path)
