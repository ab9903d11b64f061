"""Locks between processes."""

from __future__ import annotations

import errno
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from filelock import FileLock

from bspa.system.files import remove_folder
from bspa.system.locks import exclusive, hold, try_hold

HOLDER = """
import sys
from bspa.system.locks import hold
hold(sys.argv[1], "at work")
print("held", flush=True)
input()
"""


def test_one_holder_at_a_time_even_when_the_folder_goes(tmp_path: Path) -> None:
    lock = tmp_path / "state" / "lock"
    inside, most, finished = 0, 0, 0

    def work() -> None:
        nonlocal inside, most, finished
        for _ in range(10):
            with exclusive(lock):
                inside += 1
                most = max(most, inside)
                time.sleep(0.0005)
                inside -= 1
                remove_folder(lock.parent)
                finished += 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, finished) == (1, 40)


def test_a_held_lock_names_its_holder_and_goes_with_it(tmp_path: Path) -> None:
    lock = tmp_path / "folder" / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert not try_hold(lock)
        with pytest.raises(ValueError, match=f"process {holder.pid} on .* is at work"):
            hold(lock, "at work")
        holder.kill()
    hold(lock, "at work")


@pytest.mark.parametrize("error", [errno.ENOLCK, errno.ENOSYS])
def test_without_locks_the_job_goes_on_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: int
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(error, "no locks")

    monkeypatch.setattr(FileLock, "acquire", refuse)
    with exclusive(tmp_path / "lock"):
        assert str(tmp_path / "lock") in caplog.text
    hold(tmp_path / "lock", "at work")


def test_a_file_in_place_of_the_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    with pytest.raises(FileExistsError), exclusive(tmp_path / "state" / "lock"):
        pass
