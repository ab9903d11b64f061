from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bspa.cli.main import main as bspa
from bspa.data.resize import imresize
from tests.support.noise import noise


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    for name in ("001", "002", "003"):
        hr = noise(38, 50, int(name))
        Image.fromarray(hr).save(tmp_path / f"{name}_HR.png")
        Image.fromarray(imresize(hr[:36, :48], 1 / 4)).save(tmp_path / f"{name}_LR.png")
    return tmp_path


def test_identical_pairs(pairs: Path) -> None:
    command = [sys.executable, "-m", "bspa.data.check_pairs", str(pairs), "--scale", "4"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")
    lines = run.stdout.splitlines()
    assert lines[:-1] == [f"00{n}: 0 of 324 samples differ, largest difference 0" for n in (1, 2, 3)]
    assert lines[-1].startswith("3 pairs at scale 4, border clamp: 3 identical, 0 differ (0 of 972 samples")


def test_pairs_that_differ(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lr = np.array(Image.open(pairs / "002_LR.png"))
    lr[0, 0] = np.where(lr[0, 0] > 100, lr[0, 0] - 7, lr[0, 0] + 7)
    lr[5, 5, 1] ^= 1
    Image.fromarray(lr).save(pairs / "002_LR.png")
    assert bspa(["check-pairs", str(pairs), "--scale", "4"]) == 1
    out = capsys.readouterr().out
    assert "002: 4 of 324 samples differ, largest difference 7" in out
    assert "2 identical, 1 differ (4 of 972 samples, largest difference 7)" in out


def test_border_and_patterns(tmp_path: Path) -> None:
    for folder in ("HR", "LR/X2"):
        (tmp_path / folder).mkdir(parents=True)
    Image.fromarray(noise(30, 30)).save(tmp_path / "HR" / "a.png")
    Image.fromarray(imresize(noise(30, 30), 1 / 2, border="symmetric")).save(tmp_path / "LR/X2/ax2.png")
    command = [str(tmp_path), "--scale", "2", "--hr", "HR/*.png", "--lr", "LR/X{scale}/*x{scale}.png"]
    assert bspa(["check-pairs", *command, "--border", "symmetric"]) == 0
    assert bspa(["check-pairs", *command]) == 1


def test_mistakes_are_one_line_and_another_status(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (pairs / "gone").mkdir()
    for folder, scale, message in (
        (pairs / "gone", 4, "has no photographs"),
        (pairs, 3, "12x9 pixels, but the LR of"),
    ):
        assert bspa(["check-pairs", str(folder), "--scale", str(scale)]) == 2
        assert message in capsys.readouterr().err
