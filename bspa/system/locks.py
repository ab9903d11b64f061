"""One process at a time: what a killed workflow left running must not write beside its successor."""

from __future__ import annotations

import fcntl
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger("bspa")


@contextmanager
def exclusive(path: str | os.PathLike[str]) -> Iterator[None]:
    """Hold the lock file ``path``, waiting for the process that has it; the file is removed afterwards.

    Killing Snakemake leaves its scripts running; the next run's script waits here until they are done. The
    system frees the lock of a process that dies, so a lock file that was left behind does not matter. The
    block may remove the folder that the lock file is in.
    """
    path = Path(path)
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:
            continue  # the last holder has just removed the folder
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(handle, 200, 0).decode() or "another process"
                log.warning("waiting: %s is working on this (%s)", holder, path)
                fcntl.flock(handle, fcntl.LOCK_EX)
            if not _is_at(handle, path):
                continue  # the holder we waited for has removed the file: take the new one
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
            try:
                yield
            finally:
                if _is_at(handle, path):  # else the block removed it, and another process has made its own
                    path.unlink()
            return
        finally:
            os.close(handle)


def hold(path: str | os.PathLike[str], what: str) -> None:
    """Hold the lock file ``path`` until this process ends, however it ends.

    Raises:
        ValueError: another process holds it; the message calls what it does ``what``.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(handle, 200, 0).decode() or "another process"
        os.close(handle)
        raise ValueError(f"{holder} is {what} ({path}); wait for it, or stop it") from None
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
