"""A pristine model of NIQE for tests that need none of real photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def model_arrays() -> dict[str, np.ndarray]:
    """Return arrays like the released ones: a positive definite covariance, the same window."""
    rng = np.random.default_rng(36)
    root = rng.normal(size=(36, 36)) / 6
    offsets = np.arange(-3, 4)
    bell = np.exp(-(offsets**2) / (2 * (7 / 6) ** 2))
    return {
        "mu_pris_param": rng.uniform(0.2, 3, (1, 36)),
        "cov_pris_param": root @ root.T + 0.01 * np.eye(36),
        "gaussian_window": np.outer(bell, bell) / bell.sum() ** 2,
    }


def write_model(path: Path, **changed: np.ndarray | None) -> Path:
    """Write the arrays to ``path``, with some changed, or left out where None is given."""
    arrays = {**model_arrays(), **changed}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path
