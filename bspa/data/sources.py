"""List the photographs of a source: exactly those that will be read. Standard library only."""

from __future__ import annotations

import difflib
import functools
import logging
import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from bspa.system.files import user_path

log = logging.getLogger("bspa")

PHOTO_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
"""Suffixes of photographs, in lower case; capitals are accepted too."""

_BUILTIN_FILES = (
    "astronaut.png", "brick.png", "camera.png", "cell.png", "chelsea.png", "clock_motion.png", "coffee.png",
    "coins.png", "grass.png", "gravel.png", "hubble_deep_field.jpg", "ihc.png", "moon.png",
    "motorcycle_left.png", "motorcycle_right.png", "page.png", "retina.jpg", "rocket.jpg", "text.png",
)  # fmt: skip
BUILTIN_PHOTOS = {Path(name).stem: name for name in _BUILTIN_FILES}
"""Files of the photographs in scikit-image's wheel by name; without its drawings, masks and tiny samples."""

_SHOWN_PROBLEMS = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class PhotoFile:
    """A photograph of a source, or an HR/LR pair; not opened yet."""

    id: str
    path: Path
    """The photograph, or the HR file of a pair."""
    scale: int | None = None
    """Scale of a pair."""
    lr_path: Path | None = None
    """LR file of a pair."""


def list_files(
    kind: str,
    *,
    photos: Sequence[str] = tuple(BUILTIN_PHOTOS),
    path: str | os.PathLike[str] = ".",
    hr: str | None = None,
    lr: str | None = None,
    scales: Sequence[int] = (),
) -> list[PhotoFile]:
    """List the photographs of a source, sorted by id and scale, without opening any.

    Args:
        kind: ``builtin`` (photographs inside scikit-image's wheel) or ``folder`` (the user's own files).
        photos: names out of `BUILTIN_PHOTOS`. For ``builtin``.
        path: folder of the photographs. Subfolders count only where a pattern names them; files with a
            leading dot or without one of `PHOTO_SUFFIXES` are ignored. For ``folder``, as all that follow.
        hr: pattern of the names within the folder, such as ``*_HR.png``; None takes every photograph. ``*``
            matches any part of a name, ``**/`` any subfolders, linked ones too. The suffix counts in any
            case, and a final ``*`` matches it too. The id is what the stars match.
        lr: pattern of given LR files, paired with HR files by id; None if LR is to be made.
        scales: scales of the pairs. ``path``, ``hr`` and ``lr`` may hold ``{scale}``.

    Raises:
        ValueError: there are no photographs, files have the same id, or pairs are incomplete.
    """
    if kind == "builtin":
        return _list_builtin(photos)
    folder = str(user_path(path))
    if lr is not None:
        return _list_pairs(folder, hr, lr, scales)
    for key, value in (("path", folder), ("hr", hr)):
        if value is not None and "{scale}" in value:
            raise ValueError(f"{key} is {value!r}: {{scale}} is for given pairs, which need `lr` too")
    files = _list_folder(Path(folder), "*" if hr is None else hr)
    small = [name for name in files if name[:-2] in files and name[-2:] in ("x2", "x3", "x4", "x8")]
    if small:
        shown = ", ".join(small[:4])
        log.warning(
            "folder %s: %d photographs look like LR images of others, but count as photographs: %s; patterns "
            "hr and lr make pairs of them", folder, len(small), shown,
        )  # fmt: skip
    return [PhotoFile(id=name, path=file) for name, file in files.items()]


def refuse(what: str, problems: Sequence[str]) -> None:
    """Raise a ValueError that names all problems, up to 20 of them, if there are any."""
    if problems:
        more = len(problems) - _SHOWN_PROBLEMS
        lines = [*problems[:_SHOWN_PROBLEMS], *([f"... and {more} more"] if more > 0 else [])]
        raise ValueError("\n  ".join([f"{what}:", *lines]))


