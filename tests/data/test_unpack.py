from __future__ import annotations

import hashlib
import io
import logging
import lzma
import random
import runpy
import shutil
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bspa.data import unpack as archives
from bspa.data.unpack import unpack

ROOT = Path(__file__).parents[2]
PHOTO = random.Random(3).randbytes(5000)
TREE = {"set/HR/a.png": PHOTO, "set/HR/b.png": b"b", "set/LR/x2/a.png": b"", "notes.txt": b"hello"}


def make_zip(path: Path, files: Mapping[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def make_tar(path: Path, files: Mapping[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            info.mode = 0o7777
            archive.addfile(info, io.BytesIO(content))
    return path


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


MAKERS: dict[str, Callable[[Path, Mapping[str, bytes]], Path]] = {
    "zip": make_zip,
    "stored.zip": lambda path, files: make_zip(path, files, zipfile.ZIP_STORED),
    "tar": make_tar,
    "tar.gz": lambda path, files: make_tar(path, files, "w:gz"),
    "tar.bz2": lambda path, files: make_tar(path, files, "w:bz2"),
    "tar.xz": lambda path, files: make_tar(path, files, "w:xz"),
}


@pytest.fixture
def refused(tmp_path: Path) -> Callable[..., str]:
    """Unpack an archive that must be refused; return the message. Nothing may be left of it."""

    def refused(archive: Path, **options: object) -> str:
        (tmp_path / "inner").mkdir(exist_ok=True)
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(ValueError) as caught:  # noqa: PT011
            unpack(archive, tmp_path / "inner" / "out", **options)
        assert sorted(tmp_path.rglob("*")) == before
        assert str(archive) in str(caught.value)
        return str(caught.value)

    return refused


@pytest.mark.parametrize("kind", MAKERS)
def test_unpacks(tmp_path, kind):
    archive = MAKERS[kind](tmp_path / "archive", TREE)
    assert unpack(archive, tmp_path / "out") == 4
    assert tree(tmp_path / "out") == TREE
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive", "out"]


def test_permissions_are_the_users(tmp_path):
    (tmp_path / "own").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    unpack(make_tar(tmp_path / "archive", TREE), tmp_path / "out")
    assert (tmp_path / "out/notes.txt").stat().st_mode == (tmp_path / "own").stat().st_mode
    assert (tmp_path / "out/set/HR").stat().st_mode == (tmp_path / "folder").stat().st_mode


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_only_the_wanted_members(tmp_path, refused, kind):
    archive = MAKERS[kind](tmp_path / "archive", TREE)
    assert refused(archive, only=["*/HR/*", "*.jpg", "x"]).endswith("matches '*.jpg', 'x' of `only`")
    assert unpack(archive, tmp_path / "out", only=["set/*/a.png", "*.txt"]) == 3
    assert tree(tmp_path / "out") == {name: TREE[name] for name in TREE if name != "set/HR/b.png"}


def test_limits_count_only_the_wanted_members(tmp_path):
    archive = make_tar(tmp_path / "archive", TREE)
    assert unpack(archive, tmp_path / "out", only=["notes.txt"], max_bytes=5, max_files=1) == 1


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_are_tidied_and_macos_forks_left_out(tmp_path, kind):
    files = {"./a//./b.png": b"1", "__MACOSX/a/._b.png": b"2", "a/._b.png": b"3", "._c.png": b"4"}
    unpack(MAKERS[kind](tmp_path / "archive", files), tmp_path / "out")
    assert tree(tmp_path / "out") == {"a/b.png": b"1"}


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "//x", "../x", "a/../../x", "a/..", "..", "a\\..\\..\\x", "C:\\x", "a\nb", "a\x7f"],
)
def test_names_that_lead_out_are_refused(tmp_path, refused, kind, name):
    archive = MAKERS[kind](tmp_path / "archive", {"good.png": b"1", name: b"2"})
    assert repr(name) in refused(archive)


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("a/b.png", "a/./b.png"),
        ("a/b.png", "A/B.PNG"),
        ("a/b", "a/b/c"),
        ("a/b/c", "a/b"),
        ("a/b", "A/B/c"),
        ("stra\u00dfe", "STRASSE"),
        ("caf\u00e9.png", "cafe\u0301.png"),
    ],
)
def test_names_that_collide_are_refused(tmp_path, refused, kind, first, second):
    archive = MAKERS[kind](tmp_path / "archive", {first: b"1", second: b"2"})
    message = refused(archive)
    assert "collide" in message
    assert repr(first) in message


