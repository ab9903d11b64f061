"""Show what bicubic interpolation and networks make of the same pictures, side by side.

    bspa compare a.safetensors b.safetensors --on photos/
    bspa compare a.safetensors b.safetensors --on LR/ --hr HR/
    bspa compare a.safetensors --on photos/ --from-hr -o page.html

The first enlarges the photographs of a folder. The second also scores the results, PSNR and SSIM, against
originals of the same names. The third takes the photographs as originals and makes the LR images itself, as
MATLAB's bicubic imresize does. Where a folder holds pairs, NAME_LR.png and NAME_HR.png, --hr is not needed.

MODEL is a file of this workflow, or any that spandrel reads. The page, comparison.html, has a table of the
scores, and for each picture a slider between any two columns. It is one file, which works offline. Of a large
picture it shows the part where the columns differ most; see --crop. Scores are of whole pictures.
"""

from __future__ import annotations

import argparse
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

HR = "HR"
BICUBIC = "bicubic"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the subcommand to its parser."""
    parser.add_argument("models", nargs="+", metavar="MODEL", help="files of networks of one scale")
    parser.add_argument("--on", required=True, metavar="FOLDER", help="LR photographs (HR with --from-hr)")
    originals = parser.add_mutually_exclusive_group()
    originals.add_argument("--hr", metavar="FOLDER", help="originals of the same names")
    originals.add_argument(
        "--from-hr", action="store_true", help="make LR from the photographs, the originals"
    )
    parser.add_argument("-o", "--output", default="comparison.html", metavar="PAGE", help="%(default)s")
    parser.add_argument(
        "--crop",
        type=int,
        default=512,
        metavar="PIXELS",
        help="largest side of what is shown of a picture, enlarged; 0: all of it (default: %(default)s)",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: %(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Run the subcommand."""
    options = {name: value for name, value in vars(arguments).items() if name not in ("models", "on", "run")}
    compare(arguments.models, arguments.on, **options)
    return 0


def compare(
    models: Sequence[str | os.PathLike[str]],
    on: str | os.PathLike[str],
    *,
    hr: str | os.PathLike[str] | None = None,
    from_hr: bool = False,
    output: str | os.PathLike[str] = "comparison.html",
    crop: int = 512,
    device: str = "auto",
) -> dict[str, dict[str, dict[str, float]]]:
    """Write the page, print the scores, and return them.

    Args:
        models: files of networks of one scale, see `bspa.models.upscalers.load_upscaler`; bicubic
            interpolation is always compared, too.
        on: folder of LR photographs, of pairs, or with ``from_hr`` of HR photographs.
        hr: folder of originals, found by name: ``a.png`` or ``a_HR.png`` for ``a.jpg``, ``a_LR.png`` or
            ``ax4.png``.
        from_hr: whether to make the LR images from the photographs, the originals.
        output: the page.
        crop: largest side of what is shown of a picture, in HR pixels; 0: the whole picture.
        device: as ``compute.device`` of the config.

    Returns:
        Picture -> column -> ``psnr`` (dB) and ``ssim``; pictures without an original are left out.

    Raises:
        ValueError: models of several scales, no photographs, no originals for them, or one of a wrong size.
    """
    from functools import partial

    from bspa.data.photos import read_photo
    from bspa.data.resize import imresize
    from bspa.figures.comparison import compared, comparison_page, cut_to_scale, means, score_text
    from bspa.models.inference import super_resolve
    from bspa.models.upscalers import load_upscaler
    from bspa.system.devices import choose_device
    from bspa.system.files import write_text

    if crop < 0:
        raise ValueError(f"--crop is {crop}; allowed: 0, the whole picture, or a number of pixels")
    networks = {name: load_upscaler(path) for name, path in _columns(models).items()}
    scales = {name: int(str(network.scale)) for name, network in networks.items()}
    if len(set(scales.values())) != 1:
        found = ", ".join(f"{name} x{scale}" for name, scale in scales.items()) or "no model"
        raise ValueError(f"networks of one scale can be compared; found: {found}")
    scale = next(iter(scales.values()))
    files = _files(Path(on), Path(hr) if hr else None, from_hr)
    where = choose_device(device)

    columns: dict[str, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
        BICUBIC: lambda lr: imresize(lr, scale),
        **{name: partial(super_resolve, network, device=where) for name, network in networks.items()},
    }
    pictures = []
    for name, (lr_file, hr_file) in files.items():
        original = cut_to_scale(read_photo(hr_file), scale, hr_file) if hr_file else None
        if lr_file is None:
            assert original is not None, "a picture has at least one file"
            lr = imresize(original, 1 / scale)
        else:
            lr = read_photo(lr_file)
        images = {column: enlarge(lr) for column, enlarge in columns.items()}
        scores: dict[str, dict[str, float]] = {}
        if original is not None:
            if original.shape != images[BICUBIC].shape:
                raise ValueError(
                    f"{hr_file}: {_size(original)} pixels, cut to a multiple of {scale}, but {lr_file} "
                    f"enlarged by {scale} has {_size(images[BICUBIC])}"
                )
            scores = {column: _score(image, original, scale) for column, image in images.items()}
            images[HR] = original
        pictures.append(compared(name, images, scores, crop))
        found = ", ".join(f"{column} {score_text(values)}" for column, values in scores.items())
        print(f"{name}: {found or 'no original'}", flush=True)
    for column, values in means(pictures).items():
        print(f"mean of {column}: {score_text(values)}")
    folder = "/".join(Path(on).resolve().parts[-2:])
    write_text(output, comparison_page(pictures, f"Super-resolution x{scale} on {folder}"))
    print(f"written: {output}")
    return {p.name: {c: dict(v) for c, v in p.scores.items()} for p in pictures if p.scores}


