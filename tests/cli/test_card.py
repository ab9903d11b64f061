from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from bspa.cli.main import main as bspa
from tests.support.networks import deliver
from tests.support.noise import noise


def test_the_card(tmp_path: Path) -> None:
    made = {"steps": "1200", "trained_on": "own", "batch": "8", "hr_size": "48", "losses": "l1"}
    model = deliver(tmp_path / "results" / "models" / "net.safetensors", "edsr", 2, **made)
    table = tmp_path / "results" / "evaluation" / "net" / "set5.csv"
    table.parent.mkdir(parents=True)
    table.write_text("image,psnr,ssim\na,30,0.9\nb,31,0.8\n")
    Image.fromarray(noise(61, 150)).save(tmp_path / "photo.png")
    command = ["card", str(model), "--picture", str(tmp_path / "photo.png"), "--licence", "CC0-1.0"]
    assert bspa([*command, "--set", "trainingEpochs=12", "--set", "author=me"]) == 0
    folder = model.parent
    card = json.loads((folder / "net.card.json").read_text())
    expected = {"name": "net", "architecture": "edsr", "scale": 2, "inputChannels": 3, "license": "CC0-1.0"}
    expected |= {"dataset": "own", "trainingIterations": 1200, "trainingEpochs": 12, "author": "me"}
    expected |= {"trainingBatchSize": 8, "trainingHRSize": 48, "trainingLosses": "l1"}
    assert {name: card[name] for name in expected} == expected
    assert card["scores"]["set5"]["psnr"] == 30.5
    assert card["resources"][0]["size"] == model.stat().st_size
    text = (folder / "net.md").read_text()
    assert "| set5 | 2 | 30.50 | - | 0.8500 | - |" in text
    assert "![bicubic, this network, original](net.png)" in text
    assert Image.open(folder / "net.png").size == (3 * 256 + 16, 120)


def test_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(deliver(tmp_path / "net.safetensors", "edsr", 2))
    for more, message in (
        (["--set", "colour=red"], "unknown field 'colour'"),
        (["--set", "name"], "expected FIELD=VALUE"),
        (["--picture", str(tmp_path / "gone.png")], "is not there"),
    ):
        assert bspa(["card", model, *more]) == 2
        assert message in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["net.safetensors"]
