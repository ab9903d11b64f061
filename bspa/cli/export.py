"""Write delivered networks in a format that other programs read.

    bspa export results/models/fsrcnn_x4_bspa_seed0.safetensors --onnx
    bspa export results/models/*.safetensors --onnx -o onnx/

The ONNX file takes `input`, (1, 3, height, width) float32 RGB in [0, 1] of any size, and gives `output`,
(1, 3, scale height, scale width), not clipped. In Python:

    session = onnxruntime.InferenceSession("fsrcnn_x4_bspa_seed0.onnx")
    (enlarged,) = session.run(["output"], {"input": pixels})

A file is kept only if onnxruntime computes what PyTorch does, to 1e-5. Needs the extra `onnx`:
pip install -e ".[onnx]".
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the subcommand to its parser."""
    parser.add_argument("models", nargs="+", metavar="MODEL", help="delivered weights, .safetensors")
    parser.add_argument("--onnx", action="store_true", required=True, help="write ONNX")
    parser.add_argument(
        "-o", "--output", metavar="PATH", help="file.onnx, or a folder (default: NAME.onnx beside each model)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the subcommand."""
    export(arguments.models, arguments.output)
    return 0


def export(
    models: Sequence[str | os.PathLike[str]], output: str | os.PathLike[str] | None = None
) -> list[Path]:
    """Write each of ``models`` as ONNX, print how exact it is, and return the files.

    Args:
        models: delivered weights.
        output: a file ending in ``.onnx``, for one model; or a folder; None: beside each model.

    Raises:
        ValueError: a model cannot be read, the extra is missing, two models would go into one file, or
            onnxruntime computes something else than PyTorch.
    """
    from importlib.util import find_spec

    missing = [package for package in ("onnx", "onnxruntime") if find_spec(package) is None]
    if missing:
        raise ValueError(f'--onnx needs {" and ".join(missing)}: pip install -e ".[onnx]"')
    files = [_file_of(Path(model), output) for model in models]
    for model, file in zip(models, files, strict=True):
        if files.count(file) > 1:
            raise ValueError(f"{file}: {files.count(file)} models would go into it; give each its own file")
        if file.resolve() == Path(model).resolve():
            raise ValueError(f"{file}: this is the model itself; give another file with -o")

    from bspa.models.onnx import export_onnx
    from bspa.models.weights import load_model, load_weights

    for model, file in zip(models, files, strict=True):
        network = load_model(model)
        difference = export_onnx(network, file, metadata=load_weights(model)[1])
        print(f"{file}: differs from PyTorch by at most {difference:.1e}", flush=True)
    return files


def _file_of(model: Path, output: str | os.PathLike[str] | None) -> Path:
    name = f"{model.stem}.onnx"
    if output is None:
        return model.with_name(name)
    return Path(output) if Path(output).suffix == ".onnx" else Path(output) / name
