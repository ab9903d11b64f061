"""Fetch one large file: mirrors, resuming, digest. Standard library only.

What arrives is kept in a ``.part`` file for each address, beside a ``.json`` file of what the server said of
it, so that a later request, of this process or of the next, asks for the rest alone (RFC 9110, sections
13.1.5 and 14). The file gets its name when it is whole and its size and SHA-256 are right.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import logging
import os
import re
import shutil
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email.message import Message
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bspa.system.files import write_text
from bspa.system.locks import exclusive

log = logging.getLogger("bspa")

BLOCK = 1 << 18
REPORT_EVERY = 10.0
PASSING = {408, 425, 429, 500, 502, 503, 504}
"""HTTP statuses that another attempt may cure."""


class DownloadError(OSError):
    """No address gave the file; the message lists what each one did."""


class _UnusableError(Exception):
    """This address will not give the file."""


class _WrongFileError(Exception):
    """The address gave another file than the wanted one."""


class _InterruptedError(Exception):
    """Something that another attempt may cure, after ``wait`` seconds if the server said so."""

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


def fetch(
    urls: Sequence[str],
    target: str | os.PathLike[str],
    *,
    sha256: str | None,
    size: int | None,
    state: str | os.PathLike[str],
    attempts: int = 5,
    timeout: float = 60.0,
    backoff: float = 2.0,
    longest_wait: float = 120.0,
) -> str:
    """Download the first of ``urls`` that gives the wanted file to ``target``; return its SHA-256.

    ``urls`` are http, https or file addresses or plain paths of one and the same file, tried in order.
    ``sha256`` (hexadecimal) and ``size`` (bytes) are checked unless None. ``state`` is a folder, on the file
    system of ``target``, for the partial files. A ``target`` that is there already is checked and kept.

    An address is left for the next one after ``attempts`` failures in a row that brought no new bytes, each
    up to ``timeout`` seconds of silence; the wait between them starts at ``backoff`` seconds and doubles, or
    is what the server asks for, up to ``longest_wait`` seconds. A missing file, a page in place of the file,
    a wrong size or digest: the next address at once.

    Raises `DownloadError` if every address failed, `ValueError` for a bad argument or another file at
    ``target``.
    """
    if not urls:
        raise ValueError("no address to download from: give at least one in `urls`")
    if sha256 is not None and not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise ValueError(
            f"sha256: {sha256!r} is not a SHA-256: 64 hexadecimal digits, or null if it is not known"
        )
    sources = [(url, _local_path(url)) for url in urls]
    target, state = Path(target), Path(state)
    state.mkdir(parents=True, exist_ok=True)
    with exclusive(state / "download.lock"):
        if target.exists():
            try:
                return _verify(target, sha256, size)
            except _WrongFileError as error:
                raise ValueError(
                    f"{target} {error}: delete it to download again, or mend `sha256` and `size`"
                ) from error
        failures = []
        for url, path in sources:
            part = _Part(state, url)
            try:
                if path is None:
                    digest = _download(
                        url,
                        part,
                        sha256=sha256,
                        size=size,
                        attempts=attempts,
                        timeout=timeout,
                        backoff=backoff,
                        longest_wait=longest_wait,
                    )
                else:
                    digest = _copy(path, part, sha256=sha256, size=size)
            except _UnusableError as error:
                log.warning("%s: %s", url, error)
                failures.append(f"  {url}: {error}")
                continue
            with part.path.open("rb+") as file:
                os.fsync(file.fileno())
            target.parent.mkdir(parents=True, exist_ok=True)
            part.path.replace(target)
            for other, _ in sources:
                _Part(state, other).discard()
            return digest
    raise DownloadError(
        "\n".join(
            [
                f"could not download {target.name}:",
                *failures,
                f"To supply it by hand, put the file at {target}, or its path first into `urls`; "
                "or unpack it yourself and use a source of kind `folder`.",
            ]
        )
    )


@dataclass(frozen=True, slots=True)
class _Notes:
    """What the server said of the file that a partial download is the beginning of."""

    etag: str | None
    last_modified: str | None
    total: int | None

    @classmethod
    def of(cls, headers: Message, total: int | None) -> _Notes:
        return cls(headers["ETag"], headers["Last-Modified"], total)

    @property
    def validator(self) -> str | None:
        """What identifies the file in If-Range; a weak ETag may not (RFC 9110, section 13.1.5)."""
        if self.etag and not self.etag.startswith("W/"):
            return self.etag
        return self.last_modified

    def contradicts(self, other: _Notes) -> bool:
        pairs = zip(asdict(self).values(), asdict(other).values(), strict=True)
        return any(a is not None and b is not None and a != b for a, b in pairs)


class _Part:
    """The partial download of one address."""

    def __init__(self, folder: Path, url: str) -> None:
        self.path = folder / f"{hashlib.sha256(url.encode()).hexdigest()[:16]}.part"
        self._notes = self.path.with_suffix(".json")

    @property
    def length(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def notes(self) -> _Notes | None:
        return _Notes(**json.loads(self._notes.read_text("utf-8"))) if self._notes.exists() else None

    @notes.setter
    def notes(self, notes: _Notes) -> None:
        write_text(self._notes, json.dumps(asdict(notes)))

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self._notes.unlink(missing_ok=True)


def _local_path(url: str) -> Path | None:
    """Return the path that ``url`` names, or None if it is to be asked over the network."""
    parts = urlsplit(url)
    if parts.scheme in ("http", "https") and parts.netloc:
        return None
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(urllib.request.url2pathname(parts.path))
    if "://" in url or parts.scheme == "file":
        raise ValueError(f"{url}: not an address to download from: http://, https://, file:/// or a path")
    return Path(url).expanduser()


def _copy(path: Path, part: _Part, *, sha256: str | None, size: int | None) -> str:
    if not path.is_file():
        raise _UnusableError("is a folder, not a file" if path.is_dir() else "no such file")
    log.info("copying %s", path)
    shutil.copyfile(path, part.path)
    try:
        return _verify(part.path, sha256, size)
    except _WrongFileError as error:
        part.discard()
        raise _UnusableError(str(error)) from error


def _download(
    url: str,
    part: _Part,
    *,
    sha256: str | None,
    size: int | None,
    attempts: int,
    timeout: float,
    backoff: float,
    longest_wait: float,
) -> str:
    failures = furthest = 0
    restarted = False
    while True:
        resumed = part.length > 0
        try:
            _receive(url, part, size=size, pinned=sha256 is not None, timeout=timeout)
            return _verify(part.path, sha256, size)
        except _WrongFileError as error:
            part.discard()
            if restarted or not resumed:
                raise _UnusableError(str(error)) from error
            # It may have been joined from two versions of the file.
            restarted = True
            log.warning("%s: %s; downloading it again from the start", url, error)
        except _InterruptedError as error:
            failures = 0 if part.length > furthest else failures + 1
            furthest = max(furthest, part.length)
            if failures >= attempts:
                raise _UnusableError(f"{error} ({attempts} attempts)") from error
            wait = backoff * 2 ** max(failures - 1, 0) if error.wait is None else error.wait
            wait = min(wait, longest_wait)
            log.warning("%s: %s; trying again in %.0f s", url, error, wait)
            time.sleep(wait)


def _receive(url: str, part: _Part, *, size: int | None, pinned: bool, timeout: float) -> None:
    """Bring ``part`` to its end by one request: the rest of it if that can be told to fit, else all of it."""
    notes = part.notes
    offset = part.length if notes and (notes.validator or pinned) else 0
    if notes and offset and offset == notes.total:
        return
    headers = {"User-Agent": "bspa (Python urllib)", "Accept-Encoding": "identity"}
    if notes and offset:
        headers["Range"] = f"bytes={offset}-"
        if notes.validator:
            headers["If-Range"] = notes.validator
    with _open(urllib.request.Request(url, headers=headers), part, timeout) as response:
        if response.status == 206 and notes:
            total = _check_continues(response.headers, offset, notes, part)
        else:
            offset = 0
            total = _whole_number(response.headers["Content-Length"])
            notes = _Notes.of(response.headers, total)
        if total == 0:
            raise _InterruptedError("the answer was empty")
        if size is not None and total is not None and total != size:
            raise _WrongFileError(f"has {total} bytes, not {size}")
        needed = (total or 0) - offset
        if needed > shutil.disk_usage(part.path.parent).free + (part.length - offset):
            raise OSError(f"no room in {part.path.parent}: {_readable(needed)} to download from {url}")
        log.info(
            "%s %s%s", "resuming" if offset else "downloading", url, f", {_readable(total)}" if total else ""
        )
        meter = _Meter(url, offset, total)
        # Unbuffered, so that a process that is killed leaves what it had.
        with part.path.open("ab" if offset else "wb", buffering=0) as file:
            if not offset:
                part.notes = notes
            length = offset
            while total is None or length < total:
                block = _read(response, BLOCK if total is None else min(BLOCK, total - length))
                if not block:
                    break
                if not length:
                    _refuse_page(block, response.headers)
                file.write(block)
                length += len(block)
                meter.report(length)
                if size is not None and length > size:
                    raise _WrongFileError(f"has more than {size} bytes")
    if length == 0:
        raise _InterruptedError("the answer was empty")
    if total is not None and length < total:
        raise _InterruptedError(f"the connection broke after {length} of {total} bytes")


def _open(request: urllib.request.Request, part: _Part, timeout: float) -> Any:
    try:
        return urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        with error:
            message = f"HTTP {error.code} {error.reason}"
            if error.code == 416:
                part.discard()
                raise _InterruptedError("the file is shorter than what was already there of it") from error
            if error.code in PASSING:
                raise _InterruptedError(message, _retry_after(error.headers)) from error
            raise _UnusableError(message) from error
    except (OSError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        message = str(reason) or type(reason).__name__
        unknown_host = isinstance(reason, socket.gaierror) and reason.errno == socket.EAI_NONAME
        if unknown_host or isinstance(reason, ssl.SSLCertVerificationError):
            raise _UnusableError(message) from error
        raise _InterruptedError(message) from error


def _read(response: Any, amount: int) -> bytes:
    try:
        return response.read1(amount)
    except (OSError, http.client.HTTPException) as error:
        raise _InterruptedError(f"the connection broke: {error}") from error


def _check_continues(headers: Message, offset: int, notes: _Notes, part: _Part) -> int | None:
    """Return the file's length, from a 206 answer that continues ``part`` at ``offset``."""
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers["Content-Range"] or "")
    total = _whole_number(match[2]) if match else None
    if not match or int(match[1]) != offset:
        part.discard()
        raise _InterruptedError(f"asked for bytes {offset} on, the server sent {headers['Content-Range']!r}")
    if _Notes.of(headers, total).contradicts(notes):
        part.discard()
        raise _InterruptedError("the file changed on the server")
    return total if total is not None else notes.total


