"""Unpack an archive that nobody has to trust: zip, or tar plain or compressed by gzip, bzip2 or xz."""

from __future__ import annotations

import gzip
import logging
import lzma
import os
import shutil
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO

log = logging.getLogger("bspa")

BLOCK = 1 << 20
MAX_BYTES = 40 << 30
MAX_FILES = 200_000
MAX_RATIO = 200
RATIO_FLOOR = 64 << 20
"""Unpacked bytes up to which the ratio does not matter: a small archive may well be of flat drawings."""

DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    gzip.BadGzipFile,
    EOFError,
    NotImplementedError,
)


def unpack(
    archive: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    only: Sequence[str] | None = None,
    max_bytes: int = MAX_BYTES,
    max_files: int = MAX_FILES,
    max_ratio: float = MAX_RATIO,
) -> int:
    """Unpack ``archive`` to the new ``folder``, whole or not at all; return the number of files.

    ``only``: patterns of member names (`*` matches slashes too); None for all. At most ``max_bytes`` and
    ``max_files`` are written, and above 64 MiB at most ``max_ratio`` times the archive's size, counted while
    writing, whatever the archive declares. Files get the user's default permissions. The resource forks that
    macOS adds (``__MACOSX/``, ``._name``) are left out: their names end like the photographs'.

    Raises `ValueError`, naming the member, for anything but plain files and folders inside ``folder``:
    absolute paths, ``..``, links, devices, encrypted members, two members of one name (or that differ in case
    or Unicode form alone, since file systems disagree on these); for an archive that is damaged, too large or
    of another format; and for a pattern that matches nothing.

    One process at a time may unpack to one ``folder``.
    """
    archive, folder = Path(archive), Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} is already there: remove it to unpack {archive} to it")
    temporary = folder.with_name(f".{folder.name}.unpacking")
    if temporary.exists():
        shutil.rmtree(temporary)  # of a process that was killed
    temporary.mkdir(parents=True)
    ratio_limit = max(int(max_ratio * archive.stat().st_size), RATIO_FLOOR)
    writer = _Writer(archive, temporary, max_bytes=min(max_bytes, ratio_limit), max_files=max_files)
    wanted = _Selection(only)
    try:
        with _reader(archive, wanted) as members:
            for member in members:
                writer.write(member)
        if wanted.unmatched:
            patterns = ", ".join(map(repr, sorted(wanted.unmatched)))
            raise ValueError(f"{archive}: no file in it matches {patterns} of `only`")
        if not writer.files:
            raise ValueError(f"{archive}: no file in it")
        temporary.replace(folder)
    except DAMAGE as error:
        raise ValueError(f"{archive} is damaged: {error or type(error).__name__}") from error
    finally:
        if temporary.exists():
            shutil.rmtree(temporary)
    log.info("unpacked %d files, %.1f MB, to %s", len(writer.files), writer.written / 1e6, folder)
    return len(writer.files)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Member:
    """A plain file in an archive."""

    path: str
    """Its safe name: relative, parts joined by slashes."""
    size: int
    """Bytes, as the archive declares."""
    file: IO[bytes]


class _Selection:
    """Which members are wanted, and which pattern has matched none so far."""

    def __init__(self, only: Sequence[str] | None) -> None:
        self._only = only
        self.unmatched = set(only or ())

    def __contains__(self, path: str) -> bool:
        if self._only is None:
            return True
        matching = {pattern for pattern in self._only if fnmatchcase(path, pattern)}
        self.unmatched -= matching
        return bool(matching)