@pytest.mark.parametrize("target", ["good.png", "../../etc/passwd", "/etc/passwd"])
@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_links_in_a_tar_are_refused(tmp_path, refused, kind, target):
    archive = make_tar(tmp_path / "archive", {"good.png": b"1"})
    with tarfile.open(archive, "a") as opened:
        info = tarfile.TarInfo("link.png")
        info.type, info.linkname = kind, target
        opened.addfile(info)
    assert "'link.png' is a link" in refused(archive)
    assert unpack(archive, tmp_path / "out", only=["good.png"]) == 1


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.GNUTYPE_SPARSE])
def test_special_files_in_a_tar_are_refused(tmp_path, refused, kind):
    with tarfile.open(tmp_path / "archive", "w", format=tarfile.GNU_FORMAT) as opened:
        info = tarfile.TarInfo("odd")
        info.type = kind
        opened.addfile(info)
    assert "'odd' is a link, a device or sparse" in refused(tmp_path / "archive")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_links_and_devices_in_a_zip_are_refused(tmp_path, refused, kind):
    with zipfile.ZipFile(tmp_path / "archive", "w") as opened:
        info = zipfile.ZipInfo("link.png")
        info.external_attr = (kind | 0o777) << 16
        opened.writestr(info, "/etc/passwd")
    assert "'link.png' is a link" in refused(tmp_path / "archive")


def test_member_without_a_name_is_left_out(tmp_path):
    archive = make_zip(tmp_path / "archive", {"good.png": b"1"})
    with zipfile.ZipFile(archive, "a") as opened:
        info = zipfile.ZipInfo("x")
        info.filename = ""
        opened.writestr(info, b"2")
    assert unpack(archive, tmp_path / "out") == 1


