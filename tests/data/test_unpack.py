"""Unpacking archives, good and bad."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import random
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bspa.data.unpack import unpack

PHOTO = random.Random(3).randbytes(5000)
TREE = {"set/HR/a.png": PHOTO, "set/HR/b.png": b"b", "set/LR/x2/a.png": b"", "notes.txt": b"hello"}


def make(path: Path, files: Mapping[str, bytes], kind: str = "zip") -> Path:
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return path
    with tarfile.open(path, f"w{kind}") as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o7777
            archive.addfile(info, io.BytesIO(content))
    return path


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


KINDS = ["zip", "", ":gz", ":bz2", ":xz"]
"""Zip, or how `tarfile` is to compress."""

Refused = Callable[..., str]


@pytest.fixture
def refused(tmp_path: Path) -> Refused:
    """Unpack an archive that must be refused; return the message. Nothing may be left of it."""

    def refused(archive: Path, **options: Any) -> str:
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(ValueError, match="archive") as caught:
            unpack(archive, tmp_path / "out", **options)
        assert sorted(tmp_path.rglob("*")) == before
        return str(caught.value)

    return refused


@pytest.mark.parametrize("kind", KINDS)
def test_unpacks_whole_trees_readable(tmp_path: Path, kind: str) -> None:
    archive = make(tmp_path / "archive", TREE, kind)
    assert unpack(archive, tmp_path / "out") == 4
    assert tree(tmp_path / "out") == TREE
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive", "out"]
    assert (tmp_path / "out/notes.txt").stat().st_mode & 0o7622 == 0o600


@pytest.mark.parametrize("kind", ["zip", ""])
def test_only_the_wanted_members(tmp_path: Path, refused: Refused, kind: str) -> None:
    archive = make(tmp_path / "archive", {f"./{name}": content for name, content in TREE.items()}, kind)
    assert "no member matches ['*.jpg', 'x'] of `only`" in refused(archive, only=["*/HR/*", "*.jpg", "x"])
    assert unpack(archive, tmp_path / "out", only=["set/*/a.png", "*.txt"]) == 3
    assert tree(tmp_path / "out") == {name: TREE[name] for name in TREE if name != "set/HR/b.png"}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, refused: Refused, kind: bytes) -> None:
    with tarfile.open(tmp_path / "archive", "w", format=tarfile.GNU_FORMAT) as opened:
        info = tarfile.TarInfo("odd.png")
        info.type, info.linkname = kind, "other.png"
        opened.addfile(info)
    assert "'odd.png' is a" in refused(tmp_path / "archive")


def test_a_link_in_a_zip_is_no_link(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "archive", "w") as opened:
        info = zipfile.ZipInfo("odd.png")
        info.external_attr = 0o120777 << 16
        opened.writestr(info, "/etc/passwd")
    unpack(tmp_path / "archive", tmp_path / "out")
    assert not (tmp_path / "out" / "odd.png").is_symlink()


def test_an_encrypted_member_is_refused(tmp_path: Path, refused: Refused) -> None:
    archive = make(tmp_path / "archive", {"secret.png": b"1"})
    content = bytearray(archive.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # the flags in the central directory
    content[6] |= 1
    archive.write_bytes(content)
    assert "is encrypted" in refused(archive)


@pytest.mark.parametrize("kind", ["zip", ":gz"])
def test_bytes_and_members_are_bounded(tmp_path: Path, refused: Refused, kind: str) -> None:
    archive = make(tmp_path / "archive", {"good.png": PHOTO, "zeros.png": bytes(5_000_000)}, kind)
    assert archive.stat().st_size < 20_000
    assert "more than 5004999 bytes or" in refused(archive, max_bytes=5_004_999)
    assert "or 1 members, at 'zeros.png'" in refused(archive, max_members=1, only=["good.png"])
    assert unpack(archive, tmp_path / "out", max_bytes=5_005_000, max_members=2) == 2


def pax_bomb(kind: str, size: int) -> bytes:
    """A small tar whose only header would take ``size`` bytes of memory."""
    header = tarfile.TarInfo("headers")
    header.type, header.size = tarfile.XHDTYPE, size
    record = b"%d comment=" % size
    content = io.BytesIO()
    with {":gz": gzip.open, ":bz2": bz2.open, ":xz": lzma.open}[kind](content, "wb") as compressed:
        compressed.write(header.tobuf())
        compressed.write(record)
        for _ in range(size >> 20):
            compressed.write(bytes(1 << 20))
    return content.getvalue()


@pytest.mark.parametrize("kind", [":gz", ":bz2", ":xz"])
def test_headers_are_bounded(tmp_path: Path, refused: Refused, kind: str) -> None:
    (tmp_path / "archive").write_bytes(pax_bomb(kind, 40 << 20))
    tracemalloc.start()
    assert "headers of more than" in refused(tmp_path / "archive")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30 << 20


def test_headers_and_members_left_out_count(tmp_path: Path, refused: Refused) -> None:
    files = {"a.png": b"1", "large.bin": bytes(3_000_000)}
    assert "more than" in refused(
        make(tmp_path / "archive", files, ":gz"), max_bytes=2_000_000, only=["a.png"]
    )
    with tarfile.open(tmp_path / "archive", "w:gz", format=tarfile.PAX_FORMAT) as opened:
        for number in range(3):
            info = tarfile.TarInfo(f"{number}.png")
            info.pax_headers = {"comment": "x" * 1_000_000}
            opened.addfile(info)
    assert "more than" in refused(tmp_path / "archive", max_bytes=2_000_000)
    assert unpack(tmp_path / "archive", tmp_path / "out", max_bytes=4_000_000) == 3


@pytest.mark.parametrize("kind", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_of_bzip2_or_lzma_is_refused(tmp_path: Path, refused: Refused, kind: int) -> None:
    with zipfile.ZipFile(tmp_path / "archive", "w", kind) as opened:
        opened.writestr("zeros.png", bytes(1_000_000))
    assert "'zeros.png' is compressed by" in refused(tmp_path / "archive")


def test_members_that_share_their_bytes_count_each(tmp_path: Path, refused: Refused) -> None:
    archive = make(tmp_path / "archive", {"a.png": bytes(1_000_000)})
    content = archive.read_bytes()
    start, end = content.index(b"PK\x01\x02"), content.index(b"PK\x05\x06")
    entry, last = content[start:end], bytearray(content[end:])
    last[8:12] = (50).to_bytes(2, "little") * 2
    last[12:16] = (50 * len(entry)).to_bytes(4, "little")
    archive.write_bytes(content[:start] + entry * 50 + last)
    assert zipfile.ZipFile(archive).namelist() == ["a.png"] * 50
    assert "more than" in refused(archive, max_bytes=10_000_000)


def test_a_zip_that_understates_its_size_is_refused(tmp_path: Path, refused: Refused) -> None:
    archive = make(tmp_path / "archive", {"zeros.png": bytes(5_000_000)})
    content = archive.read_bytes()
    archive.write_bytes(content.replace((5_000_000).to_bytes(4, "little"), (9).to_bytes(4, "little")))
    assert "damaged" in refused(archive, max_bytes=10)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("keep", [0.3, 0.6, 0.95])
def test_a_truncated_archive_is_refused(tmp_path: Path, refused: Refused, kind: str, keep: float) -> None:
    noise = random.Random(4)
    archive = make(tmp_path / "archive", {f"{n}.png": noise.randbytes(20_000) for n in range(3)}, kind)
    content = archive.read_bytes()
    archive.write_bytes(content[: int(len(content) * keep * (0.75 if kind == "" else 1))])
    assert "damaged" in refused(archive)


@pytest.mark.parametrize("kind", ["zip", ":bz2", ":xz"])
def test_a_flipped_bit_is_found(tmp_path: Path, refused: Refused, kind: str) -> None:
    archive = make(tmp_path / "archive", {"a.png": PHOTO}, kind)
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 0x10
    archive.write_bytes(content)
    assert "damaged" in refused(archive)


@pytest.mark.parametrize("content", [b"", b"<html>", b"7z\xbc\xaf'\x1c\0\4", b"Rar!\x1a\7\1\0", PHOTO])
def test_other_formats_are_refused(tmp_path: Path, refused: Refused, content: bytes) -> None:
    (tmp_path / "archive").write_bytes(content)
    assert "not a zip or tar archive" in refused(tmp_path / "archive")


PARTS = st.sampled_from(["..", ".", "", "a", "A", "b", "~", "...", "c:", "a\\b", "a ", "e\u0301", "-rf"])
NAMES = st.lists(PARTS, min_size=1, max_size=5).map("/".join).filter(bool)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(NAMES, min_size=1, max_size=4), kind=st.sampled_from(["zip", ""]))
def test_nothing_is_ever_written_outside(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], kind: str
) -> None:
    inner = tmp_path_factory.mktemp("fuzz") / "x" / "y"
    inner.mkdir(parents=True)
    archive = make(inner / "archive", dict.fromkeys(names, b"1"), kind)
    with contextlib.suppress(ValueError, OSError):
        unpack(archive, inner / "out")
    assert set(inner.iterdir()) <= {archive, inner / "out"}
    assert list(inner.parents[1].rglob("*"))[:2] == [inner.parent, inner]
    assert not Path("/a").exists()
