"""Pictures as a user has them: read for enlarging, and written with what they came with.

Unlike `bspa.data.photos`, which reads photographs to train on, nothing is lost here: 16-bit samples, gray,
transparency, the colour profile and EXIF's entries are kept. EXIF's orientation is applied and its tag reset.
"""

from __future__ import annotations

import dataclasses
import io
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import png
import tifffile
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from bspa.data.photos import TIFF_MARKS, read_bytes
from bspa.system.parallel import map_in_order

Samples = NDArray[Any]  # uint8 or uint16

JPEG_QUALITY = 95
"""Also of WebP and AVIF."""

PNG_STRIPE = 1 << 20
"""Bytes of samples that are compressed at a time."""

WRITTEN = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".avif")
"""Suffixes of files that `write_picture` can write."""

READ = (*WRITTEN, ".heic", ".heif")
"""Suffixes of files that `read_picture` can read; the last two with the package pillow-heif."""

_LAYOUT = {
    *range(254, 267), 273, 274, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325, 330, 338, 339, 347,
    529, 530, 531, 532, 34675,
}  # fmt: skip
"""Entries of a TIFF, and so of EXIF, that say how samples lie in a file: orientation, strips, profile."""

_FOLDERS = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
"""Entries that say where further ones lie."""

_ORIENTED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
    8: lambda a: a.swapaxes(0, 1)[::-1],
}
"""EXIF's orientation -> how an array of pixels becomes upright."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A picture and what it came with."""

    rgb: Samples
    """(h, w, 3); uint8, or uint16 for 16-bit files. Of gray pictures, three equal channels."""
    alpha: Samples | None = None
    """(h, w), of the same samples; None: opaque."""
    gray: bool = False
    """The file has no colour."""
    profile: bytes | None = None
    """ICC profile."""
    exif: bytes | None = None
    """EXIF's entries, without the orientation."""

    def with_pixels(self, rgb: Samples, alpha: Samples | None) -> Picture:
        """Return a picture of other pixels that came with the same things."""
        return dataclasses.replace(self, rgb=rgb, alpha=alpha)


def read_picture(path: str | os.PathLike[str]) -> Picture:
    """Read a picture, upright.

    Raises:
        ValueError: naming the file: no picture, damaged, several pictures, or of a kind that is not kept.
    """
    path, data = Path(path), read_bytes(path)
    _register_heif()
    try:
        if (
            deep := _read_deep_tiff(data) if data.startswith(TIFF_MARKS) else _read_deep_png(data)
        ) is not None:
            return deep
        with Image.open(io.BytesIO(data)) as image:
            _refuse_several(getattr(image, "n_frames", 1) if image.format != "MPO" else 1)
            image.load()
            return _from_pillow(image)
    except UnidentifiedImageError as error:
        more = " (HEIC needs the package pillow-heif)" if path.suffix.lower() in (".heic", ".heif") else ""
        raise ValueError(f"{path}: is no picture that can be read, or is damaged{more}") from error
    except MemoryError:
        raise
    except Exception as error:  # on damaged data decoders raise whatever comes to hand
        raise ValueError(f"{path}: {error or type(error).__name__}") from error


def _register_heif() -> None:
    try:
        import pillow_heif  # an extra
    except ImportError:
        return
    pillow_heif.register_heif_opener()


def _from_pillow(image: Image.Image) -> Picture:
    profile = None if image.mode == "CMYK" else image.info.get("icc_profile")
    upright = ImageOps.exif_transpose(image)
    given = {"profile": profile, "exif": _entries(image.getexif())}
    if upright.mode in ("I", "F") or upright.mode.startswith("I;32"):
        raise ValueError("has 32-bit samples; save it with 8 or 16 bits a sample")
    if upright.mode.startswith("I;16"):
        samples = np.array(upright).astype(np.uint16)
        return Picture(_three(samples), None, gray=True, **given)
    gray = upright.mode in ("1", "L", "LA", "La")
    if upright.has_transparency_data:
        rgba = np.array(upright.convert("RGBA"))
        alpha = rgba[:, :, 3]
        return Picture(rgba[:, :, :3], None if alpha.min() == 255 else alpha, gray=gray, **given)
    return Picture(np.array(upright.convert("RGB")), None, gray=gray, **given)


def _entries(exif: Image.Exif) -> bytes | None:
    """Return EXIF's entries less those about the file that they were read from."""
    for tag in _LAYOUT & set(exif):
        del exif[tag]
    return exif.tobytes() if exif else None


def _three(gray: Samples) -> Samples:
    return np.repeat(gray[:, :, None], 3, axis=2)


