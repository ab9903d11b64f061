from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bspa.models import onnx as ours
from bspa.models.onnx import TOLERANCE, export_onnx
from bspa.models.registry import build
from tests.support.networks import SMALL, small

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
FORMS = SMALL | {
    "fsrcnn": SMALL["fsrcnn"] | {"value_range": 255},
    "edsr": SMALL["edsr"] | {"res_scale": 0.1},
}
LARGE = {"fsrcnn": {}, "edsr": {}, "rcan": {"groups": 1}, "msrresnet": {}}


def run(path: Path, x: torch.Tensor) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(["output"], {"input": x.numpy()})[0]


@pytest.mark.parametrize(
    ("arch", "scale", "options"),
    [
        *((arch, scale, options) for arch, options in FORMS.items() for scale in (2, 3, 8)),
        *((arch, 4, options) for arch, options in LARGE.items()),
    ],
)
def test_onnxruntime_computes_what_pytorch_does(arch: str, scale: int, options: dict, tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = build(arch, scale, **options).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert export_onnx(model, tmp_path / "a.onnx") <= TOLERANCE
    for height, width in ((17, 23), (33, 40), (5, 64)):
        x = torch.rand(1, 3, height, width)
        with torch.inference_mode():
            expected = model(x).numpy()
        found = run(tmp_path / "a.onnx", x)
        assert found.shape == (1, 3, scale * height, scale * width)
        difference = np.abs(found - expected)
        assert difference.max() <= TOLERANCE, np.quantile(difference, [0.5, 0.9, 0.99, 1])
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert [file.name for file in tmp_path.iterdir()] == ["a.onnx"]


@pytest.mark.parametrize("arch", SMALL)
def test_the_graph_is_plain(arch: str, tmp_path: Path) -> None:
    export_onnx(small(arch, 3), tmp_path / "a.onnx", metadata={"method": "bspa"})
    graph = onnx.load(tmp_path / "a.onnx")
    assert [(o.domain, o.version) for o in graph.opset_import] == [("", ours.OPSET)]
    assert {node.domain for node in graph.graph.node} == {""}
    assert not graph.functions
    for value, name, sides in (
        (graph.graph.input, "input", ["height", "width"]),
        (graph.graph.output, "output", ["output_height", "output_width"]),
    ):
        (one,) = value
        shape = one.type.tensor_type.shape.dim
        assert one.name == name
        assert [d.dim_value for d in shape[:2]] == [1, 3]
        assert [d.dim_param for d in shape[2:]] == sides
    assert {p.key: p.value for p in graph.metadata_props} == {"method": "bspa", "scale": "3"}


def test_the_cpu_kernels_step_aside(tmp_path: Path) -> None:
    export_onnx(build("fsrcnn", 4), tmp_path / "a.onnx")
    kinds = [node.op_type for node in onnx.load(tmp_path / "a.onnx").graph.node]
    assert kinds.count("PRelu") == 7
    assert kinds.count("ConvTranspose") == 1


def test_a_file_that_differs_is_not_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build("fsrcnn", 2)
    path = tmp_path / "a.onnx"
    monkeypatch.setattr(ours, "TOLERANCE", -1.0)
    with pytest.raises(ValueError, match=r"a\.onnx: onnxruntime and PyTorch differ by .* no file"):
        export_onnx(model, path)
    monkeypatch.undo()
    with torch.no_grad():
        next(model.parameters())[0] = float("nan")
    with pytest.raises(ValueError, match="differ by nan"):
        export_onnx(model, path)
    assert not list(tmp_path.iterdir())
