"""The catalogue of metrics."""

from __future__ import annotations

import pytest

from bspa.metrics.catalogue import METRICS


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_says_its_convention_in_one_line(name: str) -> None:
    metric = METRICS[name]
    assert metric.title in metric.convention
    assert "\n" not in metric.convention
    assert metric.kind == ("quality" if name in ("psnr", "ssim") else "perceptual")
    assert metric.lower_is_better == bool(metric.needs) == (metric.kind == "perceptual")