def _refuse_several(pictures: int) -> None:
    if pictures > 1:
        raise ValueError(f"holds {pictures} pictures (an animation, or pages); save the one that you want")


def _read_deep_png(data: bytes) -> Picture | None:
    """Read a PNG of 16-bit samples, which Pillow cuts to 8 bits; None for other files."""
    # The bit depth stands at byte 24, in the first chunk.
    if not data.startswith(b"\x89PNG\r\n\x1a\n") or data[24:25] != b"\x10":
        return None
    with Image.open(io.BytesIO(data)) as image:
        _refuse_several(getattr(image, "n_frames", 1))
        exif, profile = image.getexif(), image.info.get("icc_profile")
    width, height, rows, _ = png.Reader(bytes=data).read()
    samples = np.vstack([np.frombuffer(row, np.uint16) for row in rows]).reshape(height, width, -1)
    orientation = exif.get(ExifTags.Base.Orientation, 1)
    return _deep(samples, orientation, profile=profile, exif=_entries(exif))


def _read_deep_tiff(data: bytes) -> Picture | None:
    """Read a TIFF of 16-bit samples, of which Pillow reads few rightly; None for other files."""
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        _refuse_several(len(file.pages))
        page = file.pages.first
        if page.dtype != np.uint16:
            return None
        samples = page.asarray()
        if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and samples.ndim == 3:
            samples = np.moveaxis(samples, 0, 2)
        if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
            samples = 65535 - samples
        orientation = page.tags.valueof(int(ExifTags.Base.Orientation), 1)
        exif = Image.Exif()
        if not file.is_bigtiff:
            exif.load_from_fp(io.BytesIO(data))
        samples = samples.reshape(*samples.shape[:2], -1)
        return _deep(samples, orientation, profile=page.iccprofile, exif=_entries(exif))


def _deep(
    samples: Samples, orientation: int, *, profile: bytes | None = None, exif: bytes | None = None
) -> Picture:
    samples = _ORIENTED.get(orientation, _ORIENTED[1])(samples)
    gray, channels = samples.shape[2] < 3, samples.shape[2]
    if channels > 4:
        raise ValueError(f"has {channels} channels; allowed: gray or RGB, with or without transparency")
    rgb = _three(samples[:, :, 0]) if gray else np.ascontiguousarray(samples[:, :, :3])
    alpha = np.ascontiguousarray(samples[:, :, -1]) if channels in (2, 4) else None
    opaque = alpha is not None and alpha.min() == 65535
    return Picture(rgb, None if opaque else alpha, gray=gray, profile=profile, exif=exif)


def fill_transparent(picture: Picture) -> Samples:
    """Return the colours with those of invisible pixels taken from the nearest visible one.

    What stands in invisible pixels, often black, would bleed into their neighbours when they are enlarged.
    """
    if picture.alpha is None:
        return picture.rgb
    hidden = picture.alpha == 0
    if not hidden.any() or hidden.all():
        return picture.rgb
    from scipy import ndimage  # half of the time that this module takes to load

    rows, columns = ndimage.distance_transform_edt(hidden, return_distances=False, return_indices=True)
    return picture.rgb[rows, columns]


