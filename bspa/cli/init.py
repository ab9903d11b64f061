"""Begin a project: a folder with its settings, from which Snakemake runs the installed workflow.

    bspa init upscaler --photos ~/Pictures/harbour
    cd upscaler
    snakemake --cores 8 results/models/edsr_mini_x4_bspa_seed0.safetensors

The folder gets own.yaml (the settings, with comments), a Snakefile that includes the installed workflow, its
profile, and a .gitignore. Nothing that is there is overwritten. Photographs in subfolders count too.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
from pathlib import Path

from bspa.data.sources import PHOTO_SUFFIXES, list_files
from bspa.system.files import atomic_path, user_path

SNAKEFILE = '''"""The workflow of the installed package bspa, with own.yaml laid over its defaults."""

from bspa.cli.init import workflow_folder


configfile: "own.yaml"


include: str(workflow_folder() / "Snakefile")


rule everything:
    default_target: True
    input:
        rules.all.input,
'''

PHOTOS = """\
    kind: folder
    path: photographs
    hr: null                    # null: those in the folder itself; "**/*": those in its subfolders too"""
TEST = """\
    kind: builtin               # of your own: kind: folder, and path: as above
    photos: [camera, chelsea, coffee]"""
"""The sources of configs/own.yaml."""

GITIGNORE = "/results/\n/.snakemake/\n"


def workflow_folder() -> Path:
    """Return the folder of the Snakefile: in the installed package, or the checkout of an editable one."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "workflow"
    return installed if installed.is_dir() else package.parent


def init_project(
    folder: str | os.PathLike[str],
    photos: str | os.PathLike[str],
    *,
    test: str | os.PathLike[str] | None = None,
    start: str | os.PathLike[str] | None = None,
    scale: int = 4,
) -> list[Path]:
    """Write a new project; return its files.

    Args:
        folder: of the project; made if it is not there.
        photos: folder of the photographs to train on.
        test: folder of the photographs to test on; None: some that ship inside scikit-image.
        start: weights of the network to go on from; None: train from nothing.
        scale: SR pixels to an LR pixel along a side: 2, 3, 4 or 8.

    Raises:
        ValueError: a folder has no photographs, ``start`` is no file, or a file of the project is there.
    """
    project, workflow = user_path(folder), workflow_folder()
    template = (workflow / "configs" / "own.yaml").read_text(encoding="utf-8")
    changes = {
        " --configfile configs/own.yaml --": "",
        " --configfile configs/own.yaml": "",
        "scales: [4]": f"scales: [{scale}]",
        "_x4_": f"_x{scale}_",
        PHOTOS: _source("--photos", photos),
    }
    if test is not None:
        changes[TEST] = _source("--test", test)
    if start is not None:
        weights = user_path(start).resolve()
        if not weights.is_file():
            raise ValueError(f"--start: {start} is no file")
        changes["start: {}"] = f"start: {{x{scale}: {{file: {_quoted(weights)}}}}}"
    for old, new in changes.items():
        assert old in template, old
        template = template.replace(old, new)

    texts = {"own.yaml": template, "Snakefile": SNAKEFILE, ".gitignore": GITIGNORE}
    for file in sorted((workflow / "profiles" / "default").iterdir()):
        texts[f"profiles/default/{file.name}"] = file.read_text(encoding="utf-8")
    files = {project / name: text for name, text in texts.items()}
    if present := [str(file) for file in files if file.exists()]:
        raise ValueError(f"{', '.join(present)}: there already, and not overwritten; choose another folder")
    for file, text in files.items():
        with atomic_path(file) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return list(files)


def _source(option: str, photos: str | os.PathLike[str]) -> str:
    """Return the lines of a source of a folder's photographs, with those of its subfolders if it has any."""
    folder = user_path(photos).resolve()
    deeper = folder.glob("*/**/*")
    nested = any(file.suffix.lower() in PHOTO_SUFFIXES and _is_shown(file, folder) for file in deeper)
    pattern = "**/*" if nested else None
    try:
        list_files("folder", path=folder, hr=pattern)
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from None
    return f"    kind: folder\n    path: {_quoted(folder)}\n    hr: {json.dumps(pattern)}"


def _is_shown(file: Path, folder: Path) -> bool:
    return not any(part.startswith(".") for part in file.relative_to(folder).parts)


def _quoted(path: Path) -> str:
    """Quote a path for YAML."""
    return json.dumps(str(path), ensure_ascii=False)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the subcommand to its parser."""
    parser.add_argument("folder", help="folder of the new project")
    parser.add_argument("--photos", required=True, metavar="FOLDER", help="photographs to train on")
    parser.add_argument(
        "--test", metavar="FOLDER", help="photographs to test on (default: three of scikit-image's)"
    )
    parser.add_argument(
        "--start", metavar="FILE", help="weights of edsr_mini to go on from (default: train from nothing)"
    )
    parser.add_argument(
        "--scale", type=int, choices=(2, 3, 4, 8), default=4, help="enlargement (default: %(default)s)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the subcommand."""
    options = {"test": arguments.test, "start": arguments.start, "scale": arguments.scale}
    files = init_project(arguments.folder, arguments.photos, **options)
    print("\n".join(f"wrote {file}" for file in files))
    model = f"results/models/edsr_mini_x{arguments.scale}_bspa_seed0.safetensors"
    print(f"\nnext:\n  cd {shlex.quote(arguments.folder)}\n  snakemake --cores 8 {model}")
    return 0
