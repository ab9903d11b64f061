"""Unpack an archive from the internet: zip, or tar, plain or compressed by gzip, bzip2 or xz."""

from __future__ import annotations

import gzip
import logging
import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import IO

from bspa.system.files import atomic_folder

log = logging.getLogger("bspa")

BLOCK = 1 << 20
DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, EOFError)
Member = tuple[str, Callable[[], IO[bytes]]]
"""Name of a plain file, and how to open it."""


def unpack(
    archive: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    only: Sequence[str] | None = None,
    max_bytes: int = 40 << 30,
    max_files: int = 200_000,
) -> int:
    """Unpack ``archive`` to ``folder``, whole or not at all; return the number of files.

    The resource forks that macOS adds (``__MACOSX/``, ``._name``) are left out.

    Args:
        archive: file to unpack.
        folder: new folder; replaces one that is there.
        only: patterns of member names (`*` matches slashes too); None takes all.
        max_bytes: most bytes in all, counted while they are decompressed.
        max_files: most files in the archive.

    Raises:
        ValueError: naming the member that leads out of the folder, is a link, a device or encrypted, occurs
            twice, or exceeds a limit; or the archive is damaged, of another format, or nothing in it matches
            a pattern.
    """
    archive, unmatched = Path(archive), set(only or ())
    written = files = 0
    with atomic_folder(folder) as new, _members(archive, new) as members:
        try:
            for number, (name, open_member) in enumerate(members, start=1):
                if number > max_files:
                    raise ValueError(f"{archive}: more than {max_files} files, at {name!r}")
                matching = {pattern for pattern in only or ("*",) if fnmatchcase(name, pattern)}
                unmatched -= matching
                if not matching or name.startswith("__MACOSX/") or Path(name).name.startswith("._"):
                    continue
                path = new / name
                path.parent.mkdir(parents=True, exist_ok=True)
                with open_member() as source, path.open("xb") as file:
                    while block := source.read(BLOCK):
                        written += len(block)
                        if written > max_bytes:
                            raise ValueError(f"{archive}: more than {max_bytes} bytes, at {name!r}")
                        file.write(block)
                files += 1
        except (FileExistsError, NotADirectoryError) as error:
            raise ValueError(f"{archive}: two files of one name, {name!r}") from error
        except (NotImplementedError, RuntimeError) as error:  # unknown compression, encryption
            raise ValueError(f"{archive}: {name!r}: {error}") from error
        except DAMAGE as error:
            raise ValueError(
                f"{archive}: damaged, or not allowed: {error or type(error).__name__}"
            ) from error
        if unmatched:
            raise ValueError(
                f"{archive}: no file matches {', '.join(map(repr, sorted(unmatched)))} of `only`"
            )
        if not files:
            raise ValueError(f"{archive}: no file in it")
    log.info("unpacked %d files, %.1f MB, to %s", files, written / 1e6, folder)
    return files


@contextmanager
def _members(archive: Path, folder: Path) -> Iterator[Iterator[Member]]:
    """Open ``archive`` by its content and give its plain files."""
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened:
                yield _zip_members(archive, opened)
        else:
            with tarfile.open(archive, "r|*") as stream:
                yield _tar_members(archive, stream, folder)
    except (tarfile.ReadError, zipfile.BadZipFile) as error:
        raise ValueError(f"{archive}: not a zip or tar archive, or damaged ({error})") from error


def _zip_members(archive: Path, opened: zipfile.ZipFile) -> Iterator[Member]:
    for info in opened.infolist():
        name = _safe_name(archive, info.filename)
        if not info.is_dir():
            if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
                raise ValueError(f"{archive}: {name!r} is a link or a device, not a plain file")
            yield name, partial(opened.open, info)


def _tar_members(archive: Path, stream: tarfile.TarFile, folder: Path) -> Iterator[Member]:
    for info in stream:
        name = _safe_name(archive, info.name)
        if not info.isdir():
            if not info.isreg() or info.issparse():
                raise ValueError(f"{archive}: {name!r} is a link or a device, not a plain file")
            yield name, partial(stream.extractfile, tarfile.data_filter(info, str(folder)))  # type: ignore[misc]


def _safe_name(archive: Path, name: str) -> str:
    """Return the name of a member that stays in the folder."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or "\\" in name or not name.isprintable():
        raise ValueError(
            f"{archive}: {name!r} leads out of the folder, or is not a file name on every system"
        )
    return "/".join(parts)