def test_encrypted_member_is_refused(tmp_path, refused):
    archive = make_zip(tmp_path / "archive", {"secret.png": b"1"})
    content = bytearray(archive.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # the flags in the central directory
    content[6] |= 1
    archive.write_bytes(content)
    assert "'secret.png' is encrypted" in refused(archive)


def test_unknown_compression_is_refused(tmp_path, refused):
    archive = make_zip(tmp_path / "archive", {"new.png": PHOTO})
    content = bytearray(archive.read_bytes())
    for at in (8, content.index(b"PK\x01\x02") + 10):
        content[at : at + 2] = struct.pack("<H", 93)
    archive.write_bytes(content)
    assert "'new.png'" in refused(archive)


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_bombs_are_refused(tmp_path, refused, monkeypatch, kind):
    files = {"good.png": PHOTO, "zeros.png": bytes(5_000_000)}
    archive = MAKERS[kind](tmp_path / "archive", files)
    monkeypatch.setattr(archives, "RATIO_FLOOR", 1 << 16)
    assert "'zeros.png': a bomb" in refused(archive)
    assert "'zeros.png': a bomb" in refused(archive, max_ratio=1e9, max_bytes=5_000_000)
    assert "'zeros.png'" in refused(archive, max_ratio=1e9, max_files=1)
    assert unpack(archive, tmp_path / "out", max_ratio=1e9) == 2


def test_member_that_declares_too_much_is_not_begun(tmp_path, refused):
    info = tarfile.TarInfo("huge.png")
    info.size = 1 << 42
    (tmp_path / "archive").write_bytes(info.tobuf() + bytes(1024))
    assert "'huge.png': a bomb" in refused(tmp_path / "archive")


def test_small_archives_may_be_flat(tmp_path):
    archive = make_zip(tmp_path / "archive", {"zeros.png": bytes(5_000_000)})
    assert archive.stat().st_size * 200 < 5_000_000
    assert unpack(archive, tmp_path / "out") == 1


def test_bytes_are_counted_whatever_the_archive_declares(tmp_path):
    """The writer stops a member that gives more than it declares (here zipfile would stop it, too)."""
    writer = archives._Writer(tmp_path / "archive", tmp_path, max_bytes=3_000_000, max_files=9)
    with pytest.raises(ValueError, match=r"more than 3000000 bytes when unpacked, at 'liar\.png'"):
        writer.write(archives._Member(path="liar.png", size=1, file=io.BytesIO(bytes(9_000_000))))
    assert (tmp_path / "liar.png").stat().st_size <= 3_000_000


def test_zip_that_declares_too_little_is_refused(tmp_path, refused):
    archive = make_zip(tmp_path / "archive", {"liar.png": PHOTO})
    content = bytearray(archive.read_bytes())
    at = content.index(b"PK\x01\x02") + 24
    content[at : at + 4] = struct.pack("<I", 10)
    archive.write_bytes(content)
    assert "damaged" in refused(archive)


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("keep", [0.3, 0.6, 0.95])
def test_truncated_archive_is_refused(tmp_path, refused, kind, keep):
    noise = random.Random(4)
    files = {f"{number}.png": noise.randbytes(20_000) for number in range(3)}
    archive = MAKERS[kind](tmp_path / "archive", files)
    content = archive.read_bytes()
    archive.write_bytes(content[: int(len(content) * keep * (0.75 if kind == "tar" else 1))])
    assert "damaged" in refused(archive)


@pytest.mark.parametrize("kind", ["zip", "stored.zip", "tar.xz"])
def test_flipped_byte_is_found(tmp_path, refused, kind):
    archive = MAKERS[kind](tmp_path / "archive", {"a.png": PHOTO})
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 0x10
    archive.write_bytes(content)
    assert "damaged" in refused(archive)


@pytest.mark.parametrize("content", [b"", b"<html>", PHOTO, lzma.compress(PHOTO, lzma.FORMAT_ALONE)])
def test_other_formats_are_refused(tmp_path, refused, content):
    (tmp_path / "archive").write_bytes(content)
    assert "not a zip or tar archive" in refused(tmp_path / "archive")


@pytest.mark.parametrize("files", [{}, {"folder/": b""}, {"__MACOSX/a": b"1"}])
def test_archive_without_files_is_refused(tmp_path, refused, files):
    assert "no file in it" in refused(make_zip(tmp_path / "archive", files))


def test_the_folder_must_be_new(tmp_path):
    archive = make_zip(tmp_path / "archive", TREE)
    out = tmp_path / "out"
    out.mkdir()
    assert unpack(archive, out) == 4
    (out / "mine.txt").write_bytes(b"mine")
    with pytest.raises(ValueError, match="out is already there"):
        unpack(archive, out)
    assert tree(out) == TREE | {"mine.txt": b"mine"}


def test_what_a_killed_process_left_is_cleared(tmp_path):
    left = tmp_path / ".out.unpacking"
    left.mkdir()
    (left / "half.png").write_bytes(b"half")
    unpack(make_zip(tmp_path / "archive", TREE), tmp_path / "out")
    assert tree(tmp_path / "out") == TREE
    assert not left.exists()


PARTS = st.sampled_from(["..", ".", "", "a", "A", "b", "~", "...", "c:", "a ", "\u00e9", "e\u0301", "-rf"])
NAMES = st.lists(PARTS, min_size=1, max_size=5).map("/".join).filter(bool)


@settings(max_examples=150, deadline=None)
@given(names=st.lists(NAMES, min_size=1, max_size=4), kind=st.sampled_from(["zip", "tar"]))
def test_nothing_is_ever_written_outside(tmp_path_factory, names, kind):
    """Any mixture of names is either refused or unpacked file by file, all of it inside the folder."""
    top = tmp_path_factory.mktemp("fuzz")
    try:
        inner = top / "x" / "y"
        inner.mkdir(parents=True)
        files = dict.fromkeys(names, b"1")
        archive = MAKERS[kind](inner / "archive", files)
        try:
            count = unpack(archive, inner / "out")
        except ValueError:
            assert sorted(inner.iterdir()) == [archive]
        else:
            assert count == len(tree(inner / "out"))
            assert sorted(inner.iterdir()) == [archive, inner / "out"]
            assert not any(name.startswith("/") or ".." in name.split("/") for name in files)
        assert list(top.rglob("*"))[:2] == [top / "x", inner]
        assert list((top / "x").iterdir()) == [inner]
    finally:
        shutil.rmtree(top)


# The rule's script.


@pytest.fixture
def rule(tmp_path: Path) -> SimpleNamespace:
    main = runpy.run_path(str(ROOT / "workflow_scripts/fetch_archive.py"))["main"]
    archive = make_zip(tmp_path / "mine.zip", TREE)
    job = SimpleNamespace(
        wildcards=SimpleNamespace(archive="demo"),
        params=SimpleNamespace(
            archive={"only": None, "sha256": None, "size": None, "urls": [str(archive)]},
            state=str(tmp_path / "state/demo"),
        ),
        output=[str(tmp_path / "archives/demo")],
    )
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    return SimpleNamespace(run=lambda: main(job), params=job.params, digest=digest)


def test_script_makes_the_folder_and_says_how_to_pin(rule, tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="bspa"):
        rule.run()
    assert tree(tmp_path / "archives/demo") == TREE
    assert f"sha256 of demo is {rule.digest}; pin it: archives: demo: sha256: {rule.digest}" in caplog.text
    assert not (tmp_path / "state/demo").exists()
    assert (tmp_path / "mine.zip").exists()


def test_script_checks_a_pinned_digest(rule, tmp_path, caplog):
    rule.params.archive["sha256"] = "0" * 64
    with pytest.raises(OSError, match=f"has sha256 {rule.digest}, not 000"):
        rule.run()
    assert not (tmp_path / "archives").exists()
    rule.params.archive |= {
        "sha256": rule.digest,
        "size": (tmp_path / "mine.zip").stat().st_size,
        "only": ["set/*"],
    }
    with caplog.at_level(logging.INFO, logger="bspa"):
        rule.run()
    assert sorted(tree(tmp_path / "archives/demo")) == sorted(name for name in TREE if name != "notes.txt")
    assert "pin it" not in caplog.text


def test_script_replaces_what_an_orphan_made(rule, tmp_path):
    orphan = tmp_path / "archives/demo/old.png"
    orphan.parent.mkdir(parents=True)
    orphan.write_bytes(b"old")
    rule.run()
    assert tree(tmp_path / "archives/demo") == TREE


def test_script_keeps_the_download_when_unpacking_fails(rule, tmp_path):
    rule.params.archive["only"] = ["*.jpg"]
    with pytest.raises(ValueError, match=r"matches '\*\.jpg'"):
        rule.run()
    assert (tmp_path / "state/demo/demo.archive").exists()
    rule.params.archive |= {"only": None, "urls": ["gone.zip"]}
    rule.run()
    assert tree(tmp_path / "archives/demo") == TREE
