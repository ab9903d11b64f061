"""Make the pictures of the documentation from the default run.

snakemake --cores 8 results/tables/table4.csv && python docs/pictures.py
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

import bspa
from bspa.data.packed import PackedImages
from bspa.figures.style import STYLE

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "results"
IMAGE, TOP, LEFT, SIZE, SCALE = "coffee", 96, 128, 112, 4


def main() -> None:
    """Write images/crops.png: one region as LR, bicubic, baseline, BSPA and HR."""
    images = PackedImages(RESULTS / "data/builtin_test/x4.h5")
    number = images.ids.index(IMAGE)
    lr, hr = np.array(images.lr(number)), np.array(images.hr(number))
    panels = {"LR": lr.repeat(SCALE, 0).repeat(SCALE, 1), "bicubic": bspa.imresize(lr, SCALE)}
    for method, label in (("baseline", "baseline"), ("bspa", "BSPA")):
        model = bspa.load_model(RESULTS / f"models/rcan_mini_x4_{method}_seed0.safetensors")
        panels[label] = bspa.super_resolve(model, lr)
    panels["HR"] = hr
    region = np.s_[TOP : TOP + SIZE, LEFT : LEFT + SIZE]
    with mpl.rc_context({**STYLE, "axes.titlesize": 9}):
        figure = Figure(figsize=(7.5, 1.75), layout="constrained")
        for axes, (title, pixels) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
            scored = title in ("bicubic", "baseline", "BSPA")
            psnr = f", {bspa.psnr_y(pixels, hr, SCALE):.2f} dB" if scored else ""
            axes.imshow(pixels[region], interpolation="none")
            axes.set_title(f"{title}{psnr}")
            axes.set_axis_off()
        figure.savefig(HERE / "images/crops.png", dpi=120, metadata={"Software": None})


if __name__ == "__main__":
    main()
