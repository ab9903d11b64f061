"""Weights files: whole, reproducible, refused when they are unsafe, damaged or of another network."""

from __future__ import annotations

import argparse
import functools
import json
import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import safetensors
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from bspa.models.recognise import recognise
from bspa.models.registry import build
from bspa.models.released import load_released
from bspa.models.weights import load_into, load_model, save_network, save_weights

SMALL = {
    "edsr": {"blocks": 2, "channels": 8},
    "fsrcnn": {"d": 8, "s": 4, "m": 2},
    "msrresnet": {"blocks": 2, "channels": 8},
    "rcan": {"groups": 2, "blocks": 3, "channels": 8, "reduction": 4},
}
METADATA = {"scale": "4", "method": "bspa", "note": "größer", "b": "", "a": "1"}


def small(arch: str, scale: int = 4, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return build(arch, scale, **SMALL[arch]).eval()


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("arch", SMALL)
def test_round_trip_gives_the_same_network(tmp_path, arch, scale):
    model = small(arch, scale)
    path = tmp_path / "deep" / "weights.safetensors"
    save_weights(path, model.state_dict(), METADATA)
    state_dict, metadata = load_released(path)
    assert metadata == METADATA
    assert same(state_dict, model.state_dict())
    other = small(arch, scale, seed=1).to(memory_format=torch.channels_last)
    x = torch.rand(1, 3, 5, 4)
    with torch.no_grad():
        expected = model.to(memory_format=torch.channels_last)(x)
        assert not torch.equal(other(x), expected)
        load_into(other, state_dict, path=path)
        assert torch.equal(other(x), expected)
    kept = [p.is_contiguous(memory_format=torch.channels_last) for p in other.parameters() if p.ndim == 4]
    assert all(kept)
    assert [p.name for p in path.parent.iterdir()] == ["weights.safetensors"]


def test_other_programs_read_the_file(tmp_path):
    path = tmp_path / "weights.safetensors"
    tensors = {"half": torch.rand(3).half(), "mask": torch.tensor([True, False]), "w": torch.rand(2, 3, 1, 1)}
    save_weights(path, tensors, METADATA)
    with safetensors.safe_open(path, framework="pt") as file:
        assert file.metadata() == METADATA
        assert same({name: file.get_tensor(name) for name in tensors}, tensors)
    length = int.from_bytes(path.read_bytes()[:8], "little")
    assert length % 8 == 0, "tensors must be aligned"


def test_content_alone_decides_the_bytes(tmp_path):
    """Not the order of tensors or metadata, the memory layout, or views into one storage."""
    model = small("edsr")
    save_weights(tmp_path / "a.safetensors", model.state_dict(), METADATA)
    model.to(memory_format=torch.channels_last)
    flat = torch.cat([value.flatten() for value in model.state_dict().values()])
    sizes = [value.numel() for value in model.state_dict().values()]
    views = zip(model.state_dict().items(), flat.split(sizes), strict=True)
    shuffled = [(name, part.view(value.shape)) for (name, value), part in views][::-1]
    save_weights(tmp_path / "b.safetensors", dict(shuffled), dict(sorted(METADATA.items())))
    save_weights(tmp_path / "c.safetensors", model.state_dict(), METADATA)
    contents = {(tmp_path / f"{name}.safetensors").read_bytes() for name in "abc"}
    assert len(contents) == 1
    save_weights(tmp_path / "d.safetensors", model.state_dict(), {**METADATA, "a": "2"})
    assert (tmp_path / "d.safetensors").read_bytes() not in contents


def test_bytes_are_the_same_in_every_process(tmp_path):
    program = """if True:
        import sys, torch
        from bspa.models.weights import save_weights
        names = {"epsilon", "alpha", "delta", "beta", "gamma"}  # a set: its order follows the hash seed
        tensors = {name: torch.full((3, 2), float(len(name))) for name in names}
        save_weights(sys.argv[1], tensors, {name: name.upper() for name in names})
    """
    processes = []
    for seed in ("1", "2"):
        command = [sys.executable, "-c", program, str(tmp_path / f"{seed}.safetensors")]
        processes.append(subprocess.Popen(command, env={**os.environ, "PYTHONHASHSEED": seed}))
    assert [process.wait() for process in processes] == [0, 0]
    assert (tmp_path / "1.safetensors").read_bytes() == (tmp_path / "2.safetensors").read_bytes()


def test_a_failed_save_leaves_the_old_file(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_weights(path, {"w": torch.ones(2)}, {})
    before = path.read_bytes()
    with pytest.raises(AssertionError):
        save_weights(path, {"w": torch.zeros(2)}, {"step": 3})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


# ---- released PyTorch files ----------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".pkl", ".PTH"])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("wrapper", [None, "params_ema", "params", "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_released_files_are_read(tmp_path, suffix, zipped, wrapper, prefix):
    weights = small("fsrcnn").state_dict()
    content = {prefix + name: value for name, value in weights.items()}
    if wrapper:
        content = {"iteration": 7, wrapper: content}
    path = tmp_path / f"released{suffix}"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    state_dict, metadata = load_released(path)
    assert metadata == {}
    assert same(state_dict, weights)


def test_averaged_weights_come_first(tmp_path):
    path = tmp_path / "both.pth"
    torch.save({"params": {"w": torch.zeros(1)}, "params_ema": {"w": torch.ones(1)}}, path)
    assert load_released(path)[0]["w"] == 1


def test_only_a_prefix_of_every_name_is_cut(tmp_path):
    path = tmp_path / "mixed.pth"
    torch.save({"module.w": torch.ones(1), "w": torch.zeros(1)}, path)
    assert set(load_released(path)[0]) == {"module.w", "w"}


class RunsCode:
    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return (Path.touch, (self.marker,))


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path, zipped):
    path, marker = tmp_path / "evil.pth", tmp_path / "ran"
    torch.save({"params": small("fsrcnn").state_dict(), "x": RunsCode(marker)}, path,
               _use_new_zipfile_serialization=zipped)  # fmt: skip
    with pytest.raises(ValueError, match=r"evil\.pth: refused.*state_dict"):
        load_released(path)
    assert not marker.exists()
    torch.load(path, weights_only=False)
    assert marker.exists(), "the pickle was not dangerous, so the test says nothing"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"args": argparse.Namespace(scale=4), "w": torch.ones(1)}, "refused"),
        (nn.Linear(2, 2), "refused"),
        ([torch.ones(1)], "holds a list"),
        (torch.ones(1), "holds a Tensor"),
        ({"epoch": 3, "net": {"w": torch.ones(1)}}, r"'epoch', 'net'.*params_ema, params, state_dict, model"),
        ({}, "holds no weights"),
        ({3: torch.ones(1)}, "not weights by name"),
    ],
)
def test_other_pytorch_content_is_refused(tmp_path, content, message):
    path = tmp_path / "other.pth"
    torch.save(content, path)
    with pytest.raises(ValueError, match=message) as raised:
        load_released(path)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_a_missing_file_is_an_oserror(tmp_path, name):
    with pytest.raises(FileNotFoundError, match=name):
        load_released(tmp_path / name)


