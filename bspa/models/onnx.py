"""A network as an ONNX file, which onnxruntime and chaiNNer read, checked against PyTorch.

The graph holds operators of the standard domain alone, and takes any height and width. It needs the extra
`onnx`.
"""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from bspa.models.fsrcnn import ActivatedConvolution, Deconvolution
from bspa.models.layers import Network
from bspa.system.files import atomic_path

OPSET = 17
"""Of 2022, old enough for every onnxruntime since 1.12, and so for the programs that ship one."""

TOLERANCE = 1e-5
"""Largest difference to PyTorch, on outputs where 1 is white."""

SIZES = ((17, 23), (33, 40), (1, 1))
"""Heights and widths that a file is checked on: none is the size that it was traced with."""


def export_onnx(
    model: Network, path: str | os.PathLike[str], *, metadata: Mapping[str, str] | None = None
) -> float:
    """Write ``model`` as an ONNX file; return its largest difference to PyTorch.

    Input ``input`` (1, 3, height, width) and output ``output`` (1, 3, s height, s width) are float32 RGB in
    [0, 1], the output not clipped. The model is not changed.

    Args:
        model: a network of `bspa.models.registry`, in any mode and on any device.
        path: the file to write.
        metadata: what the file says about itself, besides its scale.

    Raises:
        ImportError: the extra ``onnx`` is not installed.
        ValueError: onnxruntime's output differs from PyTorch's by more than `TOLERANCE`, or is not finite; no
            file is left.
    """
    import onnx
    import onnxruntime  # noqa: F401, needed for the check: better missed before the export than after it

    plain = plain_copy(model)
    with atomic_path(path) as temporary:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # this exporter is deprecated, but the newer one needs onnxscript
            torch.onnx.export(
                plain,
                (torch.rand(1, 3, 12, 14),),
                str(temporary),
                dynamo=False,
                opset_version=OPSET,
                input_names=["input"],
                output_names=["output"],
                dynamic_axes={
                    "input": {2: "height", 3: "width"},
                    "output": {2: "output_height", 3: "output_width"},
                },
            )
        graph = onnx.load(temporary)
        onnx.helper.set_model_props(graph, {**(metadata or {}), "scale": str(model.scale)})
        onnx.checker.check_model(graph, full_check=True)
        onnx.save(graph, temporary)
        difference = largest_difference(on_cpu(model), temporary)
        if not difference <= TOLERANCE:  # not a number, too
            raise ValueError(
                f"{path}: onnxruntime and PyTorch differ by {difference:.1e}, more than {TOLERANCE:.0e}; "
                "no file was written"
            )
    return difference


def largest_difference(model: nn.Module, path: str | os.PathLike[str]) -> float:
    """Return the largest difference of onnxruntime's output from ``model``'s, on the CPU, over `SIZES`."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    differences = []
    for height, width in SIZES:
        x = random.random((1, 3, height, width), np.float32)
        with torch.inference_mode():
            expected = model(torch.from_numpy(x)).numpy()
        (found,) = session.run(["output"], {"input": x})
        if found.shape != expected.shape:
            raise ValueError(f"{path}: output is {found.shape}; PyTorch's is {expected.shape}")
        differences.append(np.abs(found - expected).max())
    return float(np.max(differences))


def on_cpu(model: Network) -> Network:
    """Copy a network to the CPU, in float32 and evaluation mode."""
    return copy.deepcopy(model).cpu().float().eval()


def plain_copy(model: Network) -> nn.Module:
    """Copy a network to the CPU, with torch's own layers in place of those that our CPU kernels compute."""
    plain = on_cpu(model)
    for name, layer in list(plain.named_modules()):
        if isinstance(layer, ActivatedConvolution):
            plain.set_submodule(name, nn.Sequential(*layer))
        elif isinstance(layer, Deconvolution):
            plain.set_submodule(name, _transposed(layer))
    return plain.requires_grad_(False)


def _transposed(layer: Deconvolution) -> nn.ConvTranspose2d:
    shape = (layer.in_channels, layer.out_channels, layer.kernel_size[0], layer.stride[0])
    plain = nn.ConvTranspose2d(*shape, int(layer.padding[0]), layer.output_padding[0])
    plain.load_state_dict(layer.state_dict())
    return plain
