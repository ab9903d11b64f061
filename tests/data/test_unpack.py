"""Unpacking archives, good and bad."""

from __future__ import annotations

import importlib.util
import io
import lzma
import random
import stat
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bspa.data.fetch import DownloadError
from bspa.data.unpack import unpack

PHOTO = random.Random(3).randbytes(5000)
TREE = {"set/HR/a.png": PHOTO, "set/HR/b.png": b"b", "set/LR/x2/a.png": b"", "notes.txt": b"hello"}


def make_zip(path: Path, files: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def make_tar(path: Path, files: Mapping[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o7777
            archive.addfile(info, io.BytesIO(content))
    return path


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def make(path: Path, files: Mapping[str, bytes], kind: str) -> Path:
    return make_zip(path, files) if kind == "zip" else make_tar(path, files, f"w{kind}")


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
def test_unpacks_with_the_users_permissions(tmp_path: Path, kind: str) -> None:
    (tmp_path / "own").touch()
    archive = make(tmp_path / "archive", TREE, kind)
    assert unpack(archive, tmp_path / "out") == 4
    assert tree(tmp_path / "out") == TREE
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive", "out", "own"]
    assert (tmp_path / "out/notes.txt").stat().st_mode == (tmp_path / "own").stat().st_mode


@pytest.mark.parametrize("kind", ["zip", ""])
def test_only_the_wanted_members(tmp_path: Path, refused: Refused, kind: str) -> None:
    archive = make(tmp_path / "archive", TREE, kind)
    assert "'*.jpg', 'x'" in refused(archive, only=["*/HR/*", "*.jpg", "x"])
    assert unpack(archive, tmp_path / "out", only=["set/*/a.png", "*.txt"], max_bytes=5005) == 3
    assert tree(tmp_path / "out") == {name: TREE[name] for name in TREE if name != "set/HR/b.png"}


@pytest.mark.parametrize("kind", ["zip", ""])
def test_names_are_tidied_and_macos_forks_left_out(tmp_path: Path, kind: str) -> None:
    files = {"./a//./b.png": b"1", "__MACOSX/a/._b.png": b"2", "a/._b.png": b"3", "._c.png": b"4"}
    unpack(make(tmp_path / "archive", files, kind), tmp_path / "out")
    assert tree(tmp_path / "out") == {"a/b.png": b"1"}


@pytest.mark.parametrize("kind", ["zip", ""])
@pytest.mark.parametrize(
    "name", ["/etc/passwd", "//x", "../x", "a/../../x", "a/..", "..", "a\\..\\..\\x", "C:\\x", "a\nb"]
)
def test_names_that_lead_out_are_refused(tmp_path: Path, refused: Refused, kind: str, name: str) -> None:
    archive = make(tmp_path / "archive", {"good.png": b"1", name: b"2"}, kind)
    assert repr(name) in refused(archive)


@pytest.mark.parametrize("kind", ["zip", ""])
@pytest.mark.parametrize(("first", "second"), [("a/b", "a/./b"), ("a/b", "a/b/c"), ("a/b/c", "a/b")])
def test_names_that_collide_are_refused(
    tmp_path: Path, refused: Refused, kind: str, first: str, second: str
) -> None:
    archive = make(tmp_path / "archive", {first: b"1", second: b"2"}, kind)
    assert "'a/b" in refused(archive)


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.GNUTYPE_SPARSE]
)
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, refused: Refused, kind: bytes) -> None:
    with tarfile.open(tmp_path / "archive", "w", format=tarfile.GNU_FORMAT) as opened:
        info = tarfile.TarInfo("odd.png")
        info.type, info.linkname = kind, "/etc/passwd"
        opened.addfile(info)
    assert "'odd.png' is a link" in refused(tmp_path / "archive")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR])
def test_links_and_devices_in_a_zip_are_refused(tmp_path: Path, refused: Refused, kind: int) -> None:
    with zipfile.ZipFile(tmp_path / "archive", "w") as opened:
        info = zipfile.ZipInfo("odd.png")
        info.external_attr = (kind | 0o777) << 16
        opened.writestr(info, "/etc/passwd")
    assert "'odd.png' is a link" in refused(tmp_path / "archive")


