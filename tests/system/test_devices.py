"""Freed memory that is kept: no page is asked for twice."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource
import numpy as np
from bspa.system.devices import keep_freed_memory

if {keep}:
    assert keep_freed_memory()

def fill():
    np.ones(64 << 20, np.uint8)

fill()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(8):
    fill()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(*, keep: bool) -> int:
    ran = subprocess.run(
        [sys.executable, "-c", FAULTS.format(keep=keep)], capture_output=True, text=True, check=True
    )
    return int(ran.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps memory on demand")
def test_freed_memory_is_used_again() -> None:
    kept, given_back = faults(keep=True), faults(keep=False)
    # 8 times 64 MiB, in pages of 4 KiB, or of 2 MiB where the system likes them.
    assert given_back >= 8 * 32
    assert kept < 8, (kept, given_back)
