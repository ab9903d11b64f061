"""A new project: its files, and a run of them with what a wheel installs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image
from snakemake.utils import update_config

from bspa.cli.init import init_project
from bspa.cli.main import main
from bspa.config.load import load_config
from bspa.data.sources import list_files
from tests.support.noise import noise


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "it's: #1"
    folder.mkdir()
    for number in range(2):
        Image.fromarray(noise(96, 96, number)).save(folder / f"{number}.png")
    return folder


def settings_of(root: Path, project: Path) -> Any:
    """The settings of a project over the default ones."""
    given = yaml.safe_load((root / "config.yaml").read_text())
    update_config(given, yaml.safe_load((project / "own.yaml").read_text()))
    return load_config(given, [])


def test_the_settings_are_those_of_the_photographs(root: Path, tmp_path: Path, photos: Path) -> None:
    init_project(tmp_path / "project", str(photos), scale=3)
    settings = settings_of(root, tmp_path / "project")
    assert settings.scales == [3]
    assert settings.sources["photographs"].path == str(photos)
    assert "edsr_mini_x3_bspa" in (tmp_path / "project/own.yaml").read_text()


def test_nothing_is_overwritten(tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["init", str(tmp_path / "project"), "--photos", str(photos)]
    assert main(command) == 0
    kept = (tmp_path / "project/own.yaml").read_text()
    assert main([*command, "--scale", "2"]) == 2
    assert "own.yaml" in capsys.readouterr().err
    assert (tmp_path / "project/own.yaml").read_text() == kept


def test_photographs_that_are_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", str(tmp_path / "project"), "--photos", str(tmp_path / "gone")]) == 2
    assert "gone does not exist" in capsys.readouterr().err
    assert not (tmp_path / "project").exists()


def test_photographs_in_subfolders_count_and_what_is_hidden_does_not(tmp_path: Path, photos: Path) -> None:
    for hidden in (".trash", "__MACOSX/._a"):
        (photos / hidden).mkdir(parents=True)
    shutil.copy(photos / "0.png", photos / ".trash/0.png")
    init_project(tmp_path / "flat", str(photos))
    assert yaml.safe_load((tmp_path / "flat/own.yaml").read_text())["sources"]["photographs"]["hr"] is None
    (photos / "2025").mkdir()
    shutil.copy(photos / "0.png", photos / "2025/NEW.PNG")
    init_project(tmp_path / "deep", str(photos))
    source = yaml.safe_load((tmp_path / "deep/own.yaml").read_text())["sources"]["photographs"]
    assert [file.id for file in list_files(**source)] == ["0", "1", "2025_NEW"]


def test_photographs_to_test_on_and_weights_to_go_on_from(
    root: Path, tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "w: #1.pt"
    command = ["init", str(tmp_path / "project"), "--photos", str(photos), "--test", str(photos)]
    assert main([*command, "--start", str(weights)]) == 2
    assert f"--start: {weights} is no file" in capsys.readouterr().err
    weights.touch()
    assert main([*command, "--start", str(weights), "--scale", "2"]) == 0
    settings = settings_of(root, tmp_path / "project")
    assert settings.sources["held_out"].path == str(photos)
    assert settings.models["edsr_mini"].start["x2"].file == str(weights)


@pytest.mark.workflow
def test_a_project_runs_with_what_a_wheel_installs(root: Path, tmp_path: Path, photos: Path) -> None:
    """Neither the checkout nor its folder is needed; a job of the installed workflow runs for real."""
    source, site = tmp_path / "source", tmp_path / "site"
    unneeded = shutil.ignore_patterns(
        ".*", "results", "tests", "docs", "bench", "build", "*.egg-info", "__pycache__"
    )
    shutil.copytree(root, source, ignore=unneeded)
    pip = [sys.executable, "-m", "pip"]
    build = [*pip, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path), "."]
    subprocess.run(build, cwd=source, check=True)
    (wheel,) = tmp_path.glob("bspa-*.whl")
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--target", str(site), str(wheel)], check=True)

    environment = {**os.environ, "PYTHONPATH": str(site)}
    project = tmp_path / "project"
    init = [sys.executable, "-m", "bspa.cli.main", "init", str(project), "--photos", str(photos)]
    subprocess.run(init, cwd=tmp_path, env=environment, check=True)
    snakemake = [sys.executable, "-m", "snakemake", "--cores", "2"]
    dry = subprocess.run(
        [*snakemake, "--dry-run"], cwd=project, env=environment, capture_output=True, text=True
    )
    assert dry.returncode == 0, dry.stderr
    assert "deliver_weights" in dry.stdout + dry.stderr
    packed = "results/data/photographs/x4.h5"
    ran = subprocess.run([*snakemake, packed], cwd=project, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert (project / packed).exists()
