"""Enlarging pictures: what they come with is kept, and nothing half-made is left."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import png
import pytest
import tifffile
import torch
from PIL import ExifTags, Image, ImageCms, features

import bspa
from bspa.cli.main import main
from bspa.cli.upscale import upscale_files
from bspa.data.pictures import Picture, read_picture, write_picture
from tests.support.networks import deliver
from tests.support.noise import noise


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return deliver(tmp_path_factory.mktemp("model") / "model.safetensors", "edsr", 2)


def smooth(height: int, width: int, dtype: type = np.uint8) -> np.ndarray:
    rows, columns = np.mgrid[0:height, 0:width]
    white = np.iinfo(dtype).max
    return np.stack(
        [white * rows / height, white * columns / width, white * (rows + columns) / (height + width)], 2
    ).astype(dtype)


def test_a_picture_is_what_super_resolve_makes(model: Path, tmp_path: Path) -> None:
    Image.fromarray(smooth(12, 17)).save(tmp_path / "a.png")
    result = upscale_files(model, [tmp_path / "a.png"], tmp_path / "out")
    assert result.written == [tmp_path / "out/a.png"]
    expected = bspa.super_resolve(bspa.load_model(model), smooth(12, 17))
    np.testing.assert_array_equal(np.array(Image.open(tmp_path / "out/a.png")), expected)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bits_go_through_without_a_waist(model: Path, tmp_path: Path, suffix: str) -> None:
    deep = smooth(12, 17, np.uint16)
    path = tmp_path / f"a.{suffix}"
    write_picture(Picture(deep), path)
    upscale_files(model, [path], tmp_path / "out")
    network = bspa.load_model(model)
    with torch.inference_mode():
        x = torch.from_numpy(deep.astype(np.float32) / 65535).permute(2, 0, 1)[None]
        expected = network(x).clamp(0, 1)[0].permute(1, 2, 0).double().numpy() * 65535
    large = read_picture(tmp_path / f"out/a.{suffix}").rgb
    assert large.dtype == np.uint16
    assert np.abs(large - expected).max() < 2
    assert len(np.unique(large)) > 400  # more than 8 bits could hold in these values


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("gray", [True, False])
@pytest.mark.parametrize("transparent", [True, False])
def test_pictures_come_back_as_they_were(
    tmp_path: Path, suffix: str, dtype: type, gray: bool, transparent: bool
) -> None:
    rgb = smooth(9, 11, dtype)
    if gray:
        rgb = np.repeat(rgb[:, :, :1], 3, axis=2)
    alpha = smooth(9, 11, dtype)[:, :, 1] if transparent else None
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    write_picture(Picture(rgb, alpha, gray=gray, profile=profile), tmp_path / f"a.{suffix}")
    back = read_picture(tmp_path / f"a.{suffix}")
    assert back.rgb.dtype == dtype
    np.testing.assert_array_equal(back.rgb, rgb)
    assert (back.alpha is None) == (alpha is None)
    if alpha is not None:
        np.testing.assert_array_equal(back.alpha, alpha)
    assert (back.gray, back.profile) == (gray, profile)


def test_other_programs_read_16_bit_files(tmp_path: Path) -> None:
    rgb = smooth(9, 11, np.uint16)
    write_picture(Picture(rgb), tmp_path / "a.png")
    write_picture(Picture(rgb), tmp_path / "a.tif")
    *_, rows, _ = png.Reader(filename=str(tmp_path / "a.png")).asDirect()
    np.testing.assert_array_equal(np.vstack(list(rows)).reshape(9, 11, 3), rgb)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), rgb)
    assert Image.open(tmp_path / "a.png").size == (11, 9)


def test_orientation_is_applied_once(model: Path, tmp_path: Path) -> None:
    pixels = smooth(10, 16)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Make] = "Camera"
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    upscale_files(model, [tmp_path / "a.png"], tmp_path / "out")
    with Image.open(tmp_path / "out/a.png") as large:
        assert large.size == (20, 32)
        assert large.getexif().get(ExifTags.Base.Orientation, 1) == 1
        assert large.getexif()[ExifTags.Base.Make] == "Camera"
        upright = np.ascontiguousarray(np.rot90(pixels, -1))
        np.testing.assert_array_equal(np.array(large), bspa.super_resolve(bspa.load_model(model), upright))


@pytest.mark.parametrize(
    ("source", "deep"), [("png", False), ("png", True), ("tif", False), ("tif", True), ("jpg", False)]
)
@pytest.mark.parametrize("target", ["png", "tif", "jpg", "webp", "avif"])
def test_exif_is_kept_less_what_it_says_of_the_old_file(
    tmp_path: Path, source: str, target: str, deep: bool
) -> None:
    if target == "avif" and not features.check("avif"):
        pytest.skip("this Pillow was built without AVIF")
    exif = Image.Exif()
    exif.update({ExifTags.Base.Make: "Camera", 282: 300.0, 283: 300.0, 296: 2})
    exif.get_ifd(ExifTags.IFD.Exif).update(
        {ExifTags.Base.ISOSpeedRatings: 400, ExifTags.Base.LensMake: "Glass"}
    )
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    pixels = smooth(9, 11, np.uint16 if deep else np.uint8)
    write_picture(Picture(pixels, exif=exif.tobytes()), tmp_path / f"a.{source}")
    write_picture(read_picture(tmp_path / f"a.{source}"), tmp_path / f"b.{target}")
    back = Image.Exif()
    back.load(read_picture(tmp_path / f"b.{target}").exif or b"")
    own = {tag: value for tag, value in back.items() if tag not in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)}
    assert own == {ExifTags.Base.Make: "Camera", 282: 300, 283: 300, 296: 2}
    found = back.get_ifd(ExifTags.IFD.Exif)
    assert (found[ExifTags.Base.ISOSpeedRatings], found[ExifTags.Base.LensMake]) == (400, "Glass")
    assert back.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] == "N"


def test_heic_is_read_upright_with_what_it_came_with(model: Path, tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif", reason="the extra heif is not installed")
    heif.register_heif_opener()
    pixels = smooth(64, 96)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Make] = "Camera"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = Image.fromarray(pixels)
    image.save(tmp_path / "a.heic", quality=-1, chroma=444, exif=exif.tobytes(), icc_profile=profile)
    result = upscale_files(model, [tmp_path / "a.heic"], tmp_path / "out")
    assert result.written == [tmp_path / "out/a.png"]
    large = read_picture(tmp_path / "out/a.png")
    assert large.rgb.shape == (192, 128, 3)
    lr = read_picture(tmp_path / "a.heic").rgb.astype(int)
    assert np.abs(lr - np.rot90(pixels, -1)).mean() < 2
    assert large.profile == profile
    back = Image.Exif()
    back.load(large.exif or b"")
    assert dict(back) == {ExifTags.Base.Make: "Camera"}


def test_avif_comes_back(model: Path, tmp_path: Path) -> None:
    if not features.check("avif"):
        pytest.skip("this Pillow was built without AVIF")
    write_picture(Picture(smooth(64, 96), smooth(64, 96)[:, :, 0]), tmp_path / "a.avif")
    assert upscale_files(model, [tmp_path / "a.avif"], tmp_path / "out").written == [tmp_path / "out/a.avif"]
    large = read_picture(tmp_path / "out/a.avif")
    assert large.rgb.shape == (128, 192, 3)
    assert large.alpha is not None


def test_transparency_is_enlarged_and_hidden_colours_do_not_bleed(model: Path, tmp_path: Path) -> None:
    rgba = np.zeros((12, 12, 4), np.uint8)
    rgba[:, 6:] = (200, 150, 100, 255)  # the left half is invisible black
    Image.fromarray(rgba).save(tmp_path / "a.png")
    upscale_files(model, [tmp_path / "a.png"], tmp_path / "out")
    large = np.array(Image.open(tmp_path / "out/a.png"))
    assert large.shape == (24, 24, 4)
    assert large[:, :8, 3].max() == 0
    assert large[:, 16:, 3].min() == 255
    even = np.broadcast_to(np.array([200, 150, 100], np.uint8), (12, 12, 3))
    expected = bspa.super_resolve(bspa.load_model(model), np.ascontiguousarray(even))
    np.testing.assert_array_equal(large[:, :, :3], expected)


def test_gray_stays_gray(model: Path, tmp_path: Path) -> None:
    Image.fromarray(smooth(12, 17)[:, :, 0]).save(tmp_path / "a.jpg")
    upscale_files(model, [tmp_path / "a.jpg"], tmp_path / "out")
    with Image.open(tmp_path / "out/a.jpg") as large:
        assert (large.mode, large.size) == ("L", (34, 24))


def test_folders_keep_their_form_and_hidden_files_are_left_out(model: Path, tmp_path: Path) -> None:
    for name in ("a.PNG", "deep/er/b.jpg", "deep/._b.jpg", ".hidden/c.png", "notes.txt"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(8, 8)).save(tmp_path / "in" / name, format="PNG" if "PNG" in name else "JPEG")
    assert main(["upscale", str(model), str(tmp_path / "in"), "-o", str(tmp_path / "in/out")]) == 0
    out = tmp_path / "in/out"
    assert sorted(str(f.relative_to(out)) for f in out.rglob("*.*")) == ["a.PNG", "deep/er/b.jpg"]
    # A second run finds nothing to do, and does not take its own output for input.
    assert upscale_files(model, [tmp_path / "in"], out).written == []


def test_finished_pictures_are_skipped(model: Path, tmp_path: Path) -> None:
    Image.fromarray(noise(8, 8)).save(tmp_path / "a.png")
    upscale_files(model, [tmp_path / "a.png"], tmp_path / "out")
    before = (tmp_path / "out/a.png").stat().st_mtime_ns
    assert upscale_files(model, [tmp_path / "a.png"], tmp_path / "out").skipped == [tmp_path / "out/a.png"]
    assert (tmp_path / "out/a.png").stat().st_mtime_ns == before
    upscale_files(model, [tmp_path / "a.png"], tmp_path / "out", overwrite=True)
    assert (tmp_path / "out/a.png").stat().st_mtime_ns > before


def test_collisions_are_refused_before_anything_starts(model: Path, tmp_path: Path) -> None:
    for folder, name in (("x", "a.png"), ("x", "a.jpg"), ("y", "a.png")):
        (tmp_path / folder).mkdir(exist_ok=True)
        Image.fromarray(noise(8, 8)).save(tmp_path / folder / name)
    with pytest.raises(ValueError, match=r"a\.jpg.*a\.png would become the same file"):
        upscale_files(model, [tmp_path / "x"], tmp_path / "out", output_format="png")
    with pytest.raises(ValueError, match=r"x/a\.png.*y/a\.png would become the same file"):
        upscale_files(model, [tmp_path / "x", tmp_path / "y"], tmp_path / "out")
    with pytest.raises(ValueError, match="is one of the pictures"):
        upscale_files(model, [tmp_path / "y"], tmp_path / "y")
    assert not (tmp_path / "out").exists()


def test_a_bad_picture_stops_no_other(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"no picture")
    Image.fromarray(noise(8, 8)).save(folder / "b.png")
    frames = [Image.fromarray(noise(8, 8, n)) for n in range(2)]
    for name in ("c.gif.png", "d.tif", "e.webp"):
        kind = "GIF" if "gif" in name else None
        frames[0].save(folder / name, save_all=True, append_images=frames[1:], format=kind)
    assert main(["upscale", str(model), str(folder), "-o", str(tmp_path / "out")]) == 1
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["b.png"]
    printed = capsys.readouterr()
    assert "1 written, 0 there already, 4 failed" in printed.out
    for name in ("a.png", "c.gif.png", "d.tif", "e.webp"):
        assert f"failed: {folder / name}" in printed.err
    assert "holds 2 pictures" in printed.err


def test_what_a_format_cannot_keep_is_said(tmp_path: Path) -> None:
    rgb, alpha = smooth(8, 8, np.uint16), np.zeros((8, 8), np.uint16)
    assert len(write_picture(Picture(rgb, alpha), tmp_path / "a.jpg")) == 2
    assert np.array(Image.open(tmp_path / "a.jpg")).min() > 250  # nothing is visible on white


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone.png"], "is not there"),
        (["."], "has no pictures"),
        (["a.png", "--device", "cuda:99"], "--device"),
    ],
)
def test_mistakes_are_one_line(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    arguments: list[str], message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    if arguments[0] == "a.png":
        Image.fromarray(noise(8, 8)).save("a.png")
    assert main(["upscale", str(model), *arguments, "-o", "out"]) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1


def test_a_file_of_another_program_says_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(noise(8, 8)).save(tmp_path / "a.png")
    torch.save({"conv.weight": torch.zeros(1)}, tmp_path / "model.pth")
    command = ["upscale", str(tmp_path / "model.pth"), str(tmp_path / "a.png"), "-o", str(tmp_path / "out")]
    assert main(command) == 2
    assert "model.pth" in capsys.readouterr().err


def test_ctrl_c_leaves_whole_files(model: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(15):
        Image.fromarray(noise(200, 300, number)).save(tmp_path / f"in/{number:02}.png")
    command = [sys.executable, "-m", "bspa.cli.main", "upscale", str(model), str(tmp_path / "in"), "-o"]
    # A shell starts background jobs with SIGINT ignored, and pytest may be one.
    process = subprocess.Popen(
        [*command, str(tmp_path / "out")], stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not list((tmp_path / "out").glob("[0-9]*.png")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    files = sorted((tmp_path / "out").iterdir())
    assert 0 < len(files) < 15
    for file in files:
        assert Image.open(file).size == (600, 400)
        np.array(Image.open(file))
    assert len(upscale_files(model, [tmp_path / "in"], tmp_path / "out").written) == 15 - len(files)
