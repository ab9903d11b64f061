"""Random numbers that are a pure function of a seed, a stream's name and a counter."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class RandomNumbers:
    """Uniform random numbers; the same seed gives unrelated ones in each ``stream``."""

    def __init__(self, seed: int, stream: str):
        sequence = np.random.SeedSequence(seed, spawn_key=tuple(stream.encode()))
        self._key = sequence.generate_state(2, np.uint64)

    def table(self, iteration: int, rows: int, columns: int) -> NDArray[np.float64]:
        """Return (rows, columns) numbers in [0, 1), multiples of 2^-53."""
        # An iteration owns 2^128 counter values. Raw bits, since numpy guarantees their stability.
        generator = np.random.Philox(key=self._key, counter=[0, 0, iteration, 0])
        bits = generator.random_raw(rows * columns)
        return (bits >> np.uint64(11)).astype(np.float64).reshape(rows, columns) * 2.0**-53


def pick(numbers: NDArray[np.float64], choices: int | NDArray[np.int64]) -> NDArray[np.int64]:
    """Turn numbers in [0, 1) into equally likely integers 0 .. ``choices`` - 1."""
    return (numbers * choices).astype(np.int64)
