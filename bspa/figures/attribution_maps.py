"""Which layers matter, and which are frozen, from cycle to cycle (Section 3.3).

Shape legend: L layers, or blocks of layers; C cycles.
"""

from __future__ import annotations

import itertools
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bspa.figures.style import COLUMN_INCHES, STYLE
from bspa.models.weights import load_weights

ROWS = 40
"""Layers that are drawn one by one; a deeper network is drawn by blocks."""

# With more cycles, the numbers do not fit into the cells.
NUMBERED = 5
# Cells below this part of the network's mean look alike.
LEAST = 0.01
COLOURS = "viridis"

NAMES = {
    "fsrcnn": {
        r"head_conv\.0\.weight": "feature extraction",
        r"body_conv\.0\.0\.weight": "shrinking",
        r"body_conv\.(\d+)\.0\.weight": "mapping {0}",
        r"tail_conv\.weight": "deconvolution",
    },
    "edsr": {
        r"head\.0\.weight": "head",
        r"body\.(\d+)\.weight": "end of body",
        r"body\.(\d+)": "block {1}",
        r"body\.(\d+)\.body\.0\.weight": "block {1}, conv 1",
        r"body\.(\d+)\.body\.2\.weight": "block {1}, conv 2",
        r"tail\.0\.0\.weight": "upsampling 1",
        r"tail\.0\.2\.weight": "upsampling 2",
        r"tail\.0": "upsampling",
        r"tail\.1\.weight": "output",
    },
    "msrresnet": {
        r"conv_first\.weight": "head",
        r"body\.(\d+)": "block {1}",
        r"body\.(\d+)\.conv1\.weight": "block {1}, conv 1",
        r"body\.(\d+)\.conv2\.weight": "block {1}, conv 2",
        r"upconv(\d+)\.weight": "upsampling {0}",
        r"conv_hr\.weight": "last but one",
        r"conv_last\.weight": "output",
    },
}
"""Names for readers by architecture and pattern of a layer, or of a block: {0} is its number, {1} from 1."""

NAMES["rcan"] = {
    **NAMES["edsr"],
    r"body\.(\d+)": "group {1}",
    r"body\.(\d+)\.body\.(\d+)\.weight": "end of group {1}",
    r"body\.(\d+)\.body\.(\d+)": "block {1}.{3}",
    r"body\.(\d+)\.body\.(\d+)\.body\.0\.weight": "block {1}.{3}, conv 1",
    r"body\.(\d+)\.body\.(\d+)\.body\.2\.weight": "block {1}.{3}, conv 2",
    r"body\.(\d+)\.body\.(\d+)\.body\.3\.conv_du": "block {1}.{3}, attention",
    r"body\.(\d+)\.body\.(\d+)\.body\.3\.conv_du\.0\.weight": "block {1}.{3}, attention 1",
    r"body\.(\d+)\.body\.(\d+)\.body\.3\.conv_du\.2\.weight": "block {1}.{3}, attention 2",
}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Attributions:
    """What attribution found in each cycle."""

    layers: list[str]
    """Names, in the order of the forward pass."""
    importance: NDArray[np.float64]
    """(L, C) mean importance of a weight, over that of the whole network in this cycle."""
    frozen: NDArray[np.float64]
    """(L, C) share of the weights that the mask freezes, 0 to 1."""


def read_attributions(
    paths: Sequence[str | os.PathLike[str]], weights: Sequence[str], *, arch: str
) -> Attributions:
    """Read the attributions of a run's cycles, and average them over layers or blocks.

    Args:
        paths: safetensors files with importance.NAME and mask.NAME, one for each cycle.
        weights: names of the attributed weights, in the order of the forward pass
            (`bspa.training.attribution.attributable`).
        arch: the network's architecture.

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
        layers=layer_names(arch, blocks),
        importance=np.stack(importance, axis=1),
        frozen=np.stack(frozen, axis=1),
    )


def _sums(path: str | os.PathLike[str], weights: Sequence[str]) -> dict[str, tuple[float, int, int]]:
    """Return importance, frozen weights and weights of each layer."""
    tensors, _ = load_weights(path)
    expected = {f"{kind}.{name}" for kind in ("importance", "mask") for name in weights}
    if set(tensors) != expected:
        other = sorted(set(tensors) ^ expected)
        raise ValueError(
            f"{path} is no attribution of this network: {len(other)} tensors are missing or unknown, "
            f"the first is {other[0]}"
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


def layer_names(arch: str, groups: Mapping[str, Sequence[str]]) -> list[str]:
    """Name layers and blocks for readers, by `NAMES`; others keep their own names.

    >>> layer_names("edsr", {"head.0": ["head.0.weight"], "body.3": ["body.3.body.0.weight"]})
    ['head', 'block 4']
    """
    found = []
    for block, weights in groups.items():
        own = weights[0] if list(weights) == [f"{block}.weight"] else block.removesuffix(".body")
        matches = ((re.fullmatch(pattern, own), name) for pattern, name in NAMES.get(arch, {}).items())
        match, name = next(((match, name) for match, name in matches if match), (None, block))
        numbers = [int(text) + offset for text in (match.groups() if match else ()) for offset in (0, 1)]
        found.append(name.format(*numbers))
    if arch == "fsrcnn":
        found[-2] = "expanding"  # the last of the body, which only its place tells
    return found


def figure_attribution(attributions: Attributions, *, label: str) -> Figure:
    """Draw, for each layer and cycle, how much its weights matter and how many of them are frozen.

    Args:
        attributions: see `read_attributions`.
        label: network, method, scale and data.
    """
    rows = len(attributions.layers)
    percent = 100 * attributions.frozen
    with mpl.rc_context({**STYLE, "axes.spines.right": True, "axes.spines.top": True}):
        figure = Figure(figsize=(COLUMN_INCHES, 1.3 + max(0.095 * rows, 1.0)), layout="constrained")
        figure.suptitle(f"What attribution finds, layer by layer\n{label}")
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
            "Frozen in the next cycle\n(% of the weights)",
            lambda value: f"{value:.1f}",
        )
        left.set_yticks(range(rows), attributions.layers, fontsize=5.5)
    return figure


def decades(importance: NDArray[np.float64]) -> tuple[float, float]:
    """Return powers of ten, 1 between them, that hold all of ``importance`` but what is below `LEAST`."""
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
    shown = range(0, cycles, math.ceil(cycles / 8))
    axes.set_xticks(shown, [str(column + 1) for column in shown])
    axes.set_xlabel("Cycle")
    axes.set_title(title)
    axes.figure.colorbar(cells, ax=axes, orientation="horizontal", aspect=25, pad=0.02)
