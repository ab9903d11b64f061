"""Locks between processes."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path

from bspa.locks import exclusive


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
