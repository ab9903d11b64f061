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

def count_faults():
    np.ones(48 << 20, np.uint8)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        np.ones(48 << 20, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

given_back = count_faults()
keep_freed_memory()
print(given_back, count_faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps memory on demand")
def test_freed_memory_is_used_again() -> None:
    ran = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    given_back, kept = map(int, ran.stdout.split())
    # 4 times 48 MiB, in pages of 4 KiB, or of 2 MiB where the system likes them.
    assert given_back >= 4 * 24
    assert kept < 8, (kept, given_back)
