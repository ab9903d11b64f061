"""Fetch a large file from the first of its addresses that gives it: mirrors, resuming, size and SHA-256."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import requests
import urllib3

from bspa.system.locks import exclusive
from bspa.system.progress import Progress

log = logging.getLogger("bspa")

BLOCK = 1 << 16
PASSING = {408, 425, 429, 500, 502, 503, 504}
"""HTTP statuses that another attempt may cure."""
BROKEN = (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError)


class DownloadError(OSError):
    """No address gave the file; the message has the reason of each."""


class _UnusableError(Exception):
    """This address does not give the file."""


def fetch(
    urls: Sequence[str],
    target: str | os.PathLike[str],
    *,
    sha256: str | None = None,
    size: int | None = None,
    attempts: int = 5,
    timeout: float = 60.0,
    backoff: float = 2.0,
) -> str:
    """Fetch a file to ``target`` and return its SHA-256.

    Where ``sha256`` is given, a broken download is kept beside ``target`` and continued, by this process or
    the next: the digest tells that the pieces belong together. A ``target`` of this digest is kept, any other
    is replaced.

    Args:
        urls: http, https or file addresses, or paths, of one and the same file; tried in order.
        target: where the file goes, whole or not at all.
        sha256: its digest, hexadecimal; None does not check it.
        size: its bytes; None does not check them.
        attempts: failures in a row, without a new byte, after which the next address is tried.
        timeout: seconds of silence that count as a failure.
        backoff: seconds to wait after the first failure, doubled after each.

    Raises:
        DownloadError: every address failed.
        ValueError: ``urls`` is empty, an address is of another kind, or ``sha256`` is not a digest.
    """
    target = Path(target)
    if not urls:
        raise ValueError("urls is empty; give at least one address")
    if sha256 is not None and not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise ValueError(f"sha256: {sha256!r}; allowed are 64 hexadecimal digits, or null if unknown")
    sources = [(url, _local_path(url)) for url in urls]
    lock = target.with_name(f".{target.name}.lock")
    with exclusive(lock):
        try:
            if sha256 and target.is_file() and _digest(target) == sha256.lower():
                return sha256.lower()
            failures = []
            for url, path in sources:
                # Named by address and digest: what is kept of one is never taken for another.
                name = hashlib.sha256(f"{url} {sha256}".encode()).hexdigest()[:16]
                part = target.with_name(f".{target.name}.{name}.part")
                try:
                    if path is None:
                        _download(url, part, sha256 is not None, size, attempts, timeout, backoff)
                    else:
                        _copy(path, part)
                    digest = _check(part, sha256, size)
                except _UnusableError as error:
                    log.warning("%s: %s", url, error)
                    failures.append(f"{url}: {error}")
                else:
                    _finish(part, target)
                    return digest
        finally:
            lock.unlink(missing_ok=True)
    raise DownloadError("\n  ".join([f"could not fetch {target.name}:", *failures]))


def _finish(part: Path, target: Path) -> None:
    """Give the file its name, and remove what is left of other addresses."""
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    part.replace(target)
    for left in target.parent.glob(f".{target.name}.*.part"):
        left.unlink()


def _local_path(url: str) -> Path | None:
    """Return the path that ``url`` names, or None if it is an address on the network."""
    parts = urlsplit(url)
    if parts.scheme in ("http", "https") and parts.netloc:
        return None
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(url2pathname(parts.path))
    if "://" in url or parts.scheme == "file":
        raise ValueError(f"{url}: not an address; allowed are http://, https://, file:/// and paths")
    return Path(url).expanduser()


def _copy(path: Path, part: Path) -> None:
    if not path.is_file():
        raise _UnusableError("is a folder, not a file" if path.is_dir() else "no such file")
    shutil.copyfile(path, part)


def _download(
    url: str, part: Path, resume: bool, size: int | None, attempts: int, timeout: float, backoff: float
) -> None:
    """Bring ``part`` to its end, by as many requests as it takes."""
    failures = furthest = 0
    while True:
        offset = _length(part) if resume else 0
        if size is not None and offset == size:
            return
        try:
            _request(url, part, offset=offset, size=size, timeout=timeout)
            return
        except BROKEN as error:
            failures = 0 if _length(part) > furthest else failures + 1
            furthest = max(furthest, _length(part))
            if failures >= attempts:
                raise _UnusableError(f"{error} ({attempts} attempts)") from error
            wait = min(backoff * 2 ** max(failures - 1, 0), 60.0)
            log.warning("%s: %s; trying again in %.0f s", url, error, wait)
            time.sleep(wait)
        except requests.RequestException as error:
            raise _UnusableError(str(error)) from error


def _request(url: str, part: Path, *, offset: int, size: int | None, timeout: float) -> None:
    """Append what follows ``offset``, or write the whole file where the server sends it from its start."""
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={offset}-"} if offset else {})
    with requests.get(url, headers=headers, stream=True, timeout=timeout) as answer:
        if answer.status_code == 416:
            part.unlink()
        if answer.status_code in {416} | PASSING:
            raise requests.ConnectionError(f"HTTP {answer.status_code} {answer.reason}")
        answer.raise_for_status()
        if "text/html" in answer.headers.get("Content-Type", ""):
            raise _UnusableError("is a web page (a login, a notice, an error?) in place of the file")
        if answer.status_code == 206 and offset:
            if not answer.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
                part.unlink()
                raise requests.ConnectionError("the server sent another range than was asked for")
        else:
            offset = 0
        rest = answer.headers.get("Content-Length", "")
        total = offset + int(rest) if rest.isdigit() else None
        if size is not None and total not in (None, size):
            raise _UnusableError(f"has {total} bytes, not {size}")
        log.info("%s %s", "resuming" if offset else "downloading", url)
        progress = Progress("MB", (total or 0) // 10**6, start=offset // 10**6) if total else None
        with part.open("ab" if offset else "wb", buffering=0) as file:
            for block in answer.raw.stream(BLOCK, decode_content=False):
                file.write(block)
                if size is not None and file.tell() > size:
                    raise _UnusableError(f"has more than {size} bytes")
                if progress and file.tell() < (total or 0):
                    progress.report(min(file.tell() // 10**6, (total or 0) // 10**6 - 1))
    if not _length(part):
        raise requests.ConnectionError("the answer was empty")


def _check(part: Path, sha256: str | None, size: int | None) -> str:
    """Return the digest of ``part`` if it and the size are right; remove it if not."""
    digest = _digest(part)
    reason = ""
    if size is not None and _length(part) != size:
        reason = f"has {_length(part)} bytes, not {size}"
    elif sha256 is not None and digest != sha256.lower():
        reason = f"has sha256 {digest}, not {sha256.lower()}"
    if reason:
        part.unlink()
        raise _UnusableError(reason)
    return digest


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