def _refuse_page(start: bytes, headers: Message) -> None:
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    page = text.startswith((b"<!doctype html", b"<html"))
    if page or (headers.get_content_type() == "text/html" and text.startswith(b"<")):
        raise _WrongFileError("is a web page (a login, a notice, an error?) in place of the file")


def _verify(path: Path, sha256: str | None, size: int | None) -> str:
    """Return the SHA-256 of the file at ``path`` if its size and digest are the wanted ones."""
    length = path.stat().st_size
    if length == 0:
        raise _WrongFileError("is empty")
    if size is not None and length != size:
        raise _WrongFileError(f"has {length} bytes, not {size}")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 is not None and digest != sha256.lower():
        raise _WrongFileError(f"has sha256 {digest}, not {sha256.lower()}")
    return digest


class _Meter:
    """Logs how far a download has come, every `REPORT_EVERY` seconds."""

    def __init__(self, url: str, offset: int, total: int | None) -> None:
        self._name = Path(urlsplit(url).path).name or url
        self._offset, self._total = offset, total
        self._start = self._last = time.monotonic()

    def report(self, length: int) -> None:
        now = time.monotonic()
        if now - self._last < REPORT_EVERY:
            return
        self._last = now
        rate = (length - self._offset) / (now - self._start)
        message = f"{self._name}: {_readable(length)}"
        if self._total is not None:
            left = (self._total - length) / rate if rate else float("inf")
            message += f" of {_readable(self._total)}, {left / 60:.1f} min left"
        log.info("%s, %s/s", message, _readable(rate))


def _readable(amount: float) -> str:
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.3g} {unit}"
        amount /= 1000
    return f"{amount:.2f} GB"


def _whole_number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() else None


def _retry_after(headers: Message) -> float | None:
    """Seconds that the server asks to wait: a number or a date (RFC 9110, section 10.2.3)."""
    text = headers["Retry-After"]
    if not text:
        return None
    if (seconds := _whole_number(text.strip())) is not None:
        return float(seconds)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max((moment - datetime.now(UTC)).total_seconds(), 0.0)
