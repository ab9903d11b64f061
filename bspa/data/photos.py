"""Decode a photograph to RGB, by these rules.

- **Content decides, not the suffix.** A JPEG named ``.png`` is read as the JPEG it is; a warning names it.
- **Depth**: 16-bit samples keep their high byte, v // 256, as libpng and OpenCV do. Other depths above 8
  bits, signed and floating-point samples are refused.
- **Gray and palette** images become RGB; a gray image has three equal channels.
- **Transparency** is shown over white; a warning names the file. An opaque alpha channel changes nothing.
- **Colour**: CMYK becomes RGB by Pillow's plain formula. Colour profiles and gamma are not applied.
- **EXIF orientation** is applied.
- **Several pictures in one file** (animations, pages) are refused, except in JPEG (MPO), where cameras append
  previews and second views: the first picture is the photograph.
- **Truncated files** are refused.
"""

from __future__ import annotations

import io
import logging
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError
from PIL.TiffImagePlugin import ImageFileDirectory_v2

log = logging.getLogger("bspa")

_SUFFIXES = {
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg"),
    "MPO": (".jpg", ".jpeg"),
    "WEBP": (".webp",),
    "BMP": (".bmp",),
    "TIFF": (".tif", ".tiff"),
}
_DECODERS = [kind for kind in _SUFFIXES if kind != "MPO"]  # MPO is found by the decoder of JPEG
_PNG_END = b"IEND\xaeB`\x82"  # the last chunk: its type and checksum

# Pillow refuses a PNG whose colour profile or text is larger than 1 MiB; all texts together may have 64.
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY

TIFF_MARKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _PLANES, _FORMAT = 258, 259, 262, 277, 284, 339


def read_photo(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """Return a photograph as (H, W, 3) uint8 RGB, upright; a ValueError says why it cannot be used."""
    return decode_photo(read_bytes(path), path)


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """Return the content of a file; a ValueError says why it cannot be read."""
    path = Path(path)
    try:
        if path.is_file():
            return path.read_bytes()
        what = "is a folder or a device, not a file" if path.exists() else "is not there"
        if path.is_symlink():
            what = f"is a link to {path.readlink()}, which {what}"
    except OSError as error:
        what = f"cannot be read ({error.strerror or error})"
    raise ValueError(f"{path}: {what}")


def decode_photo(data: bytes, path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """Decode the bytes of a photograph to (H, W, 3) uint8 RGB, upright; ``path`` is for messages.

    Raises:
        ValueError: naming the file: damaged, too large for Pillow's guard against decompression bombs, or not
            a photograph by the rules above.
    """
    path = Path(path)
    try:
        if data.startswith(TIFF_MARKS):
            _check_tiff(data)
        with Image.open(io.BytesIO(data), formats=_DECODERS) as image:
            if path.suffix.lower() not in _SUFFIXES[str(image.format)]:
                log.warning("%s holds a %s image; its content decides, not its suffix", path, image.format)
            frames = getattr(image, "n_frames", 1)
            if frames > 1 and image.format != "MPO":
                raise ValueError(f"holds {frames} pictures; save the one that you want as a file of its own")
            image.load()
            if image.format == "PNG" and _PNG_END not in data:  # which Pillow overlooks
                raise ValueError("breaks off before the end of the PNG file")
            rgb = _to_rgb(ImageOps.exif_transpose(image), path)
            # Of gray TIFFs where 0 is white, Pillow turns those of up to 8 bits round.
            white_is_0 = image.format == "TIFF" and getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == 0
            return 255 - rgb if white_is_0 and image.mode.startswith("I;16") else rgb
    except UnidentifiedImageError as error:
        kinds = "PNG, JPEG, WebP, BMP or TIFF"
        reason = "is empty" if not data else f"is not a {kinds} image by its content, or is damaged"
        if data.startswith(TIFF_MARKS):
            reason = "is a TIFF of a kind that Pillow does not read, or is damaged; save it as 8-bit RGB"
        raise ValueError(f"{path}: {reason}") from error
    except MemoryError:
        raise
    except Exception as error:  # on damaged data Pillow's decoders raise whatever comes to hand
        raise ValueError(f"{path}: {error or type(error).__name__}") from error


def _check_tiff(data: bytes) -> None:
    """Refuse by name the kinds of TIFF that Pillow reads wrongly, or takes for damaged."""
    if data.startswith(b"MM\0+"):
        raise ValueError("is a big-endian BigTIFF; save it as a plain TIFF")
    file = io.BytesIO(data)
    tags = ImageFileDirectory_v2(file.read(16 if data.startswith(b"II+") else 8))
    try:
        file.seek(tags.next)
        tags.load(file)
        bits, forms = tags.get(_BITS, (1,)), tags.get(_FORMAT, (1,))
        samples = tags.get(_SAMPLES, 1)
    except Exception:  # a damaged file, about which Pillow has the word
        return
    names = {2: "signed", 3: "floating-point", 5: "complex", 6: "complex"}
    kind = next((f" ({names[form]})" for form in forms if form in names), "")
    if kind or len(set(bits)) > 1 or bits[0] not in (1, 2, 4, 8, 16):
        sizes = " and ".join(str(size) for size in sorted(set(bits)))
        raise ValueError(f"has {sizes}-bit samples{kind}; save it with 8 or 16 bits a sample, unsigned")
    if tags.get(_PHOTOMETRIC) in (0, 1) and samples > 2:
        raise ValueError(
            f"says that it is gray, but has {samples} samples a pixel; save it as RGB, or as gray"
        )
    if bits[0] == 16 and tags.get(_PHOTOMETRIC) == 0 and data.startswith(b"MM"):
        raise ValueError("has 16-bit gray samples where 0 is white, big-endian; save it with 0 as black")
    if bits[0] == 16 and samples > 1 and tags.get(_PLANES, 1) == 2 and tags.get(_COMPRESSION, 1) == 1:
        raise ValueError("has 16-bit samples in separate planes; save it with interleaved samples")


def _to_rgb(image: Image.Image, path: Path) -> NDArray[np.uint8]:
    if image.mode.startswith("I;16"):
        gray = (np.asarray(image) >> 8).astype(np.uint8)
        return np.repeat(gray[:, :, None], 3, axis=2)
    if image.mode in ("I", "F"):
        raise ValueError("has 32-bit samples; save it with 8 or 16 bits a sample")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema() != (255, 255):
            log.warning("%s has transparent parts; they are shown over white", path)
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"))  # a copy, since Pillow's own buffer is read-only
