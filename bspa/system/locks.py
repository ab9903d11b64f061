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

from bspa.system.files import FULL

log = logging.getLogger("bspa")

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What file systems without locks answer: some NFS and FUSE mounts."""

# A lock lasts as long as its object: until the process ends, however it ends.
_held: list[FileLock] = []


@contextmanager
def exclusive(path: str | os.PathLike[str]) -> Iterator[None]:
    """Hold the lock file ``path`` during the block, which may remove its folder; wait for who has it.

    The system frees the lock of a process that dies, so a lock file left behind does not matter. Without
    locks in the file system, the block runs with a warning.
    """
    lock = _acquire(Path(path), blocking=False)
    if lock is None:
        log.warning("waiting: %s is working on this (%s)", _holder(Path(path)), path)
        lock = _acquire(Path(path), blocking=True)
    assert lock is not None
    try:
        yield
    finally:
        lock.release()


def try_hold(path: str | os.PathLike[str]) -> bool:
    """Hold the lock file ``path`` until this process ends; return False if another process holds it."""
    lock = _acquire(Path(path), blocking=False)
    if lock is not None:
        _held.append(lock)
    return lock is not None


def hold(path: str | os.PathLike[str], what: str) -> None:
    """Hold the lock file ``path`` until this process ends; a ValueError says who is ``what`` already."""
    if not try_hold(path):
        raise ValueError(f"{_holder(Path(path))} is {what} ({path}); wait for it, or stop it")


def _acquire(path: Path, *, blocking: bool) -> FileLock | None:
    """Take the lock, or return None if it is taken and ``blocking`` is not set."""
    lock = FileLock(path, thread_local=False, fallback_to_soft=False)
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(blocking=blocking)
            try:
                path.write_text(f"process {os.getpid()} on {socket.gethostname()}")
            except OSError as error:
                if error.errno not in FULL:  # a full disk holds the lock, if not its holder's name
                    raise
            return lock
        except Timeout:
            return None
        except (FileNotFoundError, FileExistsError):
            if path.parent.exists() and not path.parent.is_dir():
                raise
            # The last holder has just removed the folder.
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            log.warning("no lock on %s (%s): do not start two runs at a time", path, error.strerror)
            return lock


def _holder(path: Path) -> str:
    try:
        return path.read_text() or "another process"
    except OSError:
        return "another process"
