"""Check whether every LR file is MATLAB's imresize of its HR file.

    python -m bspa.data.check_pairs data/Set5/x4 --scale 4
    python -m bspa.data.check_pairs DIV2K --scale 2 --hr 'HR/*.png' --lr 'LR_bicubic/X{scale}/*x{scale}.png'

Exit status: 0 if every pair is identical, 1 if any differs, 2 if the pairs cannot be read.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from bspa.data.photos import read_photo
from bspa.data.resize import BORDERS, imresize
from bspa.data.sources import PhotoFile, list_files


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """How a given LR file differs from imresize of its HR file."""

    id: str
    samples: int
    """RGB samples of the LR image."""
    differing: int
    """Samples that differ."""
    largest: int
    """Largest absolute difference, of 255."""


def compare(pair: PhotoFile, *, border: str = "clamp") -> Difference:
    """Compare a pair of `bspa.data.sources.list_files`; HR is cut to a multiple of the scale first.

    Raises:
        ValueError: a file cannot be used, or the sizes do not fit the scale.
    """
    assert pair.scale, "list_files was given patterns for pairs"
    assert pair.lr_path, "list_files was given patterns for pairs"
    hr, lr = read_photo(pair.path), read_photo(pair.lr_path)
    height, width = hr.shape[0] // pair.scale, hr.shape[1] // pair.scale
    if lr.shape[:2] != (height, width):
        raise ValueError(
            f"{pair.lr_path}: {lr.shape[1]}x{lr.shape[0]} pixels, but the LR of {pair.path} at scale "
            f"{pair.scale} is {width}x{height}"
        )
    made = imresize(hr[: height * pair.scale, : width * pair.scale], 1 / pair.scale, border=border)
    error = np.abs(made.astype(np.int16) - lr)
    return Difference(
        id=pair.id, samples=error.size, differing=int(np.count_nonzero(error)), largest=int(error.max())
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bspa.data.check_pairs", description=__doc__.splitlines()[0]
    )
    parser.add_argument("folder", help="folder of the pairs; may hold {scale}")
    parser.add_argument("--scale", type=int, required=True, help="HR pixels to an LR pixel, e.g. 4")
    parser.add_argument("--hr", default="*_HR.png", metavar="PATTERN", help="HR files (default: %(default)s)")
    parser.add_argument("--lr", default="*_LR.png", metavar="PATTERN", help="LR files (default: %(default)s)")
    parser.add_argument(
        "--border", choices=BORDERS, default="clamp", help="edge rule of imresize (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    logging.basicConfig(format="%(message)s")
    if options.scale < 1:
        parser.error(f"--scale is {options.scale}; it must be 1 or more")
    try:
        pairs = list_files(
            "folder", path=options.folder, hr=options.hr, lr=options.lr, scales=[options.scale]
        )
        differences = list(_report(pairs, options.border))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    differing = sum(d.differing > 0 for d in differences)
    samples = sum(d.samples for d in differences)
    print(
        f"{len(pairs)} pairs at scale {options.scale}, border {options.border}: "
        f"{len(pairs) - differing} identical, {differing} differ "
        f"({sum(d.differing for d in differences)} of {samples} samples, "
        f"largest difference {max(d.largest for d in differences)})"
    )
    return 1 if differing else 0


def _report(pairs: Sequence[PhotoFile], border: str) -> Iterator[Difference]:
    for pair in pairs:
        found = compare(pair, border=border)
        print(
            f"{found.id}: {found.differing} of {found.samples} samples differ, "
            f"largest difference {found.largest}",
            flush=True,
        )
        yield found


if __name__ == "__main__":
    sys.exit(main())
