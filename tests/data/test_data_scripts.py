"""The scripts of rules/data.smk, as Snakemake would run them."""

from __future__ import annotations

import hashlib
import logging
import runpy
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from bspa.data.packed import PackedImages
from tests.support.noise import noise

Run = Callable[..., Path]
MakeManifest = Callable[[str, list[tuple[int, int]]], Path]
GRID = {"size": 24, "step": 12, "threshold": 8}


@pytest.fixture
def run(root: Path, tmp_path: Path) -> Run:
    """Run a script as `run(name, output, files={...}, **params)`."""

    def run(name: str, output: str, *, files: dict[str, Any] | None = None, **params: Any) -> Path:
        main = runpy.run_path(str(root / "workflow_scripts" / f"{name}.py"))["main"]
        job = {"input": SimpleNamespace(**(files or {})), "params": SimpleNamespace(settings=params, key="")}
        main(SimpleNamespace(**job, output=[str(tmp_path / output)], threads=2))
        return tmp_path / output

    return run


@pytest.fixture
def manifest(run: Run, tmp_path: Path) -> MakeManifest:
    """Make the manifest of a folder of photographs of some sizes."""

    def manifest(name: str, sizes: list[tuple[int, int]]) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for number, (height, width) in enumerate(sizes):
            Image.fromarray(noise(height, width, number)).save(folder / f"{number}.png")
        source = {"hr": None, "kind": "folder", "lr": None, "path": str(folder)}
        return run("make_manifest", f"{name}/manifest.csv", source=source, scales=[2, 4])

    return manifest


@pytest.fixture
def check(run: Run) -> Callable[..., Path]:
    def check(*classes: int, **manifests: Path) -> Path:
        used = {"benchmarks": "test", "validations": "validation"}
        sources = {name: [source] if source in manifests else [] for name, source in used.items()}
        sources |= {"sources": [*manifests], "train": "train"}
        splits = dict(zip(("default", "finer"), classes, strict=False))
        sides = [(24, "sub-images of 24 pixels")] * len(manifests)
        settings = sources | {"minimum_sides": sides, "grids": {2: GRID, 4: GRID}, "classes": splits}
        return run("check_data", "checked.txt", files={"manifests": list(manifests.values())}, **settings)

    return check


