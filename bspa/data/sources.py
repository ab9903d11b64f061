"""List the photographs of a source: exactly those that will be read. Standard library only."""

from __future__ import annotations

import difflib
import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

log = logging.getLogger("bspa")

PHOTO_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
"""Suffixes of photographs, in lower case; capitals are accepted too."""

_BUILTIN_FILES = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "cell.png",
    "chelsea.png",
    "clock_motion.png",
    "coffee.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "moon.png",
    "motorcycle_left.png",
    "motorcycle_right.png",
    "page.png",
    "retina.jpg",
    "rocket.jpg",
    "text.png",
)
BUILTIN_PHOTOS = tuple(Path(name).stem for name in _BUILTIN_FILES)
"""Names of the photographs in scikit-image's wheel; without its drawings, masks and tiny samples."""

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
    photos: Sequence[str] | None = None,
    path: str | os.PathLike[str] | None = None,
    hr: str | None = None,
    lr: str | None = None,
    scales: Sequence[int] = (),
) -> list[PhotoFile]:
    """List the photographs of a source, sorted by id and scale, without opening any.

    Args:
        kind: ``builtin`` (photographs inside scikit-image's wheel) or ``folder`` (the user's own files).
        photos: names out of `BUILTIN_PHOTOS`; None takes all. For ``builtin``.
        path: folder of the photographs. Subfolders count only where a pattern names them; files with a
            leading dot or without one of `PHOTO_SUFFIXES` are ignored. For ``folder``, as all that follow.
        hr: pattern of the names within the folder, such as ``*_HR.png``; None takes every photograph. ``*``
            matches any part of a name, ``**/`` any subfolders. A final ``*`` matches the suffix too. The id
            is what the stars match; without a pattern, the name without its suffix.
        lr: pattern of given LR files, paired with HR files by id; None if LR is to be made.
        scales: scales of the pairs. ``path``, ``hr`` and ``lr`` may hold ``{scale}``.

    Raises:
        ValueError: there are no photographs, files have the same id, or pairs are incomplete.
    """
    if kind == "builtin":
        if path is not None or hr is not None or lr is not None:
            raise ValueError("a builtin source takes `photos` alone, not `path`, `hr` or `lr`")
        return _list_builtin(BUILTIN_PHOTOS if photos is None else photos)
    if kind != "folder":
        raise ValueError(f"kind of source is {kind!r}; allowed: builtin, folder")
    if path is None or photos is not None:
        raise ValueError("a folder source takes `path` (and `hr`, `lr`), not `photos`")
    folder = str(Path(path).expanduser())
    if lr is None:
        for key, value in (("path", folder), ("hr", hr)):
            if value is not None and "{scale}" in value:
                raise ValueError(f"{key} is {value!r}: {{scale}} is for given pairs, which need `lr` too")
        files = _list_folder(Path(folder), hr)
        return [PhotoFile(id=name, path=file) for name, file in files.items()]
    return _list_pairs(folder, hr, lr, scales)


def refuse(what: str, problems: Sequence[str]) -> None:
    """Raise a ValueError that names all problems, up to 20 of them, if there are any."""
    if problems:
        more = len(problems) - _SHOWN_PROBLEMS
        lines = [*problems[:_SHOWN_PROBLEMS], *([f"... and {more} more"] if more > 0 else [])]
        raise ValueError("\n  ".join([f"{what}:", *lines]))


def _list_builtin(photos: Sequence[str]) -> list[PhotoFile]:
    problems = []
    for name, count in Counter(photos).items():
        if name not in BUILTIN_PHOTOS:
            near = difflib.get_close_matches(name, BUILTIN_PHOTOS, n=1)
            meant = f"; did you mean {near[0]}?" if near else f"; allowed: {', '.join(BUILTIN_PHOTOS)}"
            problems.append(f"{name!r} is not a photograph of scikit-image{meant}")
        elif count > 1:
            problems.append(f"{name!r} is named {count} times")
    refuse("photos", problems)
    if not photos:
        raise ValueError(f"photos is empty; allowed: {', '.join(BUILTIN_PHOTOS)}")
    package = find_spec("skimage")  # importing it would take a second
    if package is None or package.origin is None:
        raise ValueError("scikit-image is not installed; a builtin source takes its photographs")
    data = Path(package.origin).parent / "data"
    return [PhotoFile(id=Path(n).stem, path=data / n) for n in _BUILTIN_FILES if Path(n).stem in photos]


