from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bspa.cli import export as command
from bspa.cli.main import main as bspa
from bspa.models.inference import super_resolve
from bspa.models.weights import load_model
from tests.support.networks import deliver
from tests.support.noise import noise

onnxruntime = pytest.importorskip("onnxruntime")


def test_a_picture_is_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = deliver(tmp_path / "net.v1.safetensors", "edsr", 3, method="bspa")
    assert bspa(["export", str(model), "--onnx"]) == 0
    assert "net.v1.onnx: differs from PyTorch by at most " in capsys.readouterr().out
    session = onnxruntime.InferenceSession(str(tmp_path / "net.v1.onnx"))
    picture = noise(19, 31)
    x = picture.transpose(2, 0, 1)[None].astype(np.float32) / 255
    (y,) = session.run(["output"], {"input": x})
    found = np.rint(y[0].clip(0, 1) * 255).astype(int).transpose(1, 2, 0)
    assert np.abs(found - super_resolve(load_model(model), picture)).max() <= 1
    described = session.get_modelmeta().custom_metadata_map
    assert (described["method"], described["scale"], described["architecture"]) == ("bspa", "3", "edsr")


def test_where_files_go(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models = [deliver(tmp_path / f"{name}.safetensors", "edsr", 2) for name in ("a", "b")]
    assert command.export(models, tmp_path / "new" / "folder") == [
        tmp_path / "new" / "folder" / "a.onnx",
        tmp_path / "new" / "folder" / "b.onnx",
    ]
    assert command.export(models[:1], tmp_path / "one.onnx") == [tmp_path / "one.onnx"]
    assert (tmp_path / "one.onnx").exists()
    assert bspa(["export", *map(str, models), "--onnx", "-o", str(tmp_path / "both.onnx")]) == 2
    assert "both.onnx: 2 models would go into it" in capsys.readouterr().err
    assert not (tmp_path / "both.onnx").exists()


def test_mistakes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "text.safetensors").write_text("no weights")
    for name, message in (
        ("gone.safetensors", "gone.safetensors"),
        ("text.safetensors", "not a safetensors"),
    ):
        assert bspa(["export", str(tmp_path / name), "--onnx"]) == 2
        assert message in capsys.readouterr().err
    with pytest.raises(SystemExit):
        bspa(["export", str(tmp_path / "text.safetensors")])
    assert "--onnx" in capsys.readouterr().err
    monkeypatch.setattr("importlib.util.find_spec", lambda package: None)
    assert bspa(["export", str(deliver(tmp_path / "a.safetensors", "edsr")), "--onnx"]) == 2
    assert 'needs onnx and onnxruntime: pip install -e ".[onnx]"' in capsys.readouterr().err
