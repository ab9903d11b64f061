"""Which layers matter, and which are frozen, from cycle to cycle (Section 3.3)."""

from __future__ import annotations

import itertools
import math
import os
import re
from collections import defaultdict
from collections.abc import Callable, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from bspa.figures.style import COLUMN_INCHES, STYLE
from bspa.models.weights import load_weights
from bspa.system.reading import reading

ROWS = 40
"""Largest number of layers drawn one by one; a deeper network is drawn by blocks."""

# With more cycles, the numbers do not fit into the cells.
NUMBERED = 5
# Importance, over the network's mean, at which the colours end.
RANGE = (0.1, 10)
COLOURS = "viridis"

AROUND_BODY = {
    r"head\.0": "head",
    r"body\.\d+": "end of body",
    r"tail\.0\.(\d+)": "upsampling {}",
    r"tail\.1": "output",
}
NAMES = {
    "fsrcnn": {
        r"head_conv\.0": "feature extraction",
        r"body_conv\.0\.0": "shrinking",
        r"body_conv\.(\d+)\.0": "mapping {}",
        r"tail_conv": "deconvolution",
    },
    "edsr": {r"body\.(\d+)\.body\.(\d+)": "block {}, conv {}", **AROUND_BODY},
    "rcan": {
        r"body\.(\d+)\.body\.(\d+)\.body\.(\d+)": "group {}, block {}, conv {}",
        r"body\.(\d+)\.body\.(\d+)\.body\.3\.conv_du\.(\d+)": "group {}, block {}, attention {}",
        r"body\.(\d+)\.body\.\d+": "group {}, end",
        **AROUND_BODY,
    },
    "msrresnet": {
        r"conv_first": "head",
        r"body\.(\d+)\.conv(\d+)": "block {}, conv {}",
        r"upconv(\d+)": "upsampling {}",
        r"conv_hr": "last but one",
        r"conv_last": "output",
    },
}
"""What readers call a layer, by architecture and pattern of its name: whole before part, counted from 1."""


def read_attributions(
    paths: Sequence[str | os.PathLike[str]], weights: Sequence[str], *, arch: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read the attributions of a run's cycles, and average them over layers or blocks.

    Args:
        paths: safetensors files with importance.NAME and mask.NAME, one for each cycle.
        weights: names of the attributed weights, in the order of the forward pass
            (`bspa.training.attribution.attributable`).
        arch: the network's architecture.

    Returns:
        The mean importance of a weight, over that of the whole network in this cycle; and the share of the
        weights that the mask freezes, 0 to 1: a line for each layer or block, a column for each cycle.
    """
    labels = np.array(group(layer_names(arch, weights)))
    layers = list(dict.fromkeys(labels.tolist()))
    importance, frozen = [], []
    for path in paths:
        tensors, _ = load_weights(path)
        # One importance may stand for a whole kernel; the mask always has a value for each weight.
        with reading(path, "an attribution of this network"):
            masks = [tensors[f"mask.{name}"] for name in weights]
            units = [tensors[f"importance.{name}"].double() for name in weights]
        pairs = zip(units, masks, strict=True)
        of_weight = np.array([(unit.sum(), mask.sum(), mask.numel()) for unit, mask in pairs], np.float64)
        sums, masked, sizes = np.array([of_weight[labels == layer].sum(axis=0) for layer in layers]).T
        importance.append(sums / sizes / (sums.sum() / sizes.sum() or 1.0))
        frozen.append(masked / sizes)
    return pd.DataFrame(np.stack(importance, 1), layers), pd.DataFrame(np.stack(frozen, 1), layers)


def layer_names(arch: str, weights: Sequence[str]) -> list[str]:
    """Name the layers of some weights for readers, by `NAMES`; others have the parts of their own names.

    >>> layer_names("edsr", ["head.0.weight", "body.0.body.0.weight", "body.0.body.2.weight"])
    ['head', 'block 1, conv 1', 'block 1, conv 2']
    """
    seen: dict[tuple[str, int], dict[str, int]] = defaultdict(dict)
    names = []
    for weight in weights:
        layer = weight.removesuffix(".weight")
        matches = ((name, re.fullmatch(pattern, layer)) for pattern, name in NAMES.get(arch, {}).items())
        known = ((name, match.groups()) for name, match in matches if match)
        name, texts = next(known, (layer.replace(".", ", "), ()))
        numbers = [
            seen[name, place].setdefault(text, 1 + len(seen[name, place])) for place, text in enumerate(texts)
        ]
        names.append(name.format(*numbers))
    if arch == "fsrcnn":
        names[-2] = "expanding"  # its name in the file looks like one more mapping
    return names


def group(names: Sequence[str], at_most: int = ROWS) -> list[str]:
    """Leave as many parts of the layers' names as give ``at_most`` groups.

    >>> group(["head", "block 1, conv 1", "block 1, conv 2", "output"], at_most=3)
    ['head', 'block 1', 'block 1', 'output']
    """
    parts = [name.split(", ") for name in names]
    for depth in range(max(map(len, parts)), 0, -1):
        labels = [", ".join(part[:depth]) for part in parts]
        if len(set(labels)) <= at_most:
            break
    return labels


def figure_attribution(importance: pd.DataFrame, frozen: pd.DataFrame, *, label: str) -> Figure:
    """Draw, for each layer and cycle, how much its weights matter and how many of them are frozen."""
    rows, percent = len(frozen), 100 * frozen.to_numpy()
    with mpl.rc_context({**STYLE, "axes.spines.right": True, "axes.spines.top": True}):
        figure = Figure(figsize=(COLUMN_INCHES, 1.3 + max(0.095 * rows, 1.0)), layout="constrained")
        figure.suptitle(f"What attribution finds, layer by layer\n{label}")
        left, right = figure.subplots(1, 2, sharey=True)
        _draw_map(
            left,
            importance.to_numpy(),
            LogNorm(*RANGE, clip=True),
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
        left.set_yticks(range(rows), frozen.index, fontsize=5.5)
    return figure


def _draw_map(
    axes: Axes, values: np.ndarray, norm: Normalize, title: str, write: Callable[[float], str]
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
    extend = "both" if norm.clip else "neither"
    axes.figure.colorbar(cells, ax=axes, orientation="horizontal", aspect=25, pad=0.02, extend=extend)
