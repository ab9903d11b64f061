"""The validation curve of a stage: PSNR on whole images while it trains, and the best weights so far."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from bspa.data.packed import PackedImages
from bspa.metrics.psnr import psnr_y
from bspa.models.inference import super_resolve
from bspa.training.snapshot import Best


@dataclass(frozen=True, kw_only=True, slots=True)
class Validation:
    """Measures the network in training on images; see `bspa.training.task.Validate`."""

    images: PackedImages
    count: int | None = None
    """How many of the images, the first ones, count; None: all."""

    def psnr(self, network: nn.Module, weights: Mapping[str, Tensor] | None = None) -> float:
        """Return the mean PSNR in dB on Y, ``scale`` pixels cut from each border, in float32.

        Args:
            network: as it is in training; its state does not change.
            weights: parameters to use instead of the network's own, by name.
        """
        training = network.training
        parameters = dict(network.named_parameters())
        own = {name: parameters[name].detach().clone() for name in weights or {}}
        try:
            _copy(weights or {}, parameters)
            count = min(len(self.images), self.count or len(self.images))
            return float(np.mean([self._psnr_of(network, index) for index in range(count)]))
        finally:
            _copy(own, parameters)
            network.train(training)

    def _psnr_of(self, network: nn.Module, index: int) -> float:
        sr = super_resolve(network, self.images.lr(index))
        return psnr_y(sr, self.images.hr(index), self.images.scale)

    def __call__(
        self, network: nn.Module, average: Mapping[str, Tensor], step: int, best: Best | None
    ) -> tuple[dict[str, float], Best | None]:
        """Return the journal's values after ``step`` steps of the run, and the best weights so far.

        The candidates are the averaged weights if there are any, else the weights themselves.
        """
        values = {"psnr": self.psnr(network)}
        if average:
            values["psnr_average"] = self.psnr(network, average)
        score = values.get("psnr_average", values["psnr"])
        if best is not None and not score > best.psnr:
            return values, best
        weights = {**network.state_dict(), **average}
        copied = {name: value.detach().to("cpu", copy=True).contiguous() for name, value in weights.items()}
        return values, Best(weights=copied, psnr=score, step=step)


def open_validation(packed: str | os.PathLike[str], count: int | None) -> Validation:
    """Validate on packed images, or on the first ``count`` of them."""
    return Validation(images=PackedImages(packed), count=count)


@torch.no_grad()
def _copy(values: Mapping[str, Tensor], parameters: Mapping[str, nn.Parameter]) -> None:
    for name, value in values.items():
        parameters[name].copy_(value)
