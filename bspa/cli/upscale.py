"""Enlarge pictures with a trained network.

    bspa upscale results/models/edsr_mini_x4_bspa_seed0.safetensors photo.jpg -o large
    bspa upscale model.safetensors ~/Pictures/2009 scan.tif -o large --format png

Folders are searched with their subfolders, which the output has too. Pictures that are there already are
skipped, so a run that was stopped goes on. 16-bit pictures, gray, transparency, colour profiles and EXIF's
entries are kept where the format can. MODEL is a file of this workflow, or any that spandrel reads.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from bspa.data.pictures import Picture

log = logging.getLogger("bspa")

FORMATS = ("png", "jpg", "webp", "tif", "bmp", "avif")


@dataclass(frozen=True, slots=True)
class Upscaled:
    """What became of the pictures."""

    written: list[Path] = field(default_factory=list)
    skipped: list[Path] = field(default_factory=list)
    """Were there already."""
    failed: dict[Path, str] = field(default_factory=dict)
    """Picture -> what is wrong with it."""


def upscale_files(
    model: str | os.PathLike[str],
    inputs: Iterable[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    tile: int | Literal["auto"] | None = "auto",
    device: str = "auto",
    precision: str = "float32",
    output_format: str | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int, Path], None] | None = None,
) -> Upscaled:
    """Enlarge pictures into a folder, each as a whole file or not at all.

    Args:
        model: file of a network; see `bspa.models.upscalers.load_upscaler`.
        inputs: pictures, and folders of pictures, whose subfolders the output has too.
        output: folder to write into; made if it is not there.
        tile: side of tiles in LR pixels; see `bspa.super_resolve`.
        device: ``auto`` (CUDA where there is one), ``cpu``, ``cuda`` or ``cuda:N``.
        precision: of the network: ``float32``, ``bfloat16``, or ``auto``.
        output_format: one of `FORMATS`; None: that of each picture, PNG for HEIC.
        overwrite: make pictures again that are there already.
        progress: is told pictures done, pictures in all, and the picture that comes next.

    Returns:
        What was written, skipped, and failed: a picture that cannot be read does not stop the others.

    Raises:
        ValueError: no pictures, two that would become the same file, or a model that cannot be used.
    """
    if output_format is not None and output_format not in FORMATS:
        raise ValueError(f"--format: {output_format!r}; allowed: {', '.join(FORMATS)}")
    targets = plan_outputs(
        [Path(name).expanduser() for name in inputs], Path(output).expanduser(), output_format
    )
    pending = {source: target for source, target in targets.items() if overwrite or not target.exists()}
    result = Upscaled(skipped=[target for target in targets.values() if target not in pending.values()])
    if not pending:
        return result

    from bspa.data.pictures import read_picture, write_picture
    from bspa.system.files import atomic_path

    enlarge = _enlarger(model, device=device, precision=precision, tile=tile)

    def write(picture: Picture, target: Path) -> None:
        with atomic_path(target) as temporary:
            for lost in write_picture(picture, temporary):
                log.warning("%s: %s", target, lost)

    @contextmanager
    def noted(source: Path) -> Iterator[None]:
        try:
            yield
        except (ValueError, OSError, MemoryError) as error:
            result.failed[source] = str(error) or type(error).__name__

    def finish(source: Path, target: Path, writing: Future[None]) -> None:
        with noted(source):
            writing.result()
            result.written.append(target)

    # A picture is written while the network works on the next one.
    with ThreadPoolExecutor(1) as writer:
        unfinished: list[tuple[Path, Path, Future[None]]] = []
        for done, (source, target) in enumerate(pending.items()):
            if progress:
                progress(done, len(pending), source)
            with noted(source):
                large = enlarge(read_picture(source))
                while unfinished:
                    finish(*unfinished.pop())
                unfinished.append((source, target, writer.submit(write, large, target)))
        while unfinished:
            finish(*unfinished.pop())
    if progress:
        progress(len(pending), len(pending), source)
    return result


def plan_outputs(inputs: Sequence[Path], output: Path, output_format: str | None) -> dict[Path, Path]:
    """Map each picture to the file that it becomes.

    Raises:
        ValueError: an input is not there, a folder has no pictures, two pictures would become the same file,
            or one would overwrite a picture.
    """
    from bspa.data.pictures import READ, WRITTEN

    found: dict[Path, Path] = {}
    for given in inputs:
        if given.is_dir():
            pictures = [
                file
                for file in sorted(given.rglob("*"))
                if file.suffix.lower() in READ
                and file.is_file()
                and not any(part.startswith(".") for part in file.relative_to(given).parts)
                and not (output.resolve() != given.resolve() and output.resolve() in file.resolve().parents)
            ]
            if not pictures:
                raise ValueError(f"{given}: has no pictures ({', '.join(READ)})")
            found |= {file: output / file.relative_to(given) for file in pictures}
        elif given.exists():
            found[given] = output / given.name
        else:
            raise ValueError(f"{given}: is not there")
    sources_of: dict[str, list[Path]] = {}
    for source, target in found.items():
        suffix = (
            f".{output_format}"
            if output_format
            else target.suffix
            if target.suffix.lower() in WRITTEN
            else ".png"
        )
        found[source] = target = target.with_suffix(suffix)
        sources_of.setdefault(str(target).casefold(), []).append(source)
    for sources in sources_of.values():
        if len(sources) > 1:
            names = " and ".join(map(str, sources))
            raise ValueError(f"{names} would become the same file, {found[sources[0]]}; give them apart")
    originals = {source.resolve() for source in found}
    for source, target in found.items():
        if target.resolve() in originals:
            raise ValueError(f"{source}: {target} is one of the pictures; choose another output folder")
    return found


def _enlarger(
    model: str | os.PathLike[str], *, device: str, precision: str, tile: int | Literal["auto"] | None
) -> Callable[[Picture], Picture]:
    """Load the network; return what enlarges a picture with it."""
    import torch

    from bspa.models.inference import super_resolve
    from bspa.models.precision import choose_precision
    from bspa.models.upscalers import load_upscaler
    from bspa.system.devices import keep_freed_memory

    network = load_upscaler(model)
    try:
        where = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
        if where.type == "cuda":
            torch.zeros(1, device=where)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"--device: {device!r}: {error}") from error
    if where.type == "cpu":
        keep_freed_memory()
    chosen = choose_precision(precision, where)
    autocast = chosen.autocast if chosen.name == "bfloat16" else nullcontext
    return partial(
        enlarge_picture, partial(super_resolve, network, device=where, autocast=autocast, tile=tile)
    )


def enlarge_picture(upscale: Callable[..., object], picture: Picture) -> Picture:
    """Enlarge a picture: colours by ``upscale``, transparency by bicubic interpolation; gray stays gray."""
    import numpy as np

    from bspa.data.pictures import fill_transparent
    from bspa.data.resize import imresize

    rgb = np.asarray(upscale(fill_transparent(picture)))
    if picture.gray:
        for row in rgb:  # row by row, since a float copy of a large picture takes gigabytes
            row[:] = np.rint(row.mean(axis=1, dtype=np.float32))[:, None]
    alpha = picture.alpha
    if alpha is not None:
        scale, white = rgb.shape[0] // alpha.shape[0], np.iinfo(alpha.dtype).max
        smooth = imresize(alpha.astype(np.float32) / white, scale)
        alpha = np.rint(np.clip(smooth, 0, 1) * white).astype(alpha.dtype)
    return picture.with_pixels(rgb, alpha)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the subcommand to its parser."""
    parser.add_argument("model", metavar="MODEL", help="file of a trained network")
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="pictures, and folders of pictures")
    parser.add_argument("-o", "--output", required=True, metavar="FOLDER", help="folder to write into")
    parser.add_argument(
        "--tile", type=_tile, default="auto", help="side of tiles in LR pixels, auto, or none"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: %(default)s)")
    precisions = ("float32", "bfloat16", "auto")
    parser.add_argument("--precision", choices=precisions, default="float32", help="default: %(default)s")
    parser.add_argument(
        "--format", dest="output_format", choices=FORMATS, help="default: that of each picture"
    )
    parser.add_argument("--overwrite", action="store_true", help="make pictures again that are there already")


