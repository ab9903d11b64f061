from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure

from bspa.cli.main import main as bspa
from bspa.figures.style import save_figure
from bspa.models.registry import count_parameters
from tests.support.networks import deliver, small

ORIGIN = {
    "rule": "deliver_weights",
    "key": "k",
    "settings": {"train_uniform": {"batch": [4]}},
    "code": {"train_uniform": ["c0de"]},
    "modules": {},
    "timed": False,
    "data": {"own": {"photographs": 2, "sha256": "d161"}},
    "ran": [{"rules": ["train_uniform"], "packages": {"torch": "2.1"}, "device": "cpu: EPYC, 1 thread"}],
}


def deliver_with_scores(results: Path) -> Path:
    made = {"steps": "1200", "method": "bspa", "origin": json.dumps(ORIGIN)}
    path = deliver(results / "models" / "net_x3_bspa_seed0.safetensors", "edsr", 3, **made)
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
    assert found["origin"] == ORIGIN
    assert_origin_is_told(out)


def assert_origin_is_told(out: str) -> None:
    told = {re.split(r"(?<=\w)  +", line)[0][2:]: line.split()[-1] for line in out.splitlines()}
    expected = {"made by": "k", "data own": "d161", "code train_uniform": "c0de"}
    expected |= {"settings train_uniform": "4", "ran": "torch=2.1", "  on": "thread"}
    assert {name: told.get(name) for name in expected} == expected


def test_an_onnx_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    path = deliver_with_scores(tmp_path)
    assert bspa(["export", str(path), "--onnx", "-o", str(tmp_path / "net.onnx")]) == 0
    capsys.readouterr()
    assert bspa(["info", str(tmp_path / "net.onnx"), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["kind"], found["architecture"], found["scale"], found["opset"]) == (
        "onnx", "edsr", 3, {"ai.onnx": 17},
    )  # fmt: skip
    network = small("edsr", 3)
    # Equal tensors, as of the shifts by the mean, are stored once.
    every = sum(parameter.numel() for parameter in network.parameters())
    assert count_parameters(network) <= found["parameters"] <= every
    assert found["inputs"]["input"][:2] == [1, 3]
    assert "Conv" in found["operators"]
    assert (found["metadata"]["method"], found["metadata"]["steps"]) == ("bspa", "1200")
    assert found["origin"] == ORIGIN
    assert bspa(["info", str(tmp_path / "net.onnx")]) == 0
    assert_origin_is_told(capsys.readouterr().out)
    (tmp_path / "net.onnx").write_bytes((tmp_path / "net.onnx").read_bytes()[:200])
    assert bspa(["info", str(tmp_path / "net.onnx")]) == 2
    assert "net.onnx: not an ONNX file, or a damaged one" in capsys.readouterr().err


def test_a_table_a_figure_and_another_product(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "table4.json").write_text(json.dumps(ORIGIN))
    (tmp_path / "table4.csv").write_text("scale\n4\n")
    save_figure(Figure(figsize=(1, 1)), tmp_path / "a.pdf", tmp_path / "a.png", ORIGIN)
    for name in ("table4.csv", "table4.json", "a.pdf", "a.png"):
        assert bspa(["info", str(tmp_path / name)]) == 0
        out = capsys.readouterr().out
        assert "table or figure of bspa" in out
        assert_origin_is_told(out)
    product = {"file": "training/a/uniform.safetensors", "rule": "train_uniform", "key": "k", "code": "c"}
    whole = {"ran": [], "products": [{**product, "reads": ["data/own/x4.h5"]}]}
    (tmp_path / "provenance.json").write_text(json.dumps(whole))
    journal = tmp_path / "training" / "a" / "uniform.csv"
    journal.parent.mkdir(parents=True)
    journal.write_text("step\n1\n")
    assert bspa(["info", str(journal)]) == 0
    out = capsys.readouterr().out
    assert "product of bspa" in out
    assert "data/own/x4.h5" in out


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
