"""Fetch a file from the first of its addresses that gives it, and check its size and SHA-256."""

from __future__ import annotations

import hashlib
import logging
import math
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import requests
import urllib3

from bspa.system.files import flush, user_path
from bspa.system.progress import Progress

log = logging.getLogger("bspa")

BLOCK = 1 << 20
TIMEOUT = 60.0  # seconds of silence that count as a failure
ATTEMPTS = 5  # failures in a row, without a new byte, after which the next address is tried
BACKOFF = 2.0  # seconds to wait after the first failure, doubled after each
PASSING = {408, 416, 425, 429, 500, 502, 503, 504}  # HTTP statuses that another attempt may cure
BROKEN = (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError)


def fetch(
    urls: Sequence[str], target: str | os.PathLike[str], *, sha256: str | None, size: int | None = None
) -> str:
    """Fetch a file to ``target``, whole or not at all, and return its SHA-256.

    Args:
        urls: http, https or file addresses, or paths, of one and the same file; tried in order.
        target: where the file goes; one with the digest ``sha256`` is kept.
        sha256: hexadecimal. Where it is given, a broken download is kept beside ``target`` and continued, by
            this process or the next.
        size: in bytes.

    Raises:
        OSError: no address gave the file; the message has the reason of each.
    """
    target = Path(target)
    if sha256 and target.is_file() and _digest(target) == sha256:
        return sha256
    target.parent.mkdir(parents=True, exist_ok=True)
    failures = []
    for url in urls:
        # Named by address and digest: what is kept of one is never taken for another.
        name = hashlib.sha256(f"{url} {sha256}".encode()).hexdigest()[:16]
        part = target.with_name(f".{target.name}.{name}.part")
        try:
            if urlsplit(url).scheme in ("http", "https"):
                _download(url, part, resume=sha256 is not None, size=size)
            else:
                local = url2pathname(urlsplit(url).path) if url.startswith("file:") else url
                shutil.copyfile(user_path(local), part)
            digest = _check(part, sha256, size)
        except (OSError, ValueError, urllib3.exceptions.HTTPError) as error:
            log.warning("%s: %s", url, error)
            failures.append(f"{url}: {error}")
        else:
            flush(part)
            part.replace(target)
            for left in target.parent.glob(f".{target.name}.*.part"):
                left.unlink()
            return digest
    raise OSError("\n  ".join([f"could not fetch {target.name}:", *failures]))


def _download(url: str, part: Path, *, resume: bool, size: int | None) -> None:
    """Bring ``part`` to its end, by as many requests as it takes."""
    failures = furthest = 0
    while True:
        try:
            return _request(url, part, offset=_length(part) if resume else 0, size=size)
        except BROKEN as error:
            failures = 0 if _length(part) > furthest else failures + 1
            furthest = max(furthest, _length(part))
            if failures >= ATTEMPTS:
                raise
            wait = min(BACKOFF * 2 ** max(failures - 1, 0), 60.0)
            log.warning("%s: %s; trying again in %.0f s", url, error, wait)
            time.sleep(wait)


def _request(url: str, part: Path, *, offset: int, size: int | None) -> None:
    """Append what follows ``offset`` to ``part``, or write all of the file where the server sends all."""
    if offset == size:
        return
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={offset}-"} if offset else {})
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
        if answer.status_code == 416:
            part.unlink(missing_ok=True)
        if answer.status_code in PASSING:
            raise requests.ConnectionError(f"HTTP {answer.status_code} {answer.reason}")
        answer.raise_for_status()
        if "text/html" in answer.headers.get("Content-Type", ""):
            raise ValueError("is a web page (a login, a notice, an error?) in place of the file")
        if answer.status_code != 206:
            offset = 0
        total = offset + int(answer.headers.get("Content-Length", 0))
        if size is not None and total not in (offset, size):
            raise ValueError(f"has {total} bytes, not {size}")
        log.info("%s %s", "resuming" if offset else "downloading", url)
        progress = Progress("MiB", math.ceil(total / BLOCK), start=offset // BLOCK)
        with part.open("ab" if offset else "wb") as file:
            for block in answer.raw.stream(BLOCK, decode_content=False):
                file.write(block)
                if total > offset:  # the server told the length
                    progress.report(math.ceil(file.tell() / BLOCK))


def _check(part: Path, sha256: str | None, size: int | None) -> str:
    """Return the digest of ``part`` if it and the size are right; remove the file if not."""
    digest, length = _digest(part), _length(part)
    if size in (None, length) and sha256 in (None, digest):
        return digest
    part.unlink()
    raise ValueError(f"has {length} bytes and sha256 {digest}, not {size or 'any'} and {sha256 or 'any'}")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
