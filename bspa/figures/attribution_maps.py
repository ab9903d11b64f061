"""Which layers matter, and which are frozen, from cycle to cycle (Section 3.3)."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from bspa.figures.style import COLUMN_INCHES, STYLE, write_label
from bspa.models.weights import load_weights

ROWS = 40
"""Layers that are drawn one by one; of a deeper network, whole blocks are."""

# With more cycles, the numbers do not fit into the cells.
NUMBERED = 5
# Cells below this part of the network's mean look alike.
LEAST = 0.01
COLOURS = "viridis"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Attributions:
    """L layers, or blocks of layers, over C cycles."""

    layers: list[str]
    """Names, in the order of the forward pass."""
    importance: NDArray[np.float64]
    """(L, C) mean importance of a weight, over that of the whole network in this cycle."""
    frozen: NDArray[np.float64]
    """(L, C) share of the weights that the mask freezes, 0 to 1."""


def read_attributions(paths: Sequence[str | os.PathLike[str]], weights: Sequence[str]) -> Attributions:
    """Read the attributions of a run's cycles, and average them over layers or blocks.

    Args:
        paths: safetensors files with importance.NAME and mask.NAME, one for each cycle.
        weights: names of the attributed weights, in the order of the forward pass
            (`bspa.training.attribution.attributable`).

    Raises:
        ValueError: a file is no attribution of this network.
    """
    blocks = group(weights)
    cycles = [_sums(path, weights) for path in paths]
    importance, frozen = [], []
    for of_weight in cycles:
        of_block = [np.sum([of_weight[name] for name in names], axis=0) for names in blocks.values()]
        sums, masked, sizes = np.array(of_block).T
        mean = sums.sum() / sizes.sum()
        importance.append(sums / sizes / (mean or 1.0))
        frozen.append(masked / sizes)
    return Attributions(
        layers=list(blocks), importance=np.stack(importance, axis=1), frozen=np.stack(frozen, axis=1)
    )


def _sums(path: str | os.PathLike[str], weights: Sequence[str]) -> dict[str, tuple[float, int, int]]:
    """Importance, frozen weights and weights of each layer."""
    tensors, _ = load_weights(path)
    expected = {f"{kind}.{name}" for kind in ("importance", "mask") for name in weights}
    if set(tensors) != expected:
        other = sorted(set(tensors) ^ expected)
        raise ValueError(
            f"{path} is no attribution of this network: {len(other)} tensors are missing or of another, "
            f"such as {other[0]}"
        )
    sums = {}
    for name in weights:
        # One importance may stand for a whole kernel; the mask always has a value for each weight.
        mask = tensors[f"mask.{name}"]
        sums[name] = (float(tensors[f"importance.{name}"].double().sum()), int(mask.sum()), mask.numel())
    return sums


def group(weights: Sequence[str], at_most: int = ROWS) -> dict[str, list[str]]:
    """Group neighbouring weights by the first parts of their names, as many parts as give ``at_most`` groups.

    >>> group(["head.0.weight", "body.0.a.weight", "body.0.b.weight", "tail.weight"], at_most=3)
    {'head.0': ['head.0.weight'], 'body.0': ['body.0.a.weight', 'body.0.b.weight'], 'tail': ['tail.weight']}
    """
    layers = [name.removesuffix(".weight").split(".") for name in weights]
    for depth in range(max(map(len, layers)), 0, -1):
        labels = [".".join(layer[:depth]) for layer in layers]
        if depth == 1 or len(set(labels)) <= at_most:
            break
    groups: dict[str, list[str]] = {}
    for label, name in zip(labels, weights, strict=True):
        groups.setdefault(label, []).append(name)
    return groups


def figure_attribution(attributions: Attributions, *, label: str) -> Figure:
    """Draw, for each layer and cycle, how much its weights matter and how many of them are frozen.

    Args:
        attributions: see `read_attributions`.
        label: network, method, scale and data.
    """
    rows = len(attributions.layers)
    percent = 100 * attributions.frozen
    with mpl.rc_context({**STYLE, "axes.spines.right": True, "axes.spines.top": True}):
        figure = Figure(figsize=(COLUMN_INCHES, 1.0 + max(0.095 * rows, 1.0)), layout="constrained")
        write_label(figure, label)
        left, right = figure.subplots(1, 2, sharey=True)
        _draw_map(
            left,
            attributions.importance,
            LogNorm(*decades(attributions.importance), clip=True),
            "Importance of a weight\n(1: the network's mean)",
            lambda value: f"{value:.2f}" if value < 9.995 else f"{value:.0f}",
        )
        _draw_map(
            right,
            percent,
            Normalize(0, float(percent.max()) or 1.0),
            "Frozen weights (%)",
            lambda value: f"{value:.1f}",
        )
        left.set_yticks(range(rows), attributions.layers, fontsize=5.5)
    return figure


def decades(importance: NDArray[np.float64]) -> tuple[float, float]:
    """Powers of ten, 1 between them, that hold all of ``importance`` but what is below `LEAST`."""
    shown = np.append(importance[importance >= LEAST], 1.0)
    lower, upper = np.floor(np.log10(shown.min())), np.ceil(np.log10(shown.max()))
    return float(10.0 ** min(lower, -1)), float(10.0 ** max(upper, 1))


def _draw_map(
    axes: Axes, values: NDArray[np.float64], norm: Normalize, title: str, write: Callable[[float], str]
) -> None:
    rows, cycles = values.shape
    cells = axes.imshow(values, COLOURS, norm=norm, aspect="auto", interpolation="none")
    if cycles <= NUMBERED:
        for row, column in itertools.product(range(rows), range(cycles)):
            value = values[row, column]
            colour = "white" if norm(value) < 0.6 else "black"
            axes.text(column, row, write(value), color=colour, fontsize=5, ha="center", va="center_baseline")
    axes.tick_params(length=0)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda column, _: f"{column + 1:g}"))
    axes.set_xlabel("Cycle")
    axes.set_title(title)
    axes.figure.colorbar(cells, ax=axes, orientation="horizontal", aspect=25, pad=0.02)
