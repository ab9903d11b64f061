from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from bspa.cli.main import main as bspa
from tests.support.networks import deliver, small


def deliver_with_scores(results: Path) -> Path:
    path = deliver(results / "models" / "net_x3_bspa_seed0.safetensors", "edsr", 3, steps="1200")
    path.with_suffix(".json").write_text(json.dumps({"key": "k", "device": "cpu", "device_seconds": 12.5}))
    for name, psnr in ((path.stem, 30.0), ("bicubic_x3", 28.0), ("another", 99.0)):
        table = results / "evaluation" / name / "set5.csv"
        table.parent.mkdir(parents=True)
        table.write_text(f"image,width,psnr,ssim,key\na,9,{psnr},0.9,k\nb,9,{psnr + 1},0.8,k\n")
    return path


def test_a_delivered_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = deliver_with_scores(tmp_path)
    assert bspa(["info", str(path), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["kind"], found["architecture"], found["scale"]) == ("delivered", "EDSR", 3)
    assert (found["made"]["steps"], found["summary"]["device_seconds"]) == ("1200", 12.5)
    assert found["scores"] == {"set5": {"images": 2, "psnr": 30.5, "ssim": pytest.approx(0.85)}}
    assert found["bicubic"]["set5"]["psnr"] == 28.5
    assert bspa(["info", str(path)]) == 0
    out = capsys.readouterr().out
    assert "PSNR 30.50, SSIM 0.8500 (mean of 2 images)" in out
    assert "EDSR x3" in out


def test_a_file_of_another_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = small("msrresnet").state_dict()
    torch.save({"params": weights}, tmp_path / "a.pth")
    assert bspa(["info", str(tmp_path / "a.pth"), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["kind"] == "foreign"
    assert found["parameters"] == sum(tensor.numel() for tensor in weights.values())
    assert found["types"] == ["float32"]


def test_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.safetensors").write_text("no weights")
    for name in ("text.safetensors", "gone.safetensors"):
        assert bspa(["info", str(tmp_path / name)]) == 2
        assert name in capsys.readouterr().err