def _tile(text: str) -> int | str | None:
    if text in ("auto", "none"):
        return None if text == "none" else text
    if not text.isdecimal() or int(text) < 16:
        raise argparse.ArgumentTypeError(f"{text!r}; allowed: auto, none, or a number from 16")
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    """Run the subcommand; return 1 if a picture failed."""
    values = {name: value for name, value in vars(arguments).items() if name not in ("run", "inputs")}
    bar = _Bar() if sys.stderr.isatty() else None
    result = upscale_files(inputs=arguments.inputs, progress=bar, **values)
    counts = (
        f"{len(result.written)} written, {len(result.skipped)} there already, {len(result.failed)} failed"
    )
    print(f"{arguments.output}: {counts}")
    for source, reason in result.failed.items():
        print(f"failed: {reason if str(source) in reason else f'{source}: {reason}'}", file=sys.stderr)
    return int(bool(result.failed))


class _Bar:
    """A line of progress on the terminal, with the time left."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def __call__(self, done: int, total: int, source: Path) -> None:
        from bspa.system.progress import duration

        width = 24
        left = (time.monotonic() - self._started) / done * (total - done) if done else None
        rest = "" if left is None else f", {duration(left)} left"
        bar = ("#" * (width * done // total)).ljust(width, ".")
        name = "" if done == total else f" {source.name}"
        print(f"\r\033[K[{bar}] {done}/{total}{rest}{name}", end="", file=sys.stderr, flush=True)
        if done == total:
            print(file=sys.stderr)
