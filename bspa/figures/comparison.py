"""One HTML page that shows what several methods make of the same pictures, with a slider between any two.

The page holds its pictures, losslessly, and refers to nothing outside.
"""

from __future__ import annotations

import base64
import html
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from bspa.metrics.borders import Image
from bspa.metrics.catalogue import METRICS, PSNR_SSIM_CONVENTION

Scores = Mapping[str, Mapping[str, float]]
"""PSNR and SSIM, by the names in `METRICS`, of each method; NaN where they could not be measured."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared:
    """A picture as several methods enlarge it; encoded, so that many fit into memory."""

    name: str
    note: str
    """What part is shown."""
    width: int
    """Of what is shown, in pixels."""
    images: Mapping[str, str]
    """Method -> PNG as a data URI."""
    scores: Scores
    """Of the whole picture; empty where it has no original."""


def compared(name: str, images: Mapping[str, Image], scores: Scores, crop: int) -> Compared:
    """Encode the part of a picture, at most ``crop`` pixels a side, where the methods differ most.

    Args:
        name: of the picture.
        images: method -> RGB (h, w, 3) uint8, all of one size.
        scores: of the whole pictures.
        crop: side of the part; 0: the whole picture.
    """
    height, width, _ = next(iter(images.values())).shape
    rows, columns = differing_part(list(images.values()), crop or max(height, width))
    note = f"{width}x{height} pixels"
    shown = (columns.stop - columns.start, rows.stop - rows.start)
    if shown != (width, height):
        note += f"; shown: {shown[0]}x{shown[1]} from ({columns.start}, {rows.start}), where they differ most"
    encoded = {method: data_uri(image[rows, columns]) for method, image in images.items()}
    return Compared(name=name, note=note, width=shown[0], images=encoded, scores=scores)


def differing_part(images: Sequence[Image], side: int) -> tuple[slice, slice]:
    """Return rows and columns of the window in which the images' samples spread most."""
    height, width, _ = images[0].shape
    h, w = min(side, height), min(side, width)
    if (h, w) == (height, width):
        return slice(0, height), slice(0, width)
    spread = (np.maximum.reduce(images) - np.minimum.reduce(images)).sum(axis=2, dtype=np.int64)
    sums = np.pad(spread.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    windows = sums[h:, w:] - sums[:-h, w:] - sums[h:, :-w] + sums[:-h, :-w]
    top, left = map(int, np.unravel_index(windows.argmax(), windows.shape))
    return slice(top, top + h), slice(left, left + w)


def cut_to_scale(original: Image, scale: int, path: Path) -> Image:
    """Cut an original at the bottom and the right to a multiple of the scale.

    Raises:
        ValueError: it has fewer pixels than the scale along a side; ``path`` names it.
    """
    height, width = (side // scale * scale for side in original.shape[:2])
    if not height * width:
        size = f"{original.shape[1]}x{original.shape[0]}"
        raise ValueError(f"{path}: {size} pixels, fewer than the scale, {scale}")
    return original[:height, :width]


def data_uri(image: NDArray[np.uint8]) -> str:
    """Encode RGB (h, w, 3) uint8 as a PNG within an address."""
    file = io.BytesIO()
    PIL.Image.fromarray(image).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def means(pictures: Sequence[Compared]) -> dict[str, dict[str, float]]:
    """Return each method's mean scores over the pictures that were scored; empty if none was."""
    scored = [picture.scores for picture in pictures if picture.scores]
    return {
        method: {name: float(np.mean([scores[method][name] for scores in scored])) for name in values}
        for method, values in (scored[0].items() if scored else ())
    }


def comparison_page(pictures: Sequence[Compared], title: str) -> str:
    """Return the page as HTML."""
    template = Template(Path(__file__).with_suffix(".html").read_text(encoding="utf-8"))
    shown = [{"name": p.name, "note": p.note, "width": p.width, "images": dict(p.images)} for p in pictures]
    mean = means(pictures)
    return template.substitute(
        title=html.escape(title),
        introduction=f"{len(pictures)} picture{'s' if len(pictures) > 1 else ''}"
        + ("" if mean else "; without originals, so without scores"),
        table=_table(pictures, mean) if mean else "",
        convention=html.escape(f"{PSNR_SSIM_CONVENTION}.") if mean else "",
        pictures=json.dumps(shown).replace("<", "\\u003c"),  # or a name could end the script
    )


def _table(pictures: Sequence[Compared], mean: Scores) -> str:
    head = "".join(f"<th>{html.escape(method)}</th>" for method in mean)
    body = "".join(_row(picture.name, picture.scores) for picture in pictures if picture.scores)
    return (
        f"<table><thead><tr><th>PSNR in dB / SSIM</th>{head}</tr></thead><tbody>{body}</tbody>"
        f"<tfoot>{_row('mean', mean)}</tfoot></table>"
    )


def _row(name: str, scores: Scores) -> str:
    best = {metric: max(values[metric] for values in scores.values()) for metric in ("psnr", "ssim")}
    cells = (
        " / ".join(
            f"<b>{_number(metric, value)}</b>" if value == best[metric] else _number(metric, value)
            for metric, value in values.items()
        )
        for values in scores.values()
    )
    return f"<tr><th>{html.escape(name)}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def score_text(values: Mapping[str, float]) -> str:
    """Print PSNR and SSIM, e.g. ``28.42 / 0.8104``."""
    return " / ".join(_number(metric, value) for metric, value in values.items())


def _number(metric: str, value: float) -> str:
    return "-" if math.isnan(value) else format(value, METRICS[metric].form)
