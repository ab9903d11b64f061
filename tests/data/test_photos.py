from __future__ import annotations

import io
import logging
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from bspa.data.photos import decode_photo, read_photo
from bspa.data.sources import PHOTO_SUFFIXES
from tests.support.noise import noise

Pixels = NDArray[np.uint8]
COLOURS = noise(6, 9)
KINDS = ["PNG", "JPEG", "WEBP", "BMP", "TIFF"]


def encoded(image: Image.Image | NDArray[Any], kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def png_16_bit(samples: NDArray[np.uint16], colour_type: int) -> bytes:
    """A PNG of (H, W, channels) uint16, which Pillow itself cannot write for colours."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = samples.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("suffix", [*PHOTO_SUFFIXES, ".PNG"])
def test_every_accepted_suffix(tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / f"photo{suffix}"
    image = Image.fromarray(np.full((5, 7, 3), (200, 100, 50), np.uint8))
    image.save(path, **({"lossless": True} if suffix == ".webp" else {"quality": 95}))
    photo = read_photo(path)
    assert (photo.shape, photo.dtype) == ((5, 7, 3), np.uint8)
    assert np.abs(photo.astype(int) - (200, 100, 50)).max() <= 2
    photo[0, 0] = 0  # the caller's own
    assert not caplog.records


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_gray_and_palette_become_rgb(mode: str) -> None:
    image = Image.fromarray(COLOURS).convert(mode)
    assert np.array_equal(decode_photo(encoded(image), "a.png"), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize(("colour_type", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_16_bits_keep_the_high_byte(colour_type: int, channels: int) -> None:
    values = np.array([0, 1, 127, 128, 255, 256, 257, 383, 384, 511, 512, 32767, 65279, 65280, 65535])
    samples = np.repeat(values[None, :, None], channels, axis=2).astype(np.uint16)
    if channels in (2, 4):
        samples[..., -1] = 65535
    photo = decode_photo(png_16_bit(samples, colour_type), "deep.png")
    assert photo[0, :, 0].tolist() == (values // 256).tolist()
    assert (photo == photo[:, :, :1]).all()
    tiff = decode_photo(encoded(samples[..., 0], "TIFF"), "deep.tif")
    assert tiff[0, :, 0].tolist() == (values // 256).tolist()


def tiff(samples: NDArray[Any], **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, samples, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("byteorder", "<>")
@pytest.mark.parametrize("compression", [None, "deflate"])
@pytest.mark.parametrize("depth", [8, 16])
def test_tiffs_are_read_as_their_tags_say(byteorder: str, compression: str | None, depth: int) -> None:
    samples = COLOURS.astype(np.uint16) * 256 + 7 if depth == 16 else COLOURS
    common: dict[str, Any] = {"byteorder": byteorder, "compression": compression}
    for options in ({}, {"tile": (16, 16)}, {"bigtiff": byteorder == "<"}, {"rowsperstrip": 2}):
        data = tiff(samples, photometric="rgb", **common, **options)
        assert np.array_equal(decode_photo(data, "a.tif"), COLOURS)
    gray = decode_photo(tiff(samples[..., 0], photometric="minisblack", **common), "a.tif")
    assert np.array_equal(gray, np.repeat(COLOURS[..., :1], 3, axis=2))
    white_is_0 = tiff(samples[..., 0], photometric="miniswhite", **common)
    if depth == 16 and byteorder == ">":
        with pytest.raises(ValueError, match=r"a\.tif: has 16-bit gray samples where 0 is white"):
            decode_photo(white_is_0, "a.tif")
    else:
        assert np.array_equal(decode_photo(white_is_0, "a.tif"), 255 - gray)
    planes = tiff(np.moveaxis(samples, 2, 0), photometric="rgb", planarconfig="separate", **common)
    if depth == 16 and compression is None:  # which Pillow reads as noise
        with pytest.raises(ValueError, match=r"a\.tif: has 16-bit samples in separate planes"):
            decode_photo(planes, "a.tif")
    else:
        assert np.array_equal(decode_photo(planes, "a.tif"), COLOURS)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("float16", r"16-bit samples \(floating-point\)"),
        ("float32", r"32-bit samples \(floating-point\)"),
        ("float64", r"64-bit samples \(floating-point\)"),
        ("uint32", "32-bit samples"),
        ("int8", r"8-bit samples \(signed\)"),
        ("int16", r"16-bit samples \(signed\)"),
    ],
)
@pytest.mark.parametrize("colours", [False, True])
def test_tiffs_of_other_samples_are_refused_by_name(kind: str, reason: str, colours: bool) -> None:
    samples = (COLOURS if colours else COLOURS[..., 0]).astype(kind)
    data = tiff(samples, photometric="rgb" if colours else "minisblack")
    with pytest.raises(ValueError, match=rf"a\.tif: has {reason}; save it with 8 or"):
        decode_photo(data, "a.tif")


def test_a_big_endian_bigtiff_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"a\.tif: is a big-endian BigTIFF"):
        decode_photo(tiff(COLOURS, photometric="rgb", byteorder=">", bigtiff=True), "a.tif")


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_tiffs_of_three_gray_samples_are_refused_by_name(depth: type) -> None:
    data = tiff(COLOURS.astype(depth), photometric="minisblack", planarconfig="contig")
    with pytest.raises(ValueError, match=r"a\.tif: says that it is gray, but has 3 samples a pixel"):
        decode_photo(data, "a.tif")


@pytest.mark.parametrize("bits", [1, 2, 4, 12])
@pytest.mark.parametrize("white_is_0", [False, True])
def test_tiffs_of_few_bits(bits: int, white_is_0: bool) -> None:
    values = np.array([0, 1, 2, 3, 2**bits - 1, 0, 0, 0]) % 2**bits
    packed = np.packbits([int(b) for v in values for b in f"{v:0{bits}b}"]).tobytes()
    tags = {256: 8, 257: 1, 258: bits, 259: 1, 262: int(not white_is_0), 273: 200, 278: 1, 279: 99}
    entries = b"".join(struct.pack("<HHII", tag, 3, 1, value) for tag, value in tags.items())
    header = struct.pack("<4sIH", b"II*\0", 8, len(tags)) + entries
    data = header.ljust(200, b"\0") + packed.ljust(99, b"\0")
    if bits == 12:
        with pytest.raises(ValueError, match=r"a\.tif: has 12-bit samples"):
            decode_photo(data, "a.tif")
    else:
        shades = values * 255 // (2**bits - 1)
        expected = 255 - shades if white_is_0 else shades
        assert decode_photo(data, "a.tif")[0, :, 0].tolist() == expected.tolist()


@pytest.mark.parametrize("what", ["profile", "text", "compressed text"])
def test_pngs_with_large_notes_are_read(what: str) -> None:
    large = np.random.default_rng(0).bytes(2 << 20)
    options: dict[str, Any] = {"icc_profile": large}
    if what != "profile":
        notes = PngImagePlugin.PngInfo()
        notes.add_text("notes", large.decode("latin-1"), zip=what == "compressed text")
        options = {"pnginfo": notes}
    assert np.array_equal(decode_photo(encoded(COLOURS, **options), "a.png"), COLOURS)


def test_transparency_is_shown_over_white(caplog: pytest.LogCaptureFixture) -> None:
    rgba = np.dstack([COLOURS, np.full(COLOURS.shape[:2], 255, np.uint8)])
    assert np.array_equal(decode_photo(encoded(rgba), "a.png"), COLOURS)
    assert not caplog.records
    rgba[0, :, 3] = 0
    rgba[1, :, 3] = 51
    photo = decode_photo(encoded(rgba), "a.png")
    assert (photo[0] == 255).all()
    assert np.abs(photo[1] - (COLOURS[1] * 0.2 + 255 * 0.8)).max() <= 1
    assert np.array_equal(photo[2:], COLOURS[2:])
    assert "a.png has transparent parts" in caplog.text


def test_transparency_of_gray_palette_and_colour_key() -> None:
    gray, alpha = (Image.fromarray(np.array([row], np.uint8)) for row in ([10, 200], [0, 255]))
    assert decode_photo(encoded(Image.merge("LA", [gray, alpha])), "la.png")[0, :, 0].tolist() == [255, 200]
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 0), 1)
    photo = decode_photo(encoded(palette, transparency=0), "p.png")
    assert photo[0].tolist() == [[255, 255, 255], [40, 50, 60]]
    keyed = encoded(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8), transparency=(1, 2, 3))
    assert decode_photo(keyed, "key.png")[0].tolist() == [[255, 255, 255], [4, 5, 6]]


def test_cmyk() -> None:
    image = Image.fromarray(np.full((16, 16, 3), (200, 100, 50), np.uint8)).convert("CMYK")
    photo = decode_photo(encoded(image, "JPEG", quality=95), "cmyk.jpg")
    assert np.abs(photo.astype(int) - (200, 100, 50)).max() <= 3


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (4, lambda a: a[::-1]),
        (5, lambda a: a.transpose(1, 0, 2)),
        (6, lambda a: np.rot90(a, -1)),
        (7, lambda a: a[::-1, ::-1].transpose(1, 0, 2)),
        (8, lambda a: np.rot90(a)),
    ],
)
def test_exif_orientation(orientation: int, upright: Callable[[Pixels], Pixels]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(decode_photo(encoded(COLOURS, exif=exif), "turned.png"), upright(COLOURS))


def test_content_decides_and_the_suffix_is_told(caplog: pytest.LogCaptureFixture) -> None:
    data = encoded(COLOURS, "JPEG")
    with caplog.at_level(logging.WARNING, "bspa"):
        photo = decode_photo(data, "really_a_jpeg.png")
    assert np.array_equal(photo, np.asarray(Image.open(io.BytesIO(data))))
    assert "really_a_jpeg.png holds a JPEG image; its content decides" in caplog.text


@pytest.mark.parametrize("kind", ["MPO", "TIFF", "WEBP", "PNG"])
def test_several_pictures_are_refused_except_a_cameras(kind: str) -> None:
    pictures = [Image.fromarray(np.full((8, 8, 3), value, np.uint8)) for value in (40, 200, 90)]
    data = encoded(pictures[0], kind, save_all=True, append_images=pictures[1:])
    if kind == "MPO":
        assert (decode_photo(data, "camera.jpg") == 40).all()
    else:
        with pytest.raises(ValueError, match=r"^pages\.x: holds 3 pictures; save the one"):
            decode_photo(data, "pages.x")


@pytest.mark.parametrize("kind", ["GIF", "PPM", "ICO"])
def test_other_formats_are_refused_whatever_their_name(kind: str) -> None:
    with pytest.raises(ValueError, match=r"^photo\.png: is not a PNG, JPEG, WebP, BMP or TIFF image"):
        decode_photo(encoded(COLOURS, kind), "photo.png")


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_32_bits_are_refused(dtype: Any) -> None:
    with pytest.raises(ValueError, match=r"deep\.tif: has 32-bit samples"):
        decode_photo(encoded(np.ones((4, 4), dtype), "TIFF"), "deep.tif")


def test_decompression_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    with pytest.raises(ValueError, match=r"bomb\.png: Image size .* exceeds limit"):
        decode_photo(encoded(Image.new("L", (120, 10))), "bomb.png")


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0, 0.01, 0.3, 0.9])
def test_broken_off_files_are_refused(kind: str, share: float) -> None:
    data = encoded(noise(64, 64), kind)
    with pytest.raises(ValueError, match=r"^broken\.img: "):
        decode_photo(data[: int(share * len(data))], "broken.img")


@pytest.mark.parametrize("lost", [1, 4, 12, 20])
def test_a_png_that_lacks_its_last_bytes_is_refused(lost: int) -> None:
    with pytest.raises(ValueError, match=r"photo\.png: breaks off|photo\.png: .*truncated"):
        decode_photo(encoded(COLOURS)[:-lost], "photo.png")


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")
@settings(max_examples=60, deadline=None)
@given(kind=st.sampled_from(KINDS), data=st.data())
def test_damaged_files_decode_or_are_refused(kind: str, data: st.DataObject) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = bytearray(encoded(COLOURS, kind, **({} if kind == "BMP" else {"exif": exif})))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        photo = decode_photo(bytes(content), "damaged")
    except ValueError as error:
        assert str(error).startswith("damaged: ")  # noqa: PT017
    else:
        assert photo.ndim == photo.shape[2] == 3


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere.png")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name, message in (
        ("gone", "is not there"),
        ("link", r"is a link to nowhere\.png, which is not there"),
        ("folder", "is a folder or a device, not a file"),
        ("pipe", "is a folder or a device, not a file"),
    ):
        with pytest.raises(ValueError, match=f"{name}: {message}"):
            read_photo(tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read any file")
def test_files_without_permission(tmp_path: Path) -> None:
    path = tmp_path / "secret.png"
    path.touch(mode=0)
    with pytest.raises(ValueError, match=r"secret\.png: cannot be read \(Permission denied\)"):
        read_photo(path)
