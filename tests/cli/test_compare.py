from __future__ import annotations

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bspa.cli.compare import compare
from bspa.cli.main import main as bspa
from bspa.data.resize import imresize
from bspa.metrics.psnr import psnr_y
from bspa.metrics.ssim import ssim_y
from bspa.models.inference import super_resolve
from bspa.models.weights import load_model
from tests.support.networks import deliver
from tests.support.noise import noise


def model_in(path: Path, scale: int = 2, seed: int = 0) -> str:
    return str(deliver(path, "fsrcnn", scale, seed=seed))


def save(path: Path, pixels: Any) -> Any:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


class Page(HTMLParser):
    """The tables, addresses and pictures of a page."""

    def __init__(self, path: Path):
        super().__init__()
        self.text = path.read_text(encoding="utf-8")
        self.cells: list[str] = []
        self.addresses: list[str] = []
        self.cell = False
        self.feed(self.text)
        found = re.search(r'id="pictures">(.*?)</script>', self.text, re.DOTALL)
        assert found
        self.pictures = {picture["name"]: picture for picture in json.loads(found[1])}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [str(value) for name, value in attrs if name in ("src", "href")]
        if tag in ("td", "th"):
            self.cell = True
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        self.cell = self.cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self.cell:
            self.cells[-1] += data

    def pixels(self, picture: str, column: str) -> Any:
        kind, content = self.pictures[picture]["images"][column].split(",")
        assert kind == "data:image/png;base64"
        return np.array(Image.open(io.BytesIO(base64.b64decode(content))))


def test_pairs_in_one_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = model_in(tmp_path / "a.safetensors"), model_in(tmp_path / "b.safetensors", seed=1)
    hr, lr = {}, {}
    for name in ("001", "002"):
        hr[name] = save(tmp_path / "set" / f"{name}_HR.png", noise(40, 50, int(name)))
        lr[name] = save(tmp_path / "set" / f"{name}_LR.png", imresize(hr[name], 1 / 2))
    page = tmp_path / "page.html"
    assert bspa(["compare", first, second, "--on", str(tmp_path / "set"), "-o", str(page)]) == 0
    read = Page(page)
    expected = ["PSNR in dB / SSIM", "bicubic", "a", "b"]
    scores = np.zeros((2, 3, 2))
    for i, name in enumerate(hr):
        made = {"bicubic": imresize(lr[name], 2), "HR": hr[name]}
        made |= {Path(file).stem: super_resolve(load_model(file), lr[name]) for file in (first, second)}
        assert set(read.pictures[name]["images"]) == set(made)
        for column, pixels in made.items():
            np.testing.assert_array_equal(read.pixels(name, column), pixels)
        scores[i] = [[m(made[c], hr[name], 2) for m in (psnr_y, ssim_y)] for c in ("bicubic", "a", "b")]
        expected += [name, *(f"{psnr:.2f} / {ssim:.4f}" for psnr, ssim in scores[i])]
    expected += ["mean", *(f"{psnr:.2f} / {ssim:.4f}" for psnr, ssim in scores.mean(axis=0))]
    assert read.cells == expected
    out = capsys.readouterr().out
    assert f"mean of a: {expected[-2]}" in out
    assert f"001: bicubic {expected[5]}, a {expected[6]}, b {expected[7]}" in out


def test_the_page_needs_nothing_else(tmp_path: Path) -> None:
    model = model_in(tmp_path / "a & <b>.safetensors")
    save(tmp_path / "in" / "x'<&.png", noise(12, 9))
    assert compare([model], tmp_path / "in", output=tmp_path / "page.html") == {}
    page = Page(tmp_path / "page.html")
    assert page.addresses == []
    assert not re.search(r"https?:|url\(|@import|import ", page.text)
    assert set(page.pictures["x'<&"]["images"]) == {"bicubic", "a & <b>"}
    assert page.cells == []
    assert "without scores" in page.text
    assert page.text.count("</script>") == 2


