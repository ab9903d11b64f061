"""Check whether every LR file is MATLAB's imresize of its HR file.

    python -m bspa.data.check_pairs data/Set5/x4 --scale 4
    python -m bspa.data.check_pairs DIV2K --scale 2 --hr 'HR/*.png' --lr 'LR_bicubic/X{scale}/*x{scale}.png'

Exit status: 0 if every pair is identical, 1 if any differs, 2 if the pairs cannot be read.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bspa.data.photos import read_photo
from bspa.data.resize import BORDERS, imresize
from bspa.data.sources import PhotoFile, list_files


def compare(pair: PhotoFile, border: str) -> NDArray[np.int16]:
    """Return the absolute differences of LR to imresize of HR, cut to a multiple of the scale."""
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
    return np.abs(made.astype(np.int16) - lr)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser("python -m bspa.data.check_pairs", description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="folder of the pairs; may hold {scale}")
    parser.add_argument("--scale", type=int, required=True, help="HR pixels to an LR pixel, e.g. 4")
    parser.add_argument("--hr", default="*_HR.png", metavar="PATTERN", help="HR files (default: %(default)s)")
    parser.add_argument("--lr", default="*_LR.png", metavar="PATTERN", help="LR files (default: %(default)s)")
    parser.add_argument("--border", choices=BORDERS, default="clamp", help="edge rule (default: %(default)s)")
    options = parser.parse_args(arguments)
    logging.basicConfig(format="%(message)s")
    if options.scale < 1:
        parser.error(f"--scale is {options.scale}; it must be 1 or more")
    patterns = {"hr": options.hr, "lr": options.lr, "scales": [options.scale]}
    samples, differing, largest = [], [], []
    try:
        for pair in list_files("folder", path=options.folder, **patterns):
            error = compare(pair, options.border)
            samples.append(error.size)
            differing.append(int(np.count_nonzero(error)))
            largest.append(error.max())
            found = f"{differing[-1]} of {error.size} samples differ, largest difference {largest[-1]}"
            print(f"{pair.id}: {found}", flush=True)
    except (ValueError, OSError) as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        return 2
    print(
        f"{len(samples)} pairs at scale {options.scale}, border {options.border}: "
        f"{differing.count(0)} identical, {np.count_nonzero(differing)} differ "
        f"({sum(differing)} of {sum(samples)} samples, largest difference {max(largest)})"
    )
    return int(any(differing))


if __name__ == "__main__":
    sys.exit(main())