def test_an_unknown_suffix_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"w\.onnx: weights are read from \.safetensors, \.pth, \.pt, \.pkl"):
        load_released(tmp_path / "w.onnx")


@functools.cache
def whole_file(suffix: str) -> bytes:
    weights = small("fsrcnn").state_dict()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"w{suffix}"
        if suffix == ".safetensors":
            save_weights(path, weights, METADATA)
        else:
            torch.save(weights, path, _use_new_zipfile_serialization=suffix == ".pth")
        return path.read_bytes()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt"])
@given(share=st.floats(0, 1, exclude_max=True), junk=st.binary(max_size=64), cut=st.booleans())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_files_are_named(tmp_path, suffix, share, junk, cut):
    """Cut anywhere, or junk from the first byte on."""
    whole = whole_file(suffix)
    path = tmp_path / f"damaged{suffix}"
    path.write_bytes(whole[: int(share * len(whole))] if cut else junk)
    with pytest.raises(ValueError, match=r"damaged\.\w+: (not a|refused)"):
        load_released(path)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize(
    "content", [b"\x89PNG\r\n\x1a\n" + b"x" * 100, b"PK\x03\x04", pickle.dumps("text", protocol=2), b""]
)
def test_files_of_other_kinds_are_named(tmp_path, suffix, content):
    path = tmp_path / f"wrong{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"wrong\."):
        load_released(path)


