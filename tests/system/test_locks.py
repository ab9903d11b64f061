"""Locks between processes."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from bspa.system.locks import exclusive, hold


def test_exclusive_holds_for_everyone_even_when_the_folder_goes(tmp_path: Path) -> None:
    lock = tmp_path / "state" / "lock"
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(20):
            with exclusive(lock):
                inside += 1
                most = max(most, inside)
                time.sleep(0.0005)
                inside -= 1
                shutil.rmtree(lock.parent)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)
    assert most == 1


def test_a_held_lock_names_its_holder_and_goes_with_it(tmp_path: Path) -> None:
    lock = tmp_path / "folder" / "lock"
    code = f"from bspa.system.locks import hold; hold({str(lock)!r}, 'at work'); print('held', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ValueError, match=f"process {holder.pid} on .* is at work"):
            hold(lock, "at work")
        holder.kill()
    hold(lock, "at work")
