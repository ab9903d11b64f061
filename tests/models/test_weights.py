"""Weights files: whole, reproducible, safe to read; networks that are built from their headers."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import safetensors
import torch
from torch import Tensor

from bspa.models.registry import recognise
from bspa.models.weights import load_into, load_model, load_weights, save_network, save_weights
from tests.support.networks import SCALES, SMALL, channels_last, deliver, small

METADATA = {"scale": "4", "method": "bspa", "note": "größer", "b": "", "a": "1"}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# ---- files ---------------------------------------------------------------------------------------------


def test_other_programs_read_the_file(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    tensors = {"half": torch.rand(3).half(), "mask": torch.tensor([True, False]), "w": torch.rand(2, 3, 1, 1)}
    save_weights(path, tensors, METADATA)
    with safetensors.safe_open(path, framework="pt") as file:
        assert file.metadata() == METADATA
        assert same({name: file.get_tensor(name) for name in tensors}, tensors)
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    assert length % 8 == 0, "tensors must be aligned"
    assert list(json.loads(content[8 : 8 + length])["__metadata__"]) == sorted(METADATA)


def test_content_alone_decides_the_bytes(tmp_path: Path) -> None:
    """Not the order of tensors or metadata, the memory layout, or views into one storage."""
    tensors = small("edsr").state_dict()
    flat = torch.cat([value.flatten() for value in tensors.values()])
    parts = flat.split([value.numel() for value in tensors.values()])
    views = {name: part.view(tensors[name].shape) for name, part in zip(tensors, parts, strict=True)}
    save_weights(tmp_path / "a.safetensors", tensors, METADATA)
    save_weights(tmp_path / "b.safetensors", dict(reversed(views.items())), dict(sorted(METADATA.items())))
    save_weights(tmp_path / "c.safetensors", channels_last(small("edsr")).state_dict(), METADATA)
    contents = {(tmp_path / f"{name}.safetensors").read_bytes() for name in "abc"}
    assert len(contents) == 1


def test_bytes_are_the_same_in_every_process(tmp_path: Path, root: Path) -> None:
    here, there = tmp_path / "here.safetensors", tmp_path / "there.safetensors"
    names = ["alpha", "beta", "delta", "epsilon", "gamma"]
    save_weights(here, dict.fromkeys(names, torch.ones(2)), {name: name.upper() for name in names})
    program = f"""if True:
        import torch
        from bspa.models.weights import save_weights
        names = set({names})  # its order follows the hash seed
        save_weights({str(there)!r}, dict.fromkeys(names, torch.ones(2)), {{n: n.upper() for n in names}})
    """
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    subprocess.run([sys.executable, "-c", program], env=environment, cwd=root, check=True)
    assert here.read_bytes() == there.read_bytes()


# ---- into a network ------------------------------------------------------------------------------------


def test_weights_of_another_scale_are_refused_and_the_network_stays() -> None:
    model = small("edsr", 4)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    parts = [
        "x3.pt",
        "EDSR(scale=4, blocks=2, channels=8, res_scale=1.0)",
        "EDSR(scale=3)",
        "2 missing: tail.0.2.weight, tail.0.2.bias",
        "2 of another shape: tail.0.0.weight (72, 8, 3, 3) instead of (32, 8, 3, 3)",
    ]
    with pytest.raises(ValueError, match=".*".join(map(re.escape, parts))):
        load_into(model, small("edsr", 3, seed=1).state_dict(), path="x3.pt")
    assert same(before, model.state_dict())


def test_weights_of_another_network_are_named_briefly() -> None:
    pattern = r"MSRResNet.*RCAN.*missing: conv_first\.weight.*unexpected: "
    with pytest.raises(ValueError, match=pattern) as raised:
        load_into(small("msrresnet"), small("rcan").state_dict(), path="w.pt")
    assert len(str(raised.value)) < 700


def test_scale_in_the_header_guards_fsrcnn() -> None:
    """Its tensors have the same shapes at every scale."""
    model, weights = small("fsrcnn", 4), small("fsrcnn", 2, seed=1).state_dict()
    with pytest.raises(ValueError, match=r"w: .*scale 2.*FSRCNN\(scale=4"):
        load_into(model, weights, path="w", metadata={"scale": "2"})
    load_into(model, weights, path="w", metadata={"scale": "4"})
    assert same(model.state_dict(), weights)


def test_the_networks_precision_and_layout_stay() -> None:
    model = channels_last(small("edsr"))
    load_into(model, {name: value.half() for name, value in small("edsr").state_dict().items()}, path="w")
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in model.parameters() if p.ndim == 4)


@pytest.mark.parametrize("arch", SMALL)
@pytest.mark.parametrize("scale", SCALES)
def test_a_network_is_recognised_by_names_and_shapes(arch: str, scale: int) -> None:
    model = small(arch, scale)
    name = type(model).__name__
    assert recognise(model.state_dict()) == (name if arch == "fsrcnn" else f"{name}(scale={scale})")


def test_other_networks_are_not_recognised() -> None:
    assert recognise({"weight": torch.ones(3), "bias": torch.ones(3)}) is None


# ---- built from the header -----------------------------------------------------------------------------


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("arch", SMALL)
def test_a_saved_network_is_built_again(tmp_path: Path, arch: str, scale: int) -> None:
    path, options = tmp_path / "deep" / "network.safetensors", dict(reversed(SMALL[arch].items()))
    model = small(arch, scale)
    save_network(path, model.state_dict(), arch=arch, scale=scale, options=options, key="k", note="n")
    loaded = load_model(path)
    x = torch.rand(1, 3, 5, 7)
    assert loaded.scale == scale
    assert not loaded.training
    assert torch.equal(loaded(x), model(x))
    assert load_weights(path)[1] == {
        "format": "bspa-weights-1",
        "architecture": arch,
        "scale": str(scale),
        "options": json.dumps(options, sort_keys=True),
        "input": "RGB in [0, 1], (n, 3, h, w)",
        "key": "k",
        "note": "n",
    }


@pytest.mark.parametrize(
    ("changed", "parts"),
    [
        ({"format": None}, ["format", "None", "bspa-weights-1", "reference.weights"]),
        ({"format": "bspa-weights-9"}, ["format", "'bspa-weights-9'", "bspa-weights-1"]),
        ({"architecture": None}, ["architecture"]),
        ({"architecture": "esdr"}, ["'esdr'", "'edsr'"]),
        ({"scale": "5"}, ["scale", "5", "2, 3, 4, 8"]),
        ({"scale": "four"}, ["'four'"]),
        ({"options": None}, ["options"]),
        ({"options": "7"}, ["header"]),
        ({"options": '{"blocks": 3, "channels": 8}'}, ["EDSR(scale=4, blocks=3", "EDSR(scale=4)"]),
    ],
)
def test_a_header_that_does_not_describe_the_weights_is_refused(
    tmp_path: Path, changed: dict[str, Any], parts: list[str]
) -> None:
    path, weights = tmp_path / "w.safetensors", small("edsr").state_dict()
    header = {**load_weights(deliver(path, "edsr"))[1], **changed}
    save_weights(path, weights, {name: value for name, value in header.items() if value is not None})
    with pytest.raises(ValueError, match=".*".join(map(re.escape, ["w.safetensors: ", *parts]))):
        load_model(path)
