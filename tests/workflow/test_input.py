"""Mistakes in the config and in photographs: one clear error, before anything is trained."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.support.workflow import Project

pytestmark = pytest.mark.workflow


def fails(project: Project, values: dict[str, object], *arguments: str) -> str:
    """Run with an overlay that must fail before anything is made but manifests; return the output."""
    done = project.run(*arguments, configs=[project.overlay("bad", values)], check=False)
    assert done.returncode == 1, done.stdout[-3000:]
    made = [p for p in project.results.rglob("*") if p.suffix == ".safetensors"]
    assert not made
    assert "Traceback (most recent call last)" not in done.stdout
    return done.stdout


def benchmark(folder: Path, **patterns: str) -> dict[str, object]:
    source = {"kind": "folder", "path": str(folder), **patterns}
    return {"sources": {"bad": source}, "data": {"benchmarks": ["bad"]}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    return folder


def test_an_unknown_key_is_one_clear_error(fresh: Project) -> None:
    output = fails(fresh, {"trainig": {"epochs": 3}})
    assert "trainig: unknown key; did you mean 'training'?" in output
    assert not fresh.results.exists()


def test_a_missing_folder_fails_in_the_dry_run(fresh: Project, tmp_path: Path) -> None:
    output = fails(fresh, benchmark(tmp_path / "nowhere"), "--dry-run")
    assert "sources.bad" in output
    assert "nowhere" in output


def test_a_broken_photograph_stops_before_any_training(fresh: Project, folder: Path) -> None:
    Image.effect_mandelbrot((200, 160), (-3, -2.5, 2, 2.5), 100).convert("RGB").save(folder / "good.png")
    (folder / "cut.png").write_bytes((folder / "good.png").read_bytes()[:-3000])
    output = fails(fresh, benchmark(folder))
    assert "cut.png" in output
    assert "truncated" in output


def test_a_pair_whose_sizes_do_not_match_stops_before_any_training(fresh: Project, folder: Path) -> None:
    Image.new("RGB", (120, 80), "red").save(folder / "1_HR.png")
    Image.new("RGB", (30, 21), "red").save(folder / "1_LR.png")
    output = fails(fresh, {**benchmark(folder, hr="*_HR.png", lr="*_LR.png"), "scales": [4]})
    assert "1_LR.png" in output
    assert "30x21" in output


def test_a_photograph_too_small_to_be_scored_stops_before_any_training(fresh: Project, folder: Path) -> None:
    Image.new("RGB", (19, 40), "red").save(folder / "small.png")  # cut to 16 pixels, 8 inside the border
    output = fails(fresh, benchmark(folder))
    assert "small.png" in output
    assert "19x40" in output


def test_more_classes_than_sub_images_stop_before_any_training(fresh: Project) -> None:
    output = fails(fresh, {"class_splits": {"default": {"classes": 100000}}}, "results/data/checked.txt")
    assert "100000" in output
    assert "sub-images" in output
