"""Making LR images: 2040x1404 RGB by 1/4."""

from __future__ import annotations

import toolbox
from measuring import Item, repeated
from photographs import large_photo
from PIL import Image
from sizes import SCALE, Bench

from bspa.data.resize import imresize


def measure_imresize(bench: Bench) -> Item:
    """Against Pillow, whose bicubic is not MATLAB's, and a Python port of MATLAB's."""
    photo = large_photo(*bench.photo)
    height, width = (side // SCALE for side in bench.photo)
    picture, bicubic = Image.fromarray(photo), Image.Resampling.BICUBIC
    return Item(
        unit="image",
        limits={"Pillow's bicubic": repeated(lambda: picture.resize((width, height), bicubic))},
        ours=repeated(lambda: imresize(photo, 1 / SCALE)),
        plain=repeated(lambda: toolbox.imresize(photo, 1 / SCALE)),
    )