# ---- into a network ------------------------------------------------------------------------------------


def test_other_scale_is_told():
    with pytest.raises(ValueError, match="not of EDSR") as raised:
        load_into(small("edsr", 4), small("edsr", 3).state_dict(), path="x3.pt")
    message = str(raised.value)
    assert message.startswith("x3.pt: ")
    assert "EDSR(scale=4, blocks=2, channels=8, res_scale=1.0)" in message
    assert "they look like EDSR(scale=3, blocks=2, channels=8)" in message
    assert "2 missing: tail.0.2.weight, tail.0.2.bias" in message
    assert "2 of another shape: tail.0.0.weight (72, 8, 3, 3) instead of (32, 8, 3, 3)" in message
    assert "unexpected" not in message


def test_other_architecture_is_told_in_few_names():
    with pytest.raises(ValueError, match="look like RCAN") as raised:
        load_into(small("msrresnet"), small("rcan").state_dict(), path="w.pt")
    message = str(raised.value)
    assert "missing: conv_first.weight" in message
    assert "unexpected: sub_mean.weight" in message
    assert len(message) < 700


def test_the_network_is_untouched_by_a_failed_load():
    model = small("edsr", 4)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ValueError, match="missing"):
        load_into(model, small("edsr", 3, seed=1).state_dict(), path="w")
    assert same(before, model.state_dict())


def test_scale_in_the_header_guards_fsrcnn():
    """Its tensors have the same shapes at every scale."""
    model, weights = small("fsrcnn", 4), small("fsrcnn", 2, seed=1).state_dict()
    with pytest.raises(ValueError, match=r"w: weights for scale 2.*FSRCNN\(scale=4"):
        load_into(model, weights, path="w", metadata={"scale": "2"})
    load_into(model, weights, path="w", metadata={"scale": "4"})
    assert same(model.state_dict(), weights)


def test_half_precision_weights_become_float32():
    model = small("edsr")
    load_into(model, {name: value.half() for name, value in model.state_dict().items()}, path="w")
    assert {p.dtype for p in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("arch", SMALL)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_recognise_reads_scale_and_options(arch, scale):
    model = build(arch, scale, **SMALL[arch])
    told = recognise(model.state_dict())
    expected = {"scale": scale, **SMALL[arch]}
    if arch == "fsrcnn":
        del expected["scale"]
    assert told == f"{type(model).__name__}({', '.join(f'{k}={v}' for k, v in expected.items())})"


def test_recognise_knows_its_limits():
    assert recognise({}) is None
    assert recognise({"head.0.weight": torch.ones(3), "tail.0.0.weight": torch.ones(3)}) is None
    assert recognise(nn.Conv2d(3, 3, 3).state_dict()) is None


def test_metadata_is_json_in_sorted_order(tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(path, {"w": torch.ones(1)}, METADATA)
    raw = path.read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    assert list(header["__metadata__"]) == sorted(METADATA)


def test_a_saved_network_is_built_again_from_its_header(tmp_path: Path) -> None:
    options = {"blocks": 1, "channels": 8, "res_scale": 0.5}
    network = build("edsr", 3, **options)
    path = tmp_path / "network.safetensors"
    save_network(path, network.state_dict(), arch="edsr", scale=3, options=options, key="k", note="n")
    loaded = load_model(path)
    x = torch.rand(1, 3, 5, 7)
    assert loaded.scale == 3
    assert not loaded.training
    assert torch.equal(loaded(x), network.eval()(x))


def test_weights_without_a_header_are_refused_as_a_model(tmp_path: Path) -> None:
    path = tmp_path / "bare.safetensors"
    save_weights(path, {"w": torch.ones(1)}, {})
    with pytest.raises(ValueError, match=r"bare\.safetensors: .*architecture.*reference\.weights"):
        load_model(path)
