"""Bi-Sampling Parameter Attribution (BSPA) for image super-resolution.

The method of Luo, Xie and Qu, "Learning Re-sampling Methods with Parameter Attribution for Image
Super-resolution" (NeurIPS 2023). Everything named here may be imported from `bspa` itself; where it lives may
change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "data.resize": ["imresize"],
        "difficulty.classes": ["class_sizes", "inverse_probabilities", "thresholds"],
        "difficulty.grid": ["starts"],
        "metrics.niqe": ["niqe"],
        "metrics.psnr_ssim": ["psnr_y", "ssim_y"],
        "models.inference": ["super_resolve"],
        "models.registry": ["build"],
        "models.weights": ["load_model"],
        "training.attribution": ["integrated_gradients", "top_fraction_mask"],
    },
)

if TYPE_CHECKING:
    from bspa.data.resize import imresize as imresize
    from bspa.difficulty.classes import class_sizes as class_sizes
    from bspa.difficulty.classes import inverse_probabilities as inverse_probabilities
    from bspa.difficulty.classes import thresholds as thresholds
    from bspa.difficulty.grid import starts as starts
    from bspa.metrics.niqe import niqe as niqe
    from bspa.metrics.psnr_ssim import psnr_y as psnr_y
    from bspa.metrics.psnr_ssim import ssim_y as ssim_y
    from bspa.models.inference import super_resolve as super_resolve
    from bspa.models.registry import build as build
    from bspa.models.weights import load_model as load_model
    from bspa.training.attribution import integrated_gradients as integrated_gradients
    from bspa.training.attribution import top_fraction_mask as top_fraction_mask