def _list_builtin(photos: Sequence[str]) -> list[PhotoFile]:
    problems = []
    for name in photos:
        if name not in BUILTIN_PHOTOS:
            near = difflib.get_close_matches(name, BUILTIN_PHOTOS, n=1)
            meant = f"did you mean {near[0]}?" if near else f"allowed: {', '.join(BUILTIN_PHOTOS)}"
            problems.append(f"{name!r} is not a photograph of scikit-image; {meant}")
    refuse("photos", problems)
    package = find_spec("skimage")  # importing it would take a second
    assert package, "scikit-image is a dependency"
    assert package.origin, "it is a package of files"
    data = Path(package.origin).parent / "data"
    return [PhotoFile(id=name, path=data / BUILTIN_PHOTOS[name]) for name in sorted(set(photos))]


def _list_pairs(folder: str, hr: str | None, lr: str, scales: Sequence[int]) -> list[PhotoFile]:
    if hr is None:
        raise ValueError(f"lr is {lr!r} without hr; give both patterns, or neither")
    if len(scales) > 1 and "{scale}" not in folder + lr:
        raise ValueError(
            f"path {folder!r} and lr {lr!r} name the same LR files for every scale of {list(scales)}; "
            "put {scale} where they differ"
        )
    pairs, problems = [], []
    for scale in sorted(scales):
        place, *patterns = (text.replace("{scale}", str(scale)) for text in (folder, hr, lr))
        hr_files, lr_files = (_list_folder(Path(place), pattern) for pattern in patterns)
        # Where both lie in one folder, *.png takes 0001x4.png for an HR file, too; LR of any scale is none.
        for other in range(2, 17):
            for name in _lr_among(hr_files, Path(place), lr.replace("{scale}", str(other))):
                del hr_files[name]
        for name in sorted(hr_files.keys() | lr_files.keys()):
            if name not in lr_files:
                problems.append(f"{hr_files[name]}: no LR file for it, {patterns[1]!r} with {name!r}")
            elif name not in hr_files:
                problems.append(f"{lr_files[name]}: no HR file for it, {patterns[0]!r} with {name!r}")
            else:
                pairs.append(PhotoFile(id=name, path=hr_files[name], scale=scale, lr_path=lr_files[name]))
    refuse("incomplete pairs", problems)
    return sorted(pairs, key=lambda pair: pair.id)  # stable: of one id, the scales stay in order


def _lr_among(hr_files: Mapping[str, Path], folder: Path, lr: str) -> list[str]:
    """Return the ids of those HR files that are LR files of others."""
    expression, found = _expression(lr), []
    for name, file in hr_files.items():
        inner = file.relative_to(folder)
        if expression.fullmatch(inner.as_posix()) and _identify(inner, lr) in hr_files.keys() - {name}:
            found.append(name)
    return found


def _list_folder(folder: Path, pattern: str) -> dict[str, Path]:
    """Return the photographs of a folder by id, sorted."""
    parts = Path(pattern).parts
    if "*" not in pattern or pattern.startswith("/") or ".." in parts:
        raise ValueError(f"pattern {pattern!r} must hold a * and stay within the folder {folder}")
    if any("**" in part and part != "**" for part in parts) or parts[-1] == "**":
        raise ValueError(f"pattern {pattern!r}: ** stands for any subfolders, as in '**/*.png'")

    by_id: defaultdict[str, list[str]] = defaultdict(list)
    others: Counter[str] = Counter()
    for file, is_folder in sorted(_walk(folder, parts)):
        name = file.relative_to(folder)
        if is_folder or file.suffix.lower() not in PHOTO_SUFFIXES:
            others["folder" if is_folder else _printable(file.suffix) or "bare name"] += 1
        else:
            by_id[_identify(name, pattern)].append(str(file))
    ignored = ", ".join(f"{count} x {what}" for what, count in sorted(others.items()))
    accepted = f"accepted suffixes: {', '.join(PHOTO_SUFFIXES)}"
    if not by_id:
        named = f" named like {pattern!r}" if pattern != "*" else ""
        deeper = "; to take those of subfolders, give a pattern: hr: '**/*'" if "folder" in others else ""
        found = f"found {ignored or 'nothing'}; {accepted}{deeper}"
        raise ValueError(f"folder {folder} has no photographs{named}: {found}")
    if others.keys() - {"folder"}:
        log.info("folder %s: ignored %s; %s", folder, ignored, accepted)
    odd = [ascii(file) for files in by_id.values() for file in files if _printable(file) != file]
    refuse("files whose names are not UTF-8 or hold control characters; rename them", odd)
    same = [f"{name!r}: {', '.join(files)}" for name, files in by_id.items() if len(files) > 1]
    refuse(f"folder {folder}: files with the same id; rename or remove all but one", same)
    return {name: Path(by_id[name][0]) for name in sorted(by_id)}


