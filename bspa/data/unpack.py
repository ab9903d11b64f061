"""Unpack an archive from the internet: zip, or tar, plain or compressed by gzip, bzip2 or xz."""

from __future__ import annotations

import logging
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

from bspa.system.files import atomic_folder

log = logging.getLogger("bspa")

DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, RuntimeError)
"""RuntimeError is that of `zipfile` for a password, and for a compression that it does not know."""


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
        max_bytes, max_members: the most that the archive may hold.

    Raises:
        ValueError: the archive exceeds a limit, is damaged or of another format, holds links, devices or
            names that lead out of the folder, or nothing in it matches a pattern.
    """
    total = unpacked = 0
    unmatched = set(only or ())
    with atomic_folder(folder) as new:
        try:
            for number, (name, size, extract) in enumerate(_members(archive, new), start=1):
                total += size
                if number > max_members or total > max_bytes:
                    limits = f"{max_bytes} bytes or {max_members} members"
                    raise ValueError(f"{archive}: more than {limits}, at {name!r}")
                matching = {pattern for pattern in only or ("*",) if fnmatchcase(name, pattern)}
                unmatched -= matching
                if matching:
                    extract()
                    unpacked += 1
        except DAMAGE as error:
            what = "damaged, not a zip or tar archive, or not allowed"
            raise ValueError(f"{archive}: {what}: {error or type(error).__name__}") from error
        if unmatched:
            raise ValueError(f"{archive}: no member matches {sorted(unmatched)} of `only`")
    log.info("unpacked %d files and folders to %s", unpacked, folder)
    return unpacked


def _members(
    archive: str | os.PathLike[str], folder: Path
) -> Iterator[tuple[str, int, Callable[[], object]]]:
    """Yield the name and the size of each member, and how to unpack it to ``folder``."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:  # which keeps names inside the folder, and makes no links
            for info in opened.infolist():
                yield info.filename.removeprefix("./"), info.file_size, partial(opened.extract, info, folder)
    else:
        with tarfile.open(archive, "r|*") as stream:
            for member in stream:
                if member.issym() or member.islnk():
                    raise ValueError(f"{archive}: {member.name!r} is a link, not a plain file")
                extract = partial(stream.extract, member, folder, filter="data")
                yield member.name.removeprefix("./"), member.size, extract
