"""Mistakes in the config and in photographs: one clear error, before anything is trained."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import bspa
from bspa.data.sources import list_files
from tests.support.workflow import Project

pytestmark = pytest.mark.workflow

ODD = "$(touch ran) 'q\" ; -rf"
"""A name that a shell would not leave alone."""


def fails(project: Project, values: dict[str, Any], *arguments: str) -> str:
    """Run with an overlay that must fail before anything is made but manifests; return the output."""
    log = project.folder / "failed.log"
    with project.start(*arguments, configs=(project.overlay("bad", values),), log=log) as process:
        assert process.wait() == 1, log.read_text()[-3000:]
    assert not list(project.results.rglob("*.safetensors"))
    assert "Traceback (most recent call last)" not in log.read_text()
    return log.read_text()


def benchmark(folder: Path, **patterns: str) -> dict[str, Any]:
    source = {"kind": "folder", "path": str(folder), **patterns}
    return {"sources": {"bad": source}, "data": {"benchmarks": ["bad"]}}


def broken(folder: Path) -> None:
    Image.effect_mandelbrot((200, 160), (-3, -2.5, 2, 2.5), 100).convert("RGB").save(folder / "good.png")
    (folder / "cut.png").write_bytes((folder / "good.png").read_bytes()[:-3000])


def unmatched(folder: Path) -> None:
    Image.new("RGB", (120, 80), "red").save(folder / "1_HR.png")
    Image.new("RGB", (30, 21), "red").save(folder / "1_LR.png")


def too_small(folder: Path) -> None:
    Image.new("RGB", (19, 40), "red").save(folder / "small.png")  # cut to 16 pixels, 8 inside the border


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"trainig": {"epochs": 3}}, "trainig: unknown key; did you mean 'training'?"),
        (benchmark(Path("nowhere")), "sources.bad: "),
    ],
    ids=["an unknown key", "a missing folder"],
)
def test_mistakes_are_told_before_anything_is_made(fresh: Project, values: dict[str, Any], says: str) -> None:
    assert says in fails(fresh, values, "--dry-run")
    assert not list(fresh.results.glob("*/"))


@pytest.mark.parametrize(
    ("make", "patterns", "says"),
    [
        (broken, {}, ("cut.png", "truncated")),
        (unmatched, {"hr": "*_HR.png", "lr": "*_LR.png"}, ("1_LR.png", "30x21")),
        (too_small, {}, ("small.png", "19x40")),
    ],
    ids=["broken", "unmatched pair", "too small"],
)
def test_photographs_that_cannot_be_used_stop_before_any_training(
    fresh: Project, tmp_path: Path, make: Callable[[Path], None], patterns: dict[str, str], says: tuple[str]
) -> None:
    folder = tmp_path / "photographs"
    folder.mkdir()
    make(folder)
    output = fails(fresh, {**benchmark(folder, **patterns), "scales": [4]})
    assert all(words in output for words in says), output


def test_too_few_sub_images_stop_before_any_training_and_leave_what_is_made(project: Project) -> None:
    split = project.overlay("bad", {"class_splits": {"default": {"classes": 100000}}})
    faster = project.overlay("faster", {"training": {"learning_rate": 0.002}})
    output = project.run(configs=(split, faster), check=False).stdout
    assert "classes is 100000, but tiny_train has only" in output
    assert re.findall(r"Job \d+: (\w+)", output) == ["Check"]
    assert project.jobs() == {"check_data": 1, "table": 6}


def test_what_a_source_holds_decides_not_where_when_or_beside_what_it_lies(
    fresh: Project, tmp_path: Path
) -> None:
    folder, linked = tmp_path / f"-set #1 {{a}} [b] {ODD}", tmp_path / "linked"
    for place, name in ((folder / "own", "chelsea"), (linked, "rocket")):
        place.mkdir(parents=True)
        [photo] = list_files("builtin", photos=[name])
        shutil.copy(photo.path, place / f"{name} {ODD}{photo.path.suffix}")
    (folder / "elsewhere").symlink_to(linked)
    weights = tmp_path / "w #1.pth"
    torch.save(bspa.build("msrresnet", 4, blocks=1, channels=8).state_dict(), weights)
    later = time.time() + 3 * 24 * 3600
    for file in (weights, *folder.glob("own/*"), *linked.iterdir()):
        os.utime(file, (later, later))

    def overlay(path: str) -> tuple[str, ...]:
        source = {"kind": "folder", "path": path, "hr": "*/*"}
        reference = {"weights": {"x4": {"file": str(weights)}}}
        values = {
            "sources": {"mine": source},
            "data": {"train": "mine"},
            "reference": reference,
            "results": ODD,
        }
        return (fresh.overlay("mine", values),)

    targets = (f"{ODD}/data/mine/x4.h5", f"{ODD}/reference/x4.safetensors")
    fresh.run(*targets, configs=overlay(str(folder)))
    for name in ("Thumbs.db", "own/desktop.ini", "own/._chelsea.png", "elsewhere/notes.txt"):
        (folder / name).touch()
    next(folder.glob("own/chelsea*")).touch()
    moved = folder.rename(tmp_path / "moved")
    assert fresh.jobs(*targets, configs=overlay(f"{moved}/")) == {}
    shutil.copy(next(linked.glob("rocket*")), linked / "new.jpg")
    assert fresh.jobs(*targets, configs=overlay(f"{moved}/")) == {"make_manifest": 1, "pack_images": 1}
    assert not list(tmp_path.rglob("ran"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("results: !!python/object/apply:os.system [touch ran]\n", "not valid JSON or YAML"),
        ("seeds: &a [*a]\n", "more than 100,000 values"),
        ('{\n\t"trainig": {}\n}\n', "trainig: unknown key; did you mean 'training'?"),
    ],
    ids=["a tag that runs code", "an anchor within itself", "JSON with tabs"],
)
def test_hostile_configs_end_in_a_sentence(fresh: Project, text: str, says: str) -> None:
    (fresh.folder / "hostile.yaml").write_text(text)
    done = fresh.run("--dry-run", configs=("hostile.yaml",), check=False)
    assert done.returncode == 1
    assert says in done.stdout
    assert "Traceback (most recent call last)" not in done.stdout
    assert not (fresh.folder / "ran").exists()


def test_a_cycle_that_is_not_planned_is_told(fresh: Project) -> None:
    run = "training/tiny_x4_bspa_seed0"
    output = fresh.run("--dry-run", f"results/{run}/cycle9/mask.safetensors", check=False).stdout
    assert "tiny_x4_bspa_seed0 has no mask in cycle 9; it has cycle 1 uniform" in output
    assert "Traceback (most recent call last)" not in output