def _walk(
    folder: Path, parts: Sequence[str], above: frozenset[tuple[int, int]] = frozenset()
) -> set[tuple[Path, bool]]:
    """Find what matches the parts of a pattern, and whether it is a folder; no name begins with a dot.

    Links are followed, but not in circles.
    """
    first, rest = parts[0], parts[1:]
    try:
        status = folder.stat()
        entries = [entry for entry in os.scandir(folder) if not entry.name.startswith(".")]
    except (OSError, ValueError) as error:  # ValueError: no name of a file
        raise ValueError(f"folder {_printable(str(folder))} {_why_not(error)}") from None
    this = status.st_dev, status.st_ino
    if this in above:
        return set()
    found: set[tuple[Path, bool]] = set()
    if first == "**":
        found = _walk(folder, rest, above)
        for entry in entries:
            if _is_folder(entry):
                found |= _walk(Path(entry), parts, above | {this})
        return found
    matches = _expression(first).fullmatch
    for entry in entries:
        if matches(entry.name) and not rest:
            found.add((Path(entry), _is_folder(entry)))
        elif matches(entry.name) and _is_folder(entry):
            found |= _walk(Path(entry), rest, above)
    return found


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself, or where one may not look
        return False


def _why_not(error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError):
        return "does not exist"
    if isinstance(error, NotADirectoryError):
        return "is a file, not a folder"
    return f"cannot be read ({getattr(error, 'strerror', None) or error})"


def _printable(text: str) -> str:
    """Write what is not UTF-8, and control characters, as escapes."""
    valid = text.encode(errors="backslashreplace").decode()
    return "".join(f"\\x{ord(c):02x}" if unicodedata.category(c) == "Cc" else c for c in valid)


def _identify(name: Path, pattern: str) -> str:
    """Return the id of a file that matches ``pattern``: what its stars stand for, the suffix left out."""
    pattern, text = Path(pattern).as_posix(), name.as_posix()
    if pattern.endswith("*"):  # also stands for the suffix
        pattern, text = pattern.removesuffix(".*"), name.with_suffix("").as_posix()
    match = _expression(pattern).fullmatch(text)
    assert match, f"{text!r} was found by {pattern!r}"
    pieces = [piece.strip("/").replace("/", "_") for piece in match.groups()]
    return "_".join(piece for piece in pieces if piece) or name.stem


@functools.cache
def _expression(pattern: str) -> re.Pattern[str]:
    """Translate a pattern; its groups are what the stars match. A photograph's suffix counts in any case."""
    stem, dot, suffix = Path(pattern).as_posix().rpartition(".")
    if dot + suffix.lower() not in PHOTO_SUFFIXES:
        stem, suffix = Path(pattern).as_posix(), ""
    stars = {"*": "([^/]*)", "**/": "((?:[^/]+/)*)"}
    expression = "".join(stars.get(part, re.escape(part)) for part in re.split(r"(\*\*/|\*)", stem))
    return re.compile(expression + (rf"\.(?i:{suffix})" if suffix else ""), re.DOTALL)
