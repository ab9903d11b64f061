from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bspa.data.check_pairs import main
from bspa.data.resize import imresize


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    rng = np.random.default_rng(3)
    for name in ("001", "002", "003"):
        hr = rng.integers(0, 256, (38, 50, 3), dtype=np.uint8)
        Image.fromarray(hr).save(tmp_path / f"{name}_HR.png")
        Image.fromarray(imresize(hr[:36, :48], 1 / 4)).save(tmp_path / f"{name}_LR.png")
    return tmp_path


def test_identical_pairs(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(pairs), "--scale", "4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "001: 0 of 324 samples differ, largest difference 0"
    assert len(lines) == 4
    assert lines[-1].startswith("3 pairs at scale 4, border clamp: 3 identical, 0 differ (0 of 972 samples")


def test_pairs_that_differ(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lr = np.array(Image.open(pairs / "002_LR.png"))
    lr[0, 0] = np.where(lr[0, 0] > 100, lr[0, 0] - 7, lr[0, 0] + 7)
    lr[5, 5, 1] ^= 1
    Image.fromarray(lr).save(pairs / "002_LR.png")
    assert main([str(pairs), "--scale", "4"]) == 1
    out = capsys.readouterr().out
    assert "002: 4 of 324 samples differ, largest difference 7" in out
    assert "2 identical, 1 differ (4 of 972 samples, largest difference 7)" in out


def test_border_and_patterns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hr = np.random.default_rng(4).integers(0, 256, (30, 30, 3), dtype=np.uint8)
    for folder in ("HR", "LR/X2"):
        (tmp_path / folder).mkdir(parents=True)
    Image.fromarray(hr).save(tmp_path / "HR" / "a.png")
    Image.fromarray(imresize(hr, 1 / 2, border="symmetric")).save(tmp_path / "LR" / "X2" / "ax2.png")
    command = [str(tmp_path), "--scale", "2", "--hr", "HR/*.png", "--lr", "LR/X{scale}/*x{scale}.png"]
    assert main([*command, "--border", "symmetric"]) == 0
    assert main(command) == 1
    assert "a: " in capsys.readouterr().out


def test_mistakes_are_one_line_and_another_status(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(pairs / "gone"), "--scale", "4"]) == 2
    assert "does not exist" in capsys.readouterr().err
    assert main([str(pairs), "--scale", "3"]) == 2
    assert "12x9 pixels, but the LR of" in capsys.readouterr().err
    (pairs / "003_LR.png").unlink()
    assert main([str(pairs), "--scale", "4"]) == 2
    assert "003_HR.png: no LR file for it" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main([str(pairs), "--scale", "0"])
    assert stop.value.code == 2


def test_as_a_command(pairs: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "bspa.data.check_pairs", str(pairs), "--scale", "4"],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    assert run.stdout.count("0 of 324 samples differ") == 3


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_benchmark_pairs(data: Path, scale: int, capsys: pytest.CaptureFixture[str]) -> None:
    status = main([str(data / "benchmarks" / "Set5" / "x{scale}"), "--scale", str(scale)])
    assert status == 0, capsys.readouterr().out
