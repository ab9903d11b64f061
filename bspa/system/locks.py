"""One process at a time: a job that a killed workflow left running must not write beside its successor."""

from __future__ import annotations

import errno
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

log = logging.getLogger("bspa")

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What file systems without locks answer: some NFS and FUSE mounts."""

# A lock lasts as long as its object: until the process ends, however it ends.
_held: list[FileLock] = []


@contextmanager
def exclusive(path: str | os.PathLike[str]) -> Iterator[None]:
    """Hold the lock file ``path`` during the block; wait for the process that has it.

    The system frees the lock of a process that dies, so a lock file left behind does not matter. The block
    may remove the folder of the lock file. Without locks in the file system, the block runs with a warning.
    """
    path = Path(path)
    lock = FileLock(path, thread_local=False, fallback_to_soft=False)
    if not _acquire(lock, path, blocking=False):
        log.warning("waiting: %s is working on this (%s)", _holder(path), path)
        _acquire(lock, path, blocking=True)
    try:
        yield
    finally:
        lock.release()


def try_hold(path: str | os.PathLike[str]) -> bool:
    """Hold the lock file ``path`` until this process ends; return False if another process holds it."""
    path = Path(path)
    lock = FileLock(path, thread_local=False, fallback_to_soft=False)
    if not _acquire(lock, path, blocking=False):
        return False
    _held.append(lock)
    return True


def hold(path: str | os.PathLike[str], what: str) -> None:
    """Hold the lock file ``path`` until this process ends, however it ends.

    Raises:
        ValueError: another process holds it; the message calls what it does ``what``.
    """
    if not try_hold(path):
        raise ValueError(f"{_holder(Path(path))} is {what} ({path}); wait for it, or stop it")


def _acquire(lock: FileLock, path: Path, *, blocking: bool) -> bool:
    """Take the lock, or return False if it is taken and ``blocking`` is not set."""
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(blocking=blocking)
            path.write_text(f"process {os.getpid()} on {socket.gethostname()}")
            return True
        except Timeout:
            return False
        except (FileNotFoundError, FileExistsError):
            if path.parent.exists() and not path.parent.is_dir():
                raise
            # The last holder has just removed the folder.
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            log.warning("no lock on %s (%s): do not start two runs at a time", path, error.strerror)
            return True


def _holder(path: Path) -> str:
    try:
        return path.read_text() or "another process"
    except OSError:
        return "another process"