def test_an_archive_is_fetched_and_unpacked(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as archive:
        for name in ("set/a.png", "notes.txt"):
            archive.writestr(name, "content")
    settings = {"urls": [str(tmp_path / "mine.zip")], "sha256": None, "size": None, "only": ["set/*"]}
    with pytest.raises(OSError, match=r"has .* sha256"):
        run("fetch_archive", "archives/demo", **settings | {"sha256": "0" * 64})
    with pytest.raises(ValueError, match=r"\*\.jpg"):
        run("fetch_archive", "archives/demo", **settings | {"only": ["*.jpg"]})
    assert not (tmp_path / "archives/demo").exists()
    (tmp_path / "archives/demo/of an orphan").mkdir(parents=True)
    with caplog.at_level("INFO", "bspa"):
        run("fetch_archive", "archives/demo", **settings)
    assert "archives: demo: sha256: " in caplog.text
    assert sorted(tmp_path.glob("archives/**/*")) == sorted(
        tmp_path / "archives" / name for name in ("demo", "demo/set", "demo/set/a.png")
    )


@pytest.mark.parametrize("pinned", [False, True])
def test_an_archive_that_failed_is_never_taken_for_another(run: Run, tmp_path: Path, pinned: bool) -> None:
    digests = {}
    for name in ("first", "second"):
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            archive.writestr("a.png", name)
        digests[name] = (
            hashlib.sha256((tmp_path / f"{name}.zip").read_bytes()).hexdigest() if pinned else None
        )
    (tmp_path / "page.zip").write_text("<html>Please log in</html>")

    def fetch(name: str, only: list[str] | None = None) -> Path:
        settings = {"urls": [str(tmp_path / f"{name}.zip")], "sha256": digests.get(name), "size": None}
        return run("fetch_archive", "archives/demo", **settings, only=only)

    with pytest.raises(ValueError, match="nope"):
        fetch("first", ["nope/*"])
    with pytest.raises(ValueError, match="not a zip or tar archive"):
        fetch("page")
    assert not (tmp_path / "archives/.demo.partial/archive").exists()
    assert (fetch("second") / "a.png").read_text() == "second"
    assert not (tmp_path / "archives/.demo.partial").exists()


def test_small_photographs_are_refused_with_the_reason(
    run: Run, check: Callable[..., Path], manifest: MakeManifest
) -> None:
    train = manifest("train", [(61, 50), (23, 90)])
    with pytest.raises(ValueError, match=r"/1\.png: 90x23 pixels, 24 are needed \(sub-images of 24 pixels\)"):
        check(2, train=train)
    source = {"hr": None, "kind": "folder", "lr": None, "path": str(train.parent)}
    packing = {"scale": 2, "border": "clamp", "degraded": {}, "scales": [2, 4], "source": source}
    packed = run("pack_images", "x2.h5", files={"manifest": train}, **packing)
    with pytest.raises(ValueError, match=r"x2\.h5: images are smaller than .* 24 pixels:\n  1$"):
        run("crop_sub_images", "windows.h5", files={"packed": packed}, **GRID)


@pytest.mark.parametrize("paired", [False, True])
def test_photographs_that_have_moved_are_packed(run: Run, tmp_path: Path, paired: bool) -> None:
    (tmp_path / "photos").mkdir()
    patterns = {"hr": "*_HR.png", "lr": "*_LR.png"} if paired else {"hr": None, "lr": None}
    for name in ("001", "NA"):
        Image.fromarray(noise(24, 24)).save(tmp_path / f"photos/{name}_HR.png")
        if paired:
            Image.fromarray(noise(6, 6)).save(tmp_path / f"photos/{name}_LR.png")
    source = {"kind": "folder", "path": str(tmp_path / "photos"), **patterns}
    settings = {"source": source, "scales": [4]}
    manifest = run("make_manifest", "manifest.csv", **settings)
    (tmp_path / "photos").rename(tmp_path / "moved")
    packing = {"scale": 4, "border": "clamp", "degraded": {}, "scales": [4]}
    packing["source"] = source | {"path": str(tmp_path / "moved")}
    images = PackedImages(run("pack_images", "x4.h5", files={"manifest": manifest}, **packing))
    assert images.ids == (["001", "NA"] if paired else ["001_HR", "NA_HR"])
    assert (images.hr(1) == noise(24, 24)).all()
    (tmp_path / "moved/001_HR.png").rename(tmp_path / "moved/002_HR.png")
    if paired:
        (tmp_path / "moved/001_LR.png").rename(tmp_path / "moved/002_LR.png")
    with pytest.raises(ValueError, match=r"have changed .* \(001(_HR)?, 002(_HR)?\); delete"):
        run("pack_images", "x4.h5", files={"manifest": manifest}, **packing)


def test_sources_are_counted_and_have_a_sub_image_for_each_class(
    check: Callable[..., Path], manifest: MakeManifest, tmp_path: Path
) -> None:
    train = manifest("train", [(60, 48), (24, 48)])
    checked = check(15, train=train)
    assert checked.read_text() == (
        "train: 2 photographs, 0.0 megapixels\n"
        "train, x2: 15 sub-images\n"  # 4 rows of 3 windows, and one row of 3
        "train, x4: 15 sub-images\n"
    )
    checked.unlink()
    with pytest.raises(ValueError, match="default: classes is 16, but train has only 15 sub-images at x2"):
        check(16, train=train)
    assert not (tmp_path / "checked.txt").exists()


def test_a_split_that_is_too_fine_does_not_hinder_the_others(
    check: Callable[..., Path], manifest: MakeManifest, caplog: pytest.LogCaptureFixture
) -> None:
    train = manifest("train", [(60, 48), (24, 48)])
    assert check(10, 16, train=train).exists()
    assert "finer: classes is 16, but train has only 15 sub-images at x2" in caplog.text
    assert "default" not in caplog.text


def test_training_on_a_benchmark_is_told(
    check: Callable[..., Path], manifest: MakeManifest, caplog: pytest.LogCaptureFixture
) -> None:
    train, test = manifest("train", [(60, 48), (30, 48)]), manifest("test", [(60, 48), (24, 48)])
    with caplog.at_level(logging.WARNING, "bspa"):
        check(2, train=train, test=test, validation=manifest("validation", [(60, 48), (24, 48)]))
    said = "of its photographs are in the"
    assert f"benchmark test: 2 {said} validation source validation: 0, 1" in caplog.text
    assert f"validation source validation: 1 {said} training source train: 0" in caplog.text
    assert "benchmark test: 1 of its photographs are in the training source train: 0" in caplog.text
