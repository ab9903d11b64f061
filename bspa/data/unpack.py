"""Unpack an archive from the internet: zip, or tar, plain or compressed by gzip, bzip2 or xz."""

from __future__ import annotations

import bz2
import contextlib
import errno
import gzip
import logging
import lzma
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import IO, Any

from bspa.system.files import atomic_folder

log = logging.getLogger("bspa")

DAMAGE = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, RuntimeError, struct.error,
    UnicodeError, OverflowError,
)  # fmt: skip
"""RuntimeError is that of `zipfile` for a password, and for a compression that it does not know. A place
outside the file is an OSError, EINVAL."""


_HEADERS = 4 << 20  # bytes of a member's headers
_BLOCKS = 1024  # a plain header, and the rest of the last block
_BUFFERS = 64 << 10  # what is read ahead


def unpack(
    archive: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    only: Sequence[str] | None = None,
    max_bytes: int = 40 << 30,
    max_members: int = 200_000,
) -> int:
    """Unpack ``archive`` to ``folder``, whole or not at all; return the number of members unpacked.

    Args:
        archive: file to unpack.
        folder: new folder; replaces one that is there.
        only: patterns of member names (`*` matches slashes too); None takes all.
        max_bytes, max_members: the most that the archive may hold; members that no pattern matches, and
            headers, count too.

    Raises:
        ValueError: the archive exceeds a limit, is damaged or of another format, holds links, devices or
            names that lead out of the folder, or nothing in it matches a pattern.
    """
    total = unpacked = 0
    unmatched = set(only or ())
    with atomic_folder(folder) as new:
        try:
            for number, (name, size, extract) in enumerate(_members(archive, new, max_bytes), start=1):
                total += size
                if number > max_members or total > max_bytes:
                    limits = f"{max_bytes} bytes or {max_members} members"
                    raise ValueError(f"{archive}: more than {limits}, at {name!r}")
                matching = {pattern for pattern in only or ("*",) if fnmatchcase(name, pattern)}
                unmatched -= matching
                if matching:
                    extract()
                    unpacked += 1
        except (*DAMAGE, OSError) as error:
            if isinstance(error, OSError) and error.errno != errno.EINVAL:  # of the disk, not of the content
                raise
            what = "damaged, not a zip or tar archive, or not allowed"
            raise ValueError(f"{archive}: {what}: {error or type(error).__name__}") from error
        if unmatched:
            raise ValueError(f"{archive}: no member matches {sorted(unmatched)} of `only`")
    log.info("unpacked %d files and folders to %s", unpacked, folder)
    return unpacked


def _members(
    archive: str | os.PathLike[str], folder: Path, max_bytes: int
) -> Iterator[tuple[str, int, Callable[[], object]]]:
    """Yield the name and the size of each member, and how to unpack it to ``folder``."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:  # which keeps names inside the folder, and makes no links
            for info in opened.infolist():
                if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    # zipfile decompresses 4 kB of these at once, which may be gigabytes.
                    raise ValueError(
                        f"{archive}: {info.filename!r} is compressed by neither deflate nor nothing"
                    )
                yield info.filename.removeprefix("./"), info.file_size, partial(opened.extract, info, folder)
    else:
        bounded = _Bounded(_open_tar(archive), max_bytes)
        content: Any = bounded  # tarfile asks for no more than `read`
        with contextlib.closing(bounded), tarfile.open(fileobj=content, mode="r|") as stream:
            for member in stream:
                if member.issym() or member.islnk():
                    raise ValueError(f"{archive}: {member.name!r} is a link, not a plain file")
                bounded.expect(member.size)
                extract = partial(stream.extract, member, folder, filter="data")
                yield member.name.removeprefix("./"), member.size, extract


def _open_tar(archive: str | os.PathLike[str]) -> IO[bytes]:
    """Open a tar archive, to be decompressed piece by piece: `tarfile` keeps all that 10 kB expand to."""
    with Path(archive).open("rb") as file:
        start = file.read(6)
    kinds: dict[bytes, Any] = {
        b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open, b"]\0\0": lzma.open,
    }  # fmt: skip
    opener = next((opener for mark, opener in kinds.items() if start.startswith(mark)), open)
    opened: IO[bytes] = opener(archive, "rb")
    return opened


class _Bounded:
    """A tar archive's content, of which no more is read than its members are said to hold, and their headers.

    `tarfile` reads a header of any length into memory.
    """

    def __init__(self, content: IO[bytes], most: int):
        self._content = content
        self._most = most  # bytes of all members and headers
        self._plain = _BUFFERS  # bytes of plain headers, and what is read ahead, which do not count
        self._read = 0
        self._allowed = _HEADERS

    def expect(self, size: int) -> None:
        """Allow a member of ``size`` bytes, and the headers of the next."""
        self._plain += _BLOCKS
        self._allowed = self._read + size + _BLOCKS + _HEADERS

    def read(self, size: int) -> bytes:
        try:
            data = self._content.read(size)
        except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
            raise tarfile.ReadError(str(error)) from error
        self._read += len(data)
        if self._read > min(self._allowed, self._most + self._plain):
            raise tarfile.ReadError(f"more than {self._most} bytes, or headers of more than {_HEADERS}")
        return data

    def close(self) -> None:
        self._content.close()