def test_an_encrypted_member_is_refused(tmp_path: Path, refused: Refused) -> None:
    archive = make_zip(tmp_path / "archive", {"secret.png": b"1"})
    content = bytearray(archive.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # the flags in the central directory
    content[6] |= 1
    archive.write_bytes(content)
    assert "'secret.png'" in refused(archive)


@pytest.mark.parametrize("kind", ["zip", ":gz"])
def test_bytes_and_members_are_bounded(tmp_path: Path, refused: Refused, kind: str) -> None:
    archive = make(tmp_path / "archive", {"good.png": PHOTO, "zeros.png": bytes(5_000_000)}, kind)
    assert archive.stat().st_size < 20_000
    assert "more than 5004999 bytes, at 'zeros.png'" in refused(archive, max_bytes=5_004_999)
    assert "more than 1 files, at 'zeros.png'" in refused(archive, max_files=1, only=["good.png"])
    assert unpack(archive, tmp_path / "out", max_bytes=5_005_000, max_files=2) == 2


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


@pytest.mark.parametrize("content", [b"", b"<html>", PHOTO, lzma.compress(PHOTO, lzma.FORMAT_ALONE)])
def test_other_formats_are_refused(tmp_path: Path, refused: Refused, content: bytes) -> None:
    (tmp_path / "archive").write_bytes(content)
    assert "not a zip or tar archive" in refused(tmp_path / "archive")


@pytest.mark.parametrize("files", [{}, {"folder/": b""}, {"__MACOSX/a": b"1"}])
def test_an_archive_without_files_is_refused(
    tmp_path: Path, refused: Refused, files: dict[str, bytes]
) -> None:
    assert "no file in it" in refused(make_zip(tmp_path / "archive", files))


PARTS = st.sampled_from(["..", ".", "", "a", "A", "b", "~", "...", "c:", "a ", "\u00e9", "e\u0301", "-rf"])
NAMES = st.lists(PARTS, min_size=1, max_size=5).map("/".join).filter(bool)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(NAMES, min_size=1, max_size=4), kind=st.sampled_from(["zip", ""]))
def test_nothing_is_ever_written_outside(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], kind: str
) -> None:
    inner = tmp_path_factory.mktemp("fuzz") / "x" / "y"
    inner.mkdir(parents=True)
    archive = make(inner / "archive", dict.fromkeys(names, b"1"), kind)
    expected = [archive]
    try:
        count = unpack(archive, inner / "out")
    except ValueError:
        pass
    else:
        expected.append(inner / "out")
        assert count == len(tree(inner / "out"))
        assert not any(name.startswith("/") or ".." in name.split("/") for name in names)
    assert sorted(inner.iterdir()) == expected
    assert list(inner.parents[1].rglob("*"))[:2] == [inner.parent, inner]


# The rule's script.


def test_the_script_makes_the_folder_and_checks_the_digest(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spec = importlib.util.spec_from_file_location("script", root / "workflow_scripts" / "fetch_archive.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    archive = make_zip(tmp_path / "mine.zip", TREE)
    output = tmp_path / "archives" / "demo"

    def run(*, only: list[str] | None = None, sha256: str | None = None) -> None:
        settings = {"urls": [str(archive)], "sha256": sha256, "size": None, "only": only}
        script.main(SimpleNamespace(params=SimpleNamespace(settings=settings), output=[str(output)]))

    with pytest.raises(DownloadError, match="has sha256"):
        run(sha256="0" * 64)
    with pytest.raises(ValueError, match=r"'\*\.jpg'"):
        run(only=["*.jpg"])
    assert not output.exists()
    (output / "of an orphan").mkdir(parents=True)
    with caplog.at_level("INFO", "bspa"):
        run(only=["set/*"])
    assert "archives: demo: sha256: " in caplog.text
    assert sorted(tree(output)) == sorted(name for name in TREE if name != "notes.txt")
    assert list(output.parent.iterdir()) == [output]
    assert archive.exists()