def _list_pairs(folder: str, hr: str | None, lr: str, scales: Sequence[int]) -> list[PhotoFile]:
    if hr is None:
        raise ValueError(f"lr is {lr!r} without hr; give both patterns, or neither")
    if not scales:
        raise ValueError("lr needs the scales of the pairs")
    if len(scales) > 1 and "{scale}" not in folder + lr:
        raise ValueError(
            f"path {folder!r} and lr {lr!r} name the same LR files for every scale of {list(scales)}; "
            "put {scale} where they differ"
        )
    pairs, problems = [], []
    for scale in sorted(scales):
        place = Path(_fill(folder, scale))
        hr_files, lr_files = (_list_folder(place, _fill(pattern, scale)) for pattern in (hr, lr))
        for name in sorted(hr_files.keys() | lr_files.keys()):
            if name not in lr_files:
                problems.append(f"{hr_files[name]}: no LR file for it, {_fill(lr, scale)!r} with {name!r}")
            elif name not in hr_files:
                problems.append(f"{lr_files[name]}: no HR file for it, {_fill(hr, scale)!r} with {name!r}")
            else:
                pairs.append(PhotoFile(id=name, path=hr_files[name], scale=scale, lr_path=lr_files[name]))
    refuse("incomplete pairs", problems)
    return sorted(pairs, key=lambda pair: pair.id)  # stable: of one id, the scales stay in order


def _fill(text: str, scale: int) -> str:
    return text.replace("{scale}", str(scale))


def _list_folder(folder: Path, pattern: str | None) -> dict[str, Path]:
    """Return the photographs of a folder by id, sorted."""
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise ValueError(f"folder {folder} {what}")
    matching = _glob(folder, pattern)
    photos = [file for file in matching if file.suffix.lower() in PHOTO_SUFFIXES]
    others = Counter(
        "folder" if file.is_dir() else f"{file.suffix or 'bare name'}"
        for file in matching
        if file.suffix.lower() not in PHOTO_SUFFIXES
    )
    ignored = ", ".join(f"{count} x {what}" for what, count in sorted(others.items()))
    accepted = f"accepted suffixes: {', '.join(PHOTO_SUFFIXES)}"
    if not photos:
        named = f" named like {pattern!r}" if pattern else ""
        found = f"found {ignored}" if ignored else "found nothing"
        deeper = "; to take those of subfolders, give a pattern: hr: '*/*'" if "folder" in others else ""
        raise ValueError(f"folder {folder} has no photographs{named}: {found}; {accepted}{deeper}")
    if any(what != "folder" for what in others):
        log.info("folder %s: ignored %s; %s", folder, ignored, accepted)

    by_id: dict[str, list[Path]] = {}
    for file in photos:
        by_id.setdefault(_identify(file.relative_to(folder), pattern), []).append(file)
    refuse(
        f"folder {folder}: files with the same id; rename or remove all but one",
        [
            f"{name!r}: {', '.join(map(str, sorted(files)))}"
            for name, files in by_id.items()
            if len(files) > 1
        ],
    )
    unprintable = [ascii(str(file)) for file in photos if not _is_utf8(str(file))]
    refuse("files whose names are not UTF-8; rename them", unprintable)
    return {name: by_id[name][0] for name in sorted(by_id)}


def _glob(folder: Path, pattern: str | None) -> list[Path]:
    if pattern is None:
        found: Iterable[Path] = folder.iterdir()
    else:
        parts = Path(pattern).parts
        if "*" not in pattern or pattern.startswith("/") or ".." in parts:
            raise ValueError(f"pattern {pattern!r} must hold a * and stay within the folder {folder}")
        if any("**" in part and part != "**" for part in parts) or parts[-1] == "**":
            raise ValueError(f"pattern {pattern!r}: ** stands for any subfolders, as in '**/*.png'")
        found = folder.glob(pattern.replace("[", "[[]").replace("?", "[?]"))
    return [
        file for file in found if not any(part.startswith(".") for part in file.relative_to(folder).parts)
    ]


def _identify(name: Path, pattern: str | None) -> str:
    """Return the id of a file that matches ``pattern``: what its stars stand for, the suffix left out."""
    if pattern is None:
        return name.stem
    pattern, text = Path(pattern).as_posix(), name.as_posix()
    if pattern.endswith("*"):  # also stands for the suffix
        pattern, text = pattern.removesuffix(".*"), name.with_suffix("").as_posix()
    stars = {"*": "([^/]*)", "**/": "((?:[^/]+/)*)"}
    expression = "".join(stars.get(part, re.escape(part)) for part in re.split(r"(\*\*/|\*)", pattern))
    match = re.fullmatch(expression, text, re.DOTALL)
    assert match, f"{text!r} was found by {pattern!r}"
    pieces = [piece.strip("/").replace("/", "_") for piece in match.groups()]
    return "_".join(piece for piece in pieces if piece) or name.stem


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