def _columns(models: Sequence[str | os.PathLike[str]]) -> dict[str, Path]:
    """Name each model by its file, and by its folders too where files have the same name."""
    paths = [Path(model) for model in models if str(model) != BICUBIC]
    for depth in range(1, max((len(path.parts) for path in paths), default=0) + 1):
        names = ["/".join(path.with_suffix("").parts[-depth:]) for path in paths]
        if len(set(names)) == len(names) and not {HR, BICUBIC} & set(names):
            break
    twice = [name for name, count in Counter(names if paths else []).items() if count > 1]
    if twice:
        raise ValueError(f"{twice[0]}: named twice; each model is one column")
    return dict(zip(names, paths, strict=True)) if paths else {}


def _files(on: Path, hr: Path | None, from_hr: bool) -> dict[str, tuple[Path | None, Path | None]]:
    """Find the LR and HR file of each picture, by name."""
    from bspa.data.sources import list_files

    photos = {file.id: file.path for file in list_files("folder", path=on)}
    lr_named = _named(photos, "LR")
    hr_named = _named(photos, "HR")
    if from_hr:
        return {name: (None, path) for name, path in (hr_named or photos).items()}
    if hr is None:
        pairs = bool(lr_named and hr_named)
        return {name: (path, hr_named.get(name)) for name, path in (lr_named if pairs else photos).items()}
    originals = {file.id: file.path for file in list_files("folder", path=hr)}
    originals |= _named(originals, "HR")
    found: dict[str, tuple[Path | None, Path | None]] = {}
    for name, path in (lr_named or photos).items():
        plain = re.sub(r"x\d+$", "", name)  # as DIV2K names its LR files
        found[name] = (path, originals.get(name, originals.get(plain)))
    if not any(original for _, original in found.values()):
        raise ValueError(
            f"{hr}: no photograph has the name of one in {on}; found {next(iter(originals))!r}, expected "
            f"{next(iter(found))!r}"
        )
    return found


def _named(photos: Mapping[str, Path], kind: str) -> dict[str, Path]:
    """Take the photographs whose names end in ``_LR`` or ``_HR``, by the names without it."""
    end = f"_{kind}"
    return {name.removesuffix(end): path for name, path in photos.items() if name.endswith(end)}


def _size(image: NDArray[Any]) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"


def _score(sr: NDArray[np.uint8], hr: NDArray[np.uint8], scale: int) -> dict[str, float]:
    """Measure on Y, as many pixels as the scale cut; NaN where the picture is too small."""
    from bspa.metrics.borders import UnmeasurableError
    from bspa.metrics.psnr import psnr_y
    from bspa.metrics.ssim import ssim_y

    scores = {}
    for name, measure in (("psnr", psnr_y), ("ssim", ssim_y)):
        try:
            scores[name] = measure(sr, hr, scale)
        except UnmeasurableError:
            scores[name] = float("nan")
    return scores
