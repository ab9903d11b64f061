from __future__ import annotations

import hashlib
import logging
import os
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from bspa.data.inspection import make_manifest
from bspa.data.manifest import (
    COLUMNS,
    cut_shapes,
    describe,
    photos_in_both,
    read_manifest,
    rows_for_scale,
    smaller,
    write_manifest,
)  # fmt: skip
from bspa.data.sources import BUILTIN_PHOTOS, PhotoFile, list_files
from tests.support.noise import noise


def save(path: Path, width: int = 40, height: int = 24, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(height, width, seed=len(list(path.parent.iterdir())))).save(path, **options)
    return path


def save_pairs(folder: Path, names: list[str], scales: list[int], width: int = 24, height: int = 12) -> None:
    for scale in scales:
        for name in names:
            save(folder / f"x{scale}" / f"{name}_HR.png", width, height)
            save(folder / f"x{scale}" / f"{name}_LR.png", width // scale, height // scale)


def list_pairs(path: Path | str, *scales: int) -> list[PhotoFile]:
    return list_files("folder", path=path, hr="*_HR.png", lr="*_LR.png", scales=scales)


def test_builtin_photos_are_all_in_the_wheel() -> None:
    manifest = make_manifest(list_files("builtin"))
    assert tuple(manifest.columns) == COLUMNS
    assert manifest["id"].tolist() == sorted(BUILTIN_PHOTOS)
    assert smaller(manifest, 172) == []
    astronaut = manifest.set_index("id").loc["astronaut"]
    assert (astronaut["width"], astronaut["height"]) == (512, 512)
    assert astronaut["sha256"] == hashlib.sha256(Path(astronaut["path"]).read_bytes()).hexdigest()


def test_builtin_photos_by_name() -> None:
    assert [file.id for file in list_files("builtin", photos=["rocket", "chelsea"])] == ["chelsea", "rocket"]
    with pytest.raises(ValueError, match=r"'chelsee' is not .* scikit-image; did you mean chelsea") as error:
        list_files("builtin", photos=["chelsee", "rocket", "zzz"])
    assert "'zzz' is not a photograph of scikit-image; allowed: astronaut, brick" in str(error.value)


def test_folder_lists_photographs_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("b.jpg", "a.PNG", "c.v2.tiff", "deeper/d.png"):
        save(tmp_path / name, format=None)
    for name in ("notes.txt", "x.gif", "y.gif", ".hidden.png", "._a.PNG"):
        (tmp_path / name).write_text("no photograph")
    monkeypatch.setenv("HOME", str(tmp_path.parent))
    with caplog.at_level(logging.INFO, "bspa"):
        files = list_files("folder", path=f"~/{tmp_path.name}")
    assert files == [
        PhotoFile(id="a", path=tmp_path / "a.PNG"),
        PhotoFile(id="b", path=tmp_path / "b.jpg"),
        PhotoFile(id="c.v2", path=tmp_path / "c.v2.tiff"),
    ]
    assert "2 x .gif, 1 x .txt, 1 x folder" in caplog.text


@pytest.mark.parametrize(
    ("pattern", "ids"),
    [
        ("*.png", ["001_HR", "001_LR", "only"]),
        ("*_HR.png", ["001"]),
        ("*_HR.*", ["001"]),
        ("HR/*", ["a", "b"]),
        ("./HR/*.png", ["a"]),
        ("*/*.png", ["HR_a", "[x]_c"]),
        ("[x]/*.png", ["c"]),
        ("**/*.png", ["001_HR", "001_LR", "HR_a", "[x]_c", "[x]_y_z", "only"]),
        ("on*.png", ["ly"]),
        ("only*.png", ["only"]),
    ],
)
def test_patterns(tmp_path: Path, pattern: str, ids: list[str]) -> None:
    for name in ("001_HR.png", "001_LR.png", "only.png", "HR/a.png", "HR/b.jpg", "[x]/c.png", "[x]/y/z.png"):
        save(tmp_path / name)
    assert [file.id for file in list_files("folder", path=tmp_path, hr=pattern)] == ids


@pytest.mark.parametrize("pattern", ["photo.png", "../*.png", "/tmp/*.png", "a**.png", "HR/**"])
def test_patterns_that_make_no_sense(tmp_path: Path, pattern: str) -> None:
    save(tmp_path / "photo.png")
    with pytest.raises(ValueError, match=re.escape(f"pattern {pattern!r}")):
        list_files("folder", path=tmp_path, hr=pattern)


def test_folders_without_photographs(tmp_path: Path) -> None:
    file, other = save(tmp_path / "photos" / "a.png"), tmp_path / "other"
    (other / "subfolder").mkdir(parents=True)
    (other / "a.heic").touch()
    for path, hr, message in (
        (tmp_path / "gone", None, "folder .*gone does not exist"),
        (file, None, r"a\.png is a file, not a folder"),
        (
            file.parent,
            "*.jpg",
            r"no photographs named like '\*\.jpg': found nothing; accepted suffixes: \.png",
        ),
        (
            other,
            None,
            r"no photographs: found 1 x \.heic, 1 x folder; .*subfolders, give a pattern",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            list_files("folder", path=path, hr=hr)


def test_two_files_with_one_id(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg", "b.png", "c.tif", "c.png"):
        save(tmp_path / name)
    with pytest.raises(ValueError, match="files with the same id") as error:
        list_files("folder", path=tmp_path)
    assert f"'a': {tmp_path / 'a.jpg'}, {tmp_path / 'a.png'}" in str(error.value)
    assert f"'c': {tmp_path / 'c.png'}" in str(error.value)
    assert "'b'" not in str(error.value)


@pytest.mark.parametrize(
    "names",
    [
        [b"caf\xe9.png"],
        [b"caf\xe9.png", b"caf\xe9.jpg"],
        [b"a\rb.png"],
        [b"caf\xe9/a.png"],
        [b"a\x1b[2J.png"],
    ],
)
def test_names_that_are_not_utf8_or_hold_control_characters(tmp_path: Path, names: list[bytes]) -> None:
    for name in names:
        path = tmp_path / os.fsdecode(name)
        path.parent.mkdir(exist_ok=True)
        save(tmp_path / "a.png").rename(path)
    with pytest.raises(ValueError, match="not UTF-8 or hold control characters; rename them") as error:
        list_files("folder", path=tmp_path, hr="**/*")
    assert len(str(error.value).encode().splitlines()) == 1 + len(names)
    assert ascii(str(path)) in str(error.value)


def test_other_files_of_any_name_do_not_matter(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    for name in (b"Thumbs.db", b"desktop.ini", b"notes", b"caf\xe9.caf\xe9", b"a\rb.txt"):
        (tmp_path / os.fsdecode(name)).touch()
    assert [file.id for file in list_files("folder", path=tmp_path)] == ["a"]
    (tmp_path / "a.png").unlink()
    with pytest.raises(ValueError, match="has no photographs") as error:
        list_files("folder", path=tmp_path)
    str(error.value).encode()


def test_suffixes_count_in_any_case(tmp_path: Path) -> None:
    for name in ("a_hr.PNG", "b_hr.png", "c_HR.png", "d_hr.Png", "e_hr.jpg"):
        save(tmp_path / name, format=None)
    assert [file.id for file in list_files("folder", path=tmp_path, hr="*_hr.png")] == ["a", "b", "d"]
    (tmp_path / "a_hr.png").write_bytes(b"")
    with pytest.raises(ValueError, match="the same id"):
        list_files("folder", path=tmp_path, hr="*_hr.png")


@pytest.mark.parametrize("pattern", ["**/*.png", "*/*.png"])
def test_linked_folders_are_followed_but_not_in_circles(tmp_path: Path, pattern: str) -> None:
    save(tmp_path / "elsewhere/b.png")
    save(tmp_path / "photos/own/a.png")
    (tmp_path / "photos/linked").symlink_to("../elsewhere")
    (tmp_path / "photos/own/up").symlink_to("..")
    (tmp_path / "photos/self").symlink_to("self")
    (tmp_path / "photos/gone").symlink_to("nowhere")
    (tmp_path / "photos/own/c.png").symlink_to("../../elsewhere/b.png")
    files = list_files("folder", path=tmp_path / "photos", hr=pattern)
    assert [file.id for file in files] == ["linked_b", "own_a", "own_c"]


def test_pairs_in_one_folder_under_div2ks_names(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("0001", "0002"):
        save(tmp_path / f"{name}.png", 24, 12)
        for scale in (2, 3, 4):
            save(tmp_path / f"{name}x{scale}.png", 24 // scale, 12 // scale)
    files = list_files("folder", path=tmp_path, hr="*.png", lr="*x{scale}.png", scales=[4, 2])
    assert [(file.id, file.scale) for file in files] == [("0001", 2), ("0001", 4), ("0002", 2), ("0002", 4)]
    assert not caplog.records
    assert files[1].lr_path == tmp_path / "0001x4.png"
    list_files("folder", path=tmp_path, hr="*.png")
    assert "6 photographs look like LR images of others" in caplog.text
    (tmp_path / "0002.png").unlink()
    with pytest.raises(ValueError, match=r"0002x2\.png: no HR file for it"):
        list_files("folder", path=tmp_path, hr="*.png", lr="*x{scale}.png", scales=[2])


@pytest.mark.parametrize(
    "name",
    ["set #1", "what?", "a{b}c", "[x]", "50%", "über", "back\\slash", "star*", "3.00\u202fPM", "a\u200bb"],
)
def test_folders_of_any_name(tmp_path: Path, name: str) -> None:
    photo = save(tmp_path / name / "inner" / "a.png")
    assert list_files("folder", path=tmp_path / name / "inner") == [PhotoFile(id="a", path=photo)]
    assert list_files("folder", path=f"{tmp_path}/{name}/", hr="*/*.png") == [
        PhotoFile(id="inner_a", path=photo)
    ]


def test_a_home_folder_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="'~nobody_of_this_name/photos': no such home folder"):
        list_files("folder", path="~nobody_of_this_name/photos")


@pytest.mark.parametrize("name", ["a\0b", "a\ud800", "x" * 5000])
def test_a_folder_whose_name_is_none(name: str) -> None:
    with pytest.raises(ValueError, match=r"folder [ax].* cannot be read \(") as error:
        list_files("folder", path=name)
    str(error.value).encode()


def test_a_folder_that_may_not_be_entered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "photos/closed/a.png")
    scandir = os.scandir

    def closed(path: Path) -> Any:  # root may read everything
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    for path in (tmp_path / "photos", tmp_path / "photos/closed"):
        with pytest.raises(ValueError, match=r"folder .*closed cannot be read \(Permission denied\)"):
            list_files("folder", path=path, hr="**/*.png")


def test_thousands_of_files(tmp_path: Path) -> None:
    for number in range(3000):
        (tmp_path / f"{number % 7}").mkdir(exist_ok=True)
        (tmp_path / f"{number % 7}" / f"{number:04}.png").touch()
        (tmp_path / f"{number % 7}" / f"._{number:04}.png").touch()
    assert len(list_files("folder", path=tmp_path, hr="**/*.png")) == 3000


def test_pairs_have_a_row_for_each_image_and_scale(tmp_path: Path) -> None:
    save_pairs(tmp_path, ["002", "001"], [2, 3])
    manifest = make_manifest(list_pairs(f"{tmp_path}/x{{scale}}", 3, 2))
    assert manifest["id"].tolist() == ["001", "001", "002", "002"]
    assert manifest["scale"].tolist() == [2, 3, 2, 3]
    first = manifest.iloc[0]
    assert first["lr_path"] == str(tmp_path / "x2" / "001_LR.png")
    assert first["lr_sha256"] == hashlib.sha256(Path(first["lr_path"]).read_bytes()).hexdigest()
    assert describe(manifest) == "2 photographs, 0.0 megapixels"


def test_pairs_of_the_div2k_layout(tmp_path: Path) -> None:
    for name in ("0001", "0002"):
        save(tmp_path / "HR" / f"{name}.png", 26, 15)  # to be cut: 24x12 at x4
        for scale in (2, 4):
            save(tmp_path / "LR" / f"X{scale}" / f"{name}x{scale}.png", 26 // scale, 15 // scale)
    files = list_files("folder", path=tmp_path, hr="HR/*.png", lr="LR/X{scale}/*x{scale}.png", scales=[2, 4])
    manifest = make_manifest(files)
    assert manifest["id"].tolist() == ["0001", "0001", "0002", "0002"]
    assert cut_shapes(rows_for_scale(manifest, 4), 4).tolist() == [[12, 24], [12, 24]]


def test_incomplete_pairs_are_all_named(tmp_path: Path) -> None:
    save_pairs(tmp_path, ["1", "2", "3"], [2, 4])
    (tmp_path / "x2" / "1_LR.png").unlink()
    (tmp_path / "x4" / "3_HR.png").unlink()
    with pytest.raises(ValueError, match="incomplete pairs") as error:
        list_pairs(f"{tmp_path}/x{{scale}}", 2, 4)
    assert f"{tmp_path / 'x2' / '1_HR.png'}: no LR file for it" in str(error.value)
    assert f"{tmp_path / 'x4' / '3_LR.png'}: no HR file for it" in str(error.value)
    assert len(str(error.value).splitlines()) == 3


def test_pairs_that_make_no_sense(tmp_path: Path) -> None:
    save_pairs(tmp_path, ["1"], [2])
    with pytest.raises(ValueError, match=r"x3 does not exist"):
        list_pairs(f"{tmp_path}/x{{scale}}", 2, 3)
    with pytest.raises(ValueError, match=r"same LR files for every scale of \[2, 3\]; put {scale}"):
        list_pairs(tmp_path / "x2", 2, 3)
    with pytest.raises(ValueError, match="without hr"):
        list_files("folder", path=tmp_path / "x2", lr="*_LR.png", scales=[2])
    with pytest.raises(ValueError, match=r"{scale} is for given pairs"):
        list_files("folder", path=f"{tmp_path}/x{{scale}}", scales=[2])


def test_every_bad_file_is_named_in_one_error(tmp_path: Path) -> None:
    save(tmp_path / "good.png")
    whole = save(tmp_path / "truncated.png").read_bytes()
    (tmp_path / "truncated.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.bmp").write_text("hello")
    reasons = {
        "empty.jpg": "is empty",
        "text.bmp": "is not a PNG",
        "truncated.png": "truncated",
    }
    files = list_files("folder", path=tmp_path)
    with pytest.raises(ValueError, match="of 4 files, 3 cannot be used") as error:
        make_manifest(files)
    for line, (name, reason) in zip(str(error.value).splitlines()[1:], reasons.items(), strict=True):
        assert line.startswith(f"  {tmp_path / name}: ")
        assert reason in line


def test_at_most_twenty_bad_files_are_named(tmp_path: Path) -> None:
    for number in range(50):
        (tmp_path / f"{number:02}.png").touch()
    with pytest.raises(ValueError, match="of 50 files, 50 cannot be used") as error:
        make_manifest(list_files("folder", path=tmp_path))
    assert str(error.value).splitlines()[21:] == ["  ... and 30 more"]


def test_pairs_of_wrong_sizes(tmp_path: Path) -> None:
    save_pairs(tmp_path, ["1", "2"], [2])
    save(tmp_path / "x2" / "2_LR.png", 12, 7)
    files = list_pairs(tmp_path / "x2", 2)
    with pytest.raises(ValueError, match=r"2_LR\.png: 12x7 pixels, but .*2_HR\.png has 24x12.* is 12x6"):
        make_manifest(files)


@pytest.mark.parametrize("paired", [False, True])
def test_manifest_survives_a_round_trip(tmp_path: Path, paired: bool) -> None:
    if paired:
        save_pairs(tmp_path / "p", ["NA", "001", "a,b"], [2, 3])
        files = list_pairs(f"{tmp_path}/p/x{{scale}}", 2, 3)
    else:
        for name in ("NA", "001", 'quote"', "two words", "naïve", "null"):
            save(tmp_path / "p" / f"{name}.png")
        files = list_files("folder", path=tmp_path / "p")
    manifest = make_manifest(files)
    write_manifest(manifest, tmp_path / "manifest.csv")
    again = read_manifest(tmp_path / "manifest.csv")
    pd.testing.assert_frame_equal(again, manifest, check_dtype=False)
    assert again.dtypes.astype(str)["scale"] == "Int64"
    assert again["scale"].isna().all() != paired


def test_other_files_are_no_manifest(tmp_path: Path) -> None:
    path = tmp_path / "manifest.csv"
    for text in ("", "id,path\n1,a\n", ",".join(COLUMNS) + "\n1,a,wide,3,0,,,\n", "\x00\x01"):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"manifest\.csv: not a manifest"):
            read_manifest(path)


def test_photographs_in_both(tmp_path: Path) -> None:
    photo = save(tmp_path / "train" / "a.png")
    save(tmp_path / "train" / "b.png", 41)
    save(tmp_path / "test" / "b.png", 42)
    (tmp_path / "test" / "copy.png").write_bytes(photo.read_bytes())
    train, test = (make_manifest(list_files("folder", path=tmp_path / name)) for name in ("train", "test"))
    assert photos_in_both(train, test) == ["copy"]