@dataclass(slots=True)
class _Writer:
    """Writes members under ``folder``, within limits."""

    archive: Path
    folder: Path
    max_bytes: int = field(kw_only=True)
    max_files: int = field(kw_only=True)
    written: int = 0
    files: dict[str, str] = field(default_factory=dict)
    folders: dict[str, str] = field(default_factory=dict)

    def write(self, member: _Member) -> None:
        self._claim(member)
        if self.written + member.size > self.max_bytes:
            raise self._too_large(member)
        path = self.folder / member.path
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            while block := member.file.read(BLOCK):
                self.written += len(block)
                if self.written > self.max_bytes:
                    raise self._too_large(member)
                file.write(block)
            file.flush()
            os.fsync(file.fileno())

    def _claim(self, member: _Member) -> None:
        """Refuse a member where another one is."""
        parts = member.path.split("/")
        parents = ["/".join(parts[:end]) for end in range(1, len(parts))]
        key = _key(member.path)
        other = self.files.get(key) or self.folders.get(key)
        other = other or next((self.files[_key(p)] for p in parents if _key(p) in self.files), None)
        if other:
            raise ValueError(f"{self.archive}: {member.path!r} and {other!r} collide")
        self.files[key] = member.path
        self.folders |= {_key(parent): member.path for parent in parents}
        if len(self.files) > self.max_files:
            raise ValueError(f"{self.archive}: more than {self.max_files} files, at {member.path!r}")

    def _too_large(self, member: _Member) -> ValueError:
        return ValueError(
            f"{self.archive}: more than {self.max_bytes} bytes when unpacked, at {member.path!r}: "
            "a bomb, or not the archive it should be"
        )


def _key(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()


@contextmanager
def _reader(archive: Path, wanted: _Selection) -> Iterator[Iterator[_Member]]:
    """Open ``archive`` by what its first bytes say it is."""
    with archive.open("rb") as file:
        start = file.read(512)
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        with zipfile.ZipFile(archive) as opened:
            yield _zip_members(archive, opened, wanted)
    elif start[257:262] == b"ustar" or start.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00")):
        # As a stream: one pass, and a member that lies about its place cannot be asked for.
        with tarfile.open(archive, "r|*") as stream:
            yield _tar_members(archive, stream, wanted)
    else:
        raise ValueError(f"{archive} is not a zip or tar archive: it starts with {start[:16]!r}")


def _zip_members(archive: Path, opened: zipfile.ZipFile, wanted: _Selection) -> Iterator[_Member]:
    for info in opened.infolist():
        path = _safe_path(archive, info.filename)
        kind = stat.S_IFMT(info.external_attr >> 16)
        if path is None or info.is_dir() or path not in wanted:
            continue
        if kind not in (0, stat.S_IFREG):
            raise ValueError(f"{archive}: {info.filename!r} is a link or a device, not a plain file")
        if info.flag_bits & 1:
            raise ValueError(f"{archive}: {info.filename!r} is encrypted")
        try:
            file = opened.open(info)
        except NotImplementedError as error:
            raise ValueError(f"{archive}: {info.filename!r}: {error}") from error
        with file:
            yield _Member(path=path, size=info.file_size, file=file)


def _tar_members(archive: Path, stream: tarfile.TarFile, wanted: _Selection) -> Iterator[_Member]:
    for info in stream:
        path = _safe_path(archive, info.name)
        if path is None or info.isdir() or path not in wanted:
            continue
        file = stream.extractfile(info) if info.isreg() and not info.issparse() else None
        if file is None:
            raise ValueError(f"{archive}: {info.name!r} is a link, a device or sparse, not a plain file")
        with file:
            yield _Member(path=path, size=info.size, file=file)


def _safe_path(archive: Path, name: str) -> str | None:
    """Return ``name`` without ``.`` and empty parts, None if it is no file's; refuse it if it leads out."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts:
        raise ValueError(f"{archive}: {name!r} leads out of the folder")
    if "\\" in name or any(unicodedata.category(letter) == "Cc" for letter in name):
        raise ValueError(f"{archive}: {name!r} is not a name that every system can hold")
    if not parts or parts[0] == "__MACOSX" or parts[-1].startswith("._"):
        return None
    return "/".join(parts)
