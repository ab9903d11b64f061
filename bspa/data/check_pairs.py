"""Check whether every LR file is MATLAB's imresize of its HR file.

    bspa check-pairs data/Set5/x4 --scale 4
    bspa check-pairs DIV2K --scale 2 --hr 'HR/*.png' --lr 'LR_bicubic/X{scale}/*x{scale}.png'

Exit status: 0 if every pair is identical, 1 if any differs, 2 if the pairs cannot be read.
"""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray

from bspa.data.photos import read_photo
from bspa.data.resize import imresize
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


def check_pairs(
    folder: str, scale: int, *, hr: str = "*_HR.png", lr: str = "*_LR.png", border: str = "clamp"
) -> bool:
    """Print how many samples of each pair in ``folder`` differ; return True if none does.

    Args:
        folder: of the pairs; may hold ``{scale}``.
        scale: HR pixels to an LR pixel.
        hr, lr: patterns of the files, as in the config.
        border: edge rule of `bspa.imresize`.

    Raises:
        ValueError: no pairs, an unreadable file, or an LR image of the wrong size.
    """
    if scale < 1:
        raise ValueError(f"--scale is {scale}; it must be 1 or more")
    samples, differing, largest = [], [], []
    for pair in list_files("folder", path=folder, hr=hr, lr=lr, scales=[scale]):
        error = compare(pair, border)
        samples.append(error.size)
        differing.append(int(np.count_nonzero(error)))
        largest.append(error.max())
        found = f"{differing[-1]} of {error.size} samples differ, largest difference {largest[-1]}"
        print(f"{pair.id}: {found}", flush=True)
    print(
        f"{len(samples)} pairs at scale {scale}, border {border}: "
        f"{differing.count(0)} identical, {np.count_nonzero(differing)} differ "
        f"({sum(differing)} of {sum(samples)} samples, largest difference {max(largest)})"
    )
    return not any(differing)


if __name__ == "__main__":  # the command's older name
    from bspa.cli.main import main

    sys.exit(main(["check-pairs", *sys.argv[1:]]))