@pytest.mark.parametrize(
    ("lr_name", "hr_name"),
    [("a.png", "a.png"), ("ax2.png", "a.png"), ("a_LR.png", "a.png"), ("a.png", "a_HR.png")],
)
def test_originals_of_another_folder(lr_name: str, hr_name: str, tmp_path: Path) -> None:
    hr = save(tmp_path / "hr" / hr_name, noise(31, 41))  # not a multiple of the scale
    lr = save(tmp_path / "lr" / lr_name, imresize(hr[:30, :40], 1 / 2))
    save(tmp_path / "lr" / lr_name.replace("a", "more"), lr)
    model = model_in(tmp_path / "m.safetensors")
    scores = compare([model], tmp_path / "lr", hr=tmp_path / "hr", output=tmp_path / "page.html")
    (found,) = scores.values()
    assert found["bicubic"]["psnr"] == psnr_y(imresize(lr, 2), hr[:30, :40], 2)
    assert len(Page(tmp_path / "page.html").pictures) == 2


def test_lr_made_from_hr(tmp_path: Path) -> None:
    hr = save(tmp_path / "hr" / "a.png", noise(38, 45))
    model = model_in(tmp_path / "m.safetensors", scale=4)
    scores = compare([model], tmp_path / "hr", from_hr=True, output=tmp_path / "page.html")
    sr = super_resolve(load_model(model), imresize(hr[:36, :44], 1 / 4))
    assert scores["a"]["m"] == {"psnr": psnr_y(sr, hr[:36, :44], 4), "ssim": ssim_y(sr, hr[:36, :44], 4)}


def test_a_large_picture_is_shown_where_the_columns_differ_most(tmp_path: Path) -> None:
    hr = np.full((90, 120, 3), 128, np.uint8)
    hr[60:70, 80:90] = noise(10, 10)
    save(tmp_path / "hr" / "a.png", hr)
    model = model_in(tmp_path / "m.safetensors")
    compare([model], tmp_path / "hr", from_hr=True, output=tmp_path / "page.html", crop=32)
    page = Page(tmp_path / "page.html")
    assert page.pictures["a"]["note"].startswith("120x90 pixels; shown: 32x32 from (")
    shown = page.pixels("a", "HR")
    assert shown.shape == (32, 32, 3)
    assert np.count_nonzero(shown != 128) == np.count_nonzero(hr != 128)
    compare([model], tmp_path / "hr", from_hr=True, output=tmp_path / "page.html", crop=0)
    np.testing.assert_array_equal(Page(tmp_path / "page.html").pixels("a", "HR"), hr)


def test_a_tiny_picture_has_no_ssim(tmp_path: Path) -> None:
    save(tmp_path / "hr" / "a.png", noise(12, 12))
    model = model_in(tmp_path / "m.safetensors")
    scores = compare([model], tmp_path / "hr", from_hr=True, output=tmp_path / "page.html")
    assert np.isfinite(scores["a"]["m"]["psnr"])
    assert np.isnan(scores["a"]["m"]["ssim"])
    assert Page(tmp_path / "page.html").cells[4].endswith(" / -")


def test_models_of_one_name(tmp_path: Path) -> None:
    save(tmp_path / "in" / "a.png", noise(12, 9))
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    models = [model_in(tmp_path / folder / "m.v1.safetensors") for folder in ("one", "two")]
    compare(["bicubic", *models], tmp_path / "in", output=tmp_path / "page.html")
    images = Page(tmp_path / "page.html").pictures["a"]["images"]
    assert list(images) == ["bicubic", "one/m.v1", "two/m.v1"]


def test_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, other = model_in(tmp_path / "a.safetensors"), model_in(tmp_path / "b.safetensors", scale=3)
    save(tmp_path / "lr" / "p.png", noise(12, 9))
    save(tmp_path / "hr" / "p.png", noise(12, 9))
    save(tmp_path / "others" / "q.png", noise(24, 18))
    (tmp_path / "empty").mkdir()
    for arguments, message in (
        ([model, other, "--on", "lr"], "networks of one scale can be compared; found: a x2, b x3"),
        (["bicubic", "--on", "lr"], "found: no model"),
        ([model, model, "--on", "lr"], "named twice"),
        ([model, "--on", "empty"], "has no photographs"),
        ([model, "--on", "lr", "--hr", "hr"], "8x12 pixels, cut to a multiple of 2, but "),
        ([model, "--on", "lr", "--hr", "others"], "no photograph has the name of one in"),
        ([model, "--on", "lr", "--crop", "-1"], "--crop is -1"),
    ):
        paths = [str(tmp_path / word) if (tmp_path / word).is_dir() else word for word in arguments]
        assert bspa(["compare", *paths, "-o", str(tmp_path / "page.html")]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()