def write_picture(picture: Picture, path: str | os.PathLike[str]) -> list[str]:
    """Write a picture as its suffix says; return what the format could not keep.

    PNG and TIFF keep all; WebP and AVIF 8 bits; JPEG and BMP no transparency, which is shown over white.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in WRITTEN:
        raise ValueError(
            f"{path}: cannot write {suffix or 'a file without suffix'}; allowed: {', '.join(WRITTEN)}"
        )
    if suffix in (".png", ".tif", ".tiff"):
        (_write_png if suffix == ".png" else _write_tiff)(picture, path)
        return []
    lost = []
    if picture.alpha is not None and suffix in (".jpg", ".jpeg", ".bmp"):
        picture = _over_white(picture)
        lost.append("transparent parts are shown over white")
    if picture.rgb.dtype == np.uint16:
        lost.append("16-bit samples are rounded to 8 bits")
        picture = picture.with_pixels(
            _to_8_bits(picture.rgb), None if picture.alpha is None else _to_8_bits(picture.alpha)
        )
    image = Image.fromarray(_channels(picture).squeeze())
    options: dict[str, Any] = {"icc_profile": picture.profile}
    if suffix == ".bmp":
        options = {}
    elif picture.exif:
        options["exif"] = picture.exif
    if suffix in (".jpg", ".jpeg", ".webp", ".avif"):
        options["quality"] = JPEG_QUALITY
    image.save(path, **options)
    return lost


def _channels(picture: Picture) -> Samples:
    """(h, w, c): one or three channels of colour, and alpha."""
    colour = picture.rgb[:, :, :1] if picture.gray else picture.rgb
    return colour if picture.alpha is None else np.dstack([colour, picture.alpha])


def _over_white(picture: Picture) -> Picture:
    white = np.iinfo(picture.rgb.dtype).max
    assert picture.alpha is not None
    share = picture.alpha[:, :, None].astype(np.float32) / white
    shown = np.rint(picture.rgb * share + white * (1 - share)).astype(picture.rgb.dtype)
    return picture.with_pixels(shown, None)


def _to_8_bits(samples: Samples) -> NDArray[np.uint8]:
    return ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _write_png(picture: Picture, path: Path) -> None:
    """Write a PNG of 8 or 16 bits, compressed in stripes of rows on all cores.

    Pillow, on one core and with 8 bits only, takes as long to write a large picture as a small network to
    make it. Every row has the filter "up", each byte less the one above it, which suits enlarged pictures:
    their files are smaller than with filters chosen row by row.
    """
    samples = _channels(picture)
    height, width, channels = samples.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    bits = 8 * samples.itemsize
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([bits, kind, 0, 0, 0])
    step = max(1, PNG_STRIPE // (width * channels * samples.itemsize))

    def compress(first: int) -> tuple[NDArray[np.uint8], bytes]:
        rows = samples[max(0, first - 1) : first + step].astype(samples.dtype.newbyteorder(">"))
        seen = rows.view(np.uint8).reshape(len(rows), -1)
        if first == 0:
            seen = np.vstack([np.zeros_like(seen[:1]), seen])
        filtered = np.insert(np.diff(seen, axis=0), 0, 2, axis=1)
        stream = zlib.compressobj(4, wbits=-zlib.MAX_WBITS)
        end = zlib.Z_FINISH if first + step >= height else zlib.Z_SYNC_FLUSH
        return filtered, stream.compress(filtered.data) + stream.flush(end)

    def chunks() -> Iterator[tuple[bytes, bytes]]:
        yield b"IHDR", header
        if picture.profile:
            yield b"iCCP", b"ICC profile\0\0" + zlib.compress(picture.profile)
        if picture.exif:
            yield b"eXIf", picture.exif.removeprefix(b"Exif\0\0")
        yield b"IDAT", b"\x78\x5e"  # zlib's header; its checksum comes last
        checksum = 1
        cores = len(os.sched_getaffinity(0))
        for filtered, stripe in map_in_order(compress, range(0, height, step), threads=cores):
            checksum = zlib.adler32(filtered.data, checksum)
            yield b"IDAT", stripe
        yield b"IDAT", checksum.to_bytes(4, "big")
        yield b"IEND", b""

    with path.open("wb") as file:
        png.write_chunks(file, chunks())


def _write_tiff(picture: Picture, path: Path) -> None:
    samples = _channels(picture)
    exif = Image.Exif()
    exif.load(picture.exif or b"")
    folders = {tag: entries for tag in _FOLDERS if (entries := exif.get_ifd(tag))}
    texts = [(tag, "s", 0, text, True) for tag, text in exif.items() if isinstance(text, str)]
    tifffile.imwrite(
        path,
        samples if samples.shape[2] > 1 else samples[:, :, 0],
        byteorder="<",
        photometric="minisblack" if picture.gray else "rgb",
        planarconfig="contig" if samples.shape[2] > 1 else None,
        extrasamples=None if picture.alpha is None else ["unassalpha"],
        compression="zlib",
        predictor=True,
        rowsperstrip=64,
        iccprofile=picture.profile,
        metadata=None,
        software=False,
        resolution=(float(exif.get(282, 1)), float(exif.get(283, 1))),
        resolutionunit=exif.get(296, 1),
        # tifffile refuses these tags, so the ones before them hold their places.
        extratags=[*texts, *((tag - 1, "I", 1, 0, True) for tag in folders)],
    )
    for tag, entries in folders.items():
        folder = ImageFileDirectory_v2(b"II*\0\0\0\0\0", group=tag)
        folder.update({key: value for key, value in entries.items() if key != ExifTags.IFD.Interop})
        with tifffile.TiffFile(path) as tiff:
            place = tiff.pages.first.tags[tag - 1].offset
        with path.open("r+b") as file:
            start = file.seek(0, os.SEEK_END)
            file.write(folder.tobytes(start))
            file.seek(place)
            file.write(struct.pack("<HHII", tag, 4, 1, start))  # 4: a whole number of 32 bits
