"""The page of training runs: those that are finished, and those in progress."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bspa.cli.main import main as bspa
from bspa.live import read_runs, to_page
from bspa.models.precision import choose_precision
from bspa.training.checkpoint import open_checkpoints
from bspa.training.journal import write_journal
from bspa.training.loop import train_stage
from bspa.training.stage import Schedule
from tests.support.noise import noise
from tests.support.training import CPU, IMAGES, Noise, make_stage, make_task, train

RUN = "fsrcnn_x4_bspa_seed0"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A run with a finished uniform stage, and an inverse one that was stopped after 6 of its 12 steps."""
    cycle = tmp_path / "results/training" / RUN / "cycle1"
    psnr = iter([20.0, 21.5, 23.0])
    first = train(tmp_path, make_stage(validate_every=1), validation=lambda *_: ({"psnr": next(psnr)}, None))
    write_journal(first.rows, cycle / "uniform.csv")
    stage = make_stage("inverse", first_epoch=3)
    with open_checkpoints(cycle / "inverse.safetensors", "") as checkpoints, pytest.raises(SystemExit):
        train_stage(
            make_task(stage), Noise(signal_at=5), Schedule(stage=stage, images=IMAGES), masks={},
            precision=choose_precision("float32", CPU), device=CPU, checkpoints=checkpoints,
            save_every_seconds=1e9,
        )  # fmt: skip
    (tmp_path / "results/training" / RUN / "previews").mkdir()
    for step in range(1, 7):
        path = tmp_path / "results/training" / RUN / "previews" / f"crop1_step{step:08}.png"
        Image.fromarray(noise(8, 24, step)).save(path)
    return tmp_path / "results"


def test_a_run_in_progress_is_read_as_far_as_it_is_saved(results: Path) -> None:
    (run,) = read_runs(results)
    assert (run.name, run.in_progress) == (RUN, "cycle1 inverse")
    assert [row["step"] for row in run.rows] == [4, 8, 12, 16]
    assert run.curve("psnr") == [(4, 20.0), (8, 21.5), (12, 23.0)]
    assert [step for step, _ in run.curve("loss")] == [4, 8, 12, 16]


def test_the_page_needs_no_other_file(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bspa(["live", str(results)]) == 0
    page = (results / "live.html").read_text()
    assert capsys.readouterr().out.strip() == str(results / "live.html")
    assert "Runs: 1; with a stage that is not finished: 1" in page
    assert "16 steps, in progress: cycle1 inverse" in page
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert "http-equiv" not in page
    pictures = [base64.b64decode(data) for data in re.findall(r"base64,([^\"]+)", page)]
    files = sorted((results / "training" / RUN / "previews").iterdir())
    assert pictures == [file.read_bytes() for file in files[-4:]]
    curves = [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)]
    assert [curve.get("aria-label") for curve in curves] == [
        "Loss, log scale", "PSNR (dB); dashed: of the average", "Learning rate",
    ]  # fmt: skip
    points = np.array([p.split(",") for p in curves[1][0].attrib["points"].split()], float)
    assert points[:, 0].tolist() == [130.0, 230.0, 330.0]  # steps 4, 8 and 12, from 30 to 330
    assert points[:, 1].tolist() == [140.0, 85.0, 30.0]


def test_names_are_escaped(results: Path) -> None:
    assert "<b>" not in to_page([], "<b>")


def test_it_is_written_again_while_it_is_watched(results: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    command = [sys.executable, "-m", "bspa.cli.main", "live", str(results), "-o", str(page), "--watch", "0.1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        for again in (True, False):
            deadline = time.monotonic() + 60
            while not page.exists() and time.monotonic() < deadline:
                time.sleep(0.02)
            if again:
                page.unlink()
        process.send_signal(2)
        assert process.wait(20) == 130
    assert '<meta http-equiv="refresh" content="0.1">' in page.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["nowhere"], "nowhere/training: no such folder"), (["--watch", "0"], "--watch: 0")],
)
def test_mistakes_are_told(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert bspa(["live", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_it_loads_neither_torch_nor_numpy() -> None:
    code = "import bspa.live, sys; print({'torch', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
