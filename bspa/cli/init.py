"""Begin a project: a folder with its settings, from which Snakemake runs the installed workflow.

    bspa init upscaler --photos ~/Pictures/harbour
    cd upscaler
    snakemake --cores 8 results/models/edsr_mini_x4_bspa_seed0.safetensors

The folder gets own.yaml (the settings, with comments), a Snakefile that includes the installed workflow, its
profile, and a .gitignore. Nothing that is there is overwritten.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

SNAKEFILE = '''"""The workflow of the installed package bspa, with own.yaml laid over its defaults."""

from bspa.cli.init import workflow_folder


configfile: "own.yaml"


include: str(workflow_folder() / "Snakefile")


rule everything:
    default_target: True
    input:
        rules.all.input,
'''

GITIGNORE = "/results/\n/.snakemake/\n"


def workflow_folder() -> Path:
    """Return the folder of the Snakefile: in the installed package, or the checkout of an editable one."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "workflow"
    return installed if installed.is_dir() else package.parent


def init_project(folder: str | os.PathLike[str], photos: str, *, scale: int = 4) -> list[Path]:
    """Write a new project; return its files.

    Args:
        folder: of the project; made if it is not there.
        photos: folder of the photographs to train on.
        scale: SR pixels to an LR pixel along a side: 2, 3 or 4.

    Raises:
        ValueError: ``photos`` is no folder, or ``folder`` holds one of the project's files.
    """
    project, source = Path(folder).expanduser(), Path(photos).expanduser().resolve()
    if not source.is_dir():
        raise ValueError(f"--photos: {photos} is no folder")
    workflow = workflow_folder()
    settings = _settings((workflow / "configs" / "own.yaml").read_text(encoding="utf-8"), str(source), scale)
    texts = {
        "own.yaml": settings,
        "Snakefile": SNAKEFILE,
        ".gitignore": GITIGNORE,
    }
    for file in (workflow / "profiles" / "default").iterdir():
        texts[f"profiles/default/{file.name}"] = file.read_text(encoding="utf-8")
    files = {project / name: text for name, text in texts.items()}
    if present := [str(file) for file in files if file.exists()]:
        raise ValueError(f"{', '.join(present)}: there already, and not overwritten; choose another folder")
    for file, text in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return list(files)


def _settings(template: str, photos: str, scale: int) -> str:
    """Return configs/own.yaml for a project: its path and scale, and its commands without --configfile."""
    quoted = "'" + photos.replace("'", "''") + "'"
    changes = {
        " --configfile configs/own.yaml --": "",
        " --configfile configs/own.yaml": "",
        "path: photographs\n": f"path: {quoted}\n",
        "scales: [4]": f"scales: [{scale}]",
        "_x4_": f"_x{scale}_",
    }
    for old, new in changes.items():
        assert old in template, old
        template = template.replace(old, new)
    return template


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the subcommand to its parser."""
    parser.add_argument("folder", help="folder of the new project")
    parser.add_argument("--photos", required=True, metavar="FOLDER", help="photographs to train on")
    parser.add_argument("--scale", type=int, choices=(2, 3, 4), default=4, help="default: %(default)s")


def run(arguments: argparse.Namespace) -> int:
    """Run the subcommand."""
    files = init_project(arguments.folder, arguments.photos, scale=arguments.scale)
    print("\n".join(f"wrote {file}" for file in files))
    model = f"results/models/edsr_mini_x{arguments.scale}_bspa_seed0.safetensors"
    print(f"\nnext:\n  cd {arguments.folder}\n  snakemake --cores 8 {model}")
    return 0
