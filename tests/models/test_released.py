"""Weights from other programs: read safely, in any wrapping, and imported as the reference."""

from __future__ import annotations

import argparse
import hashlib
import itertools
import pickle
import re
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bspa.models.released import WRAPPERS, load_released
from bspa.models.weights import load_model, load_weights, save_network, save_weights
from tests.support.networks import SMALL, deliver, small

NAMES = [
    (".pth", ""),
    (".pt", "module."),
    (".PKL", "_orig_mod."),
    (".pth.tar", "module._orig_mod."),
    (".bin", "_orig_mod.module.model."),
    (".ckpt", "net."),
]


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize(
    ("wrapper", "name"), [*zip([*WRAPPERS, None], itertools.cycle(NAMES)), *((None, name) for name in NAMES)]
)
def test_pytorch_files_are_read(
    tmp_path: Path, zipped: bool, wrapper: str | None, name: tuple[str, str]
) -> None:
    suffix, prefix = name
    weights = {"a.weight": torch.rand(2, 3), "a.bias": torch.rand(2)}
    content: dict[str, Any] = {prefix + name: value for name, value in weights.items()}
    if wrapper:
        content = {"iteration": 7, wrapper: content}
    path = tmp_path / f"released{suffix}"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    tensors, metadata = load_released(path)
    assert metadata == {}
    assert tensors.keys() == weights.keys()
    assert all(torch.equal(tensors[name], weights[name]) for name in weights)


def test_averaged_weights_come_first_and_only_a_prefix_of_every_name_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "both.pth"
    averaged = {"module.w": torch.ones(1), "w": torch.ones(1)}
    torch.save({"params": {"w": torch.zeros(1)}, "params_ema": averaged}, path)
    assert load_released(path)[0] == averaged


def test_weights_within_wrappers_within_wrappers(tmp_path: Path) -> None:
    path = tmp_path / "deep.ckpt"
    torch.save({"epoch": 1, "state_dict": {"lr": 0.1, "params-ema": {"w": torch.ones(1)}}}, path)
    assert load_released(path)[0] == {"w": torch.ones(1)}
    endless: dict[str, Any] = {}
    endless["params"] = endless
    torch.save(endless, path)
    with pytest.raises(ValueError, match="'params': not weights"):
        load_released(path)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.tensor([1.0, float("nan")]), "NaN or infinite"),
        (torch.tensor([float("-inf")], dtype=torch.float16), "NaN or infinite"),
        (torch.ones(2, dtype=torch.complex64), "complex64"),
        (torch.eye(3).to_sparse(), "sparse"),
        (torch.ones(2, dtype=torch.int64), "int64"),
        (torch.ones(2, dtype=torch.bool), "bool"),
    ],
)
def test_tensors_that_are_no_weights_are_refused_by_name(
    tmp_path: Path, tensor: torch.Tensor, message: str
) -> None:
    path = tmp_path / "odd.pth"
    torch.save({"a.weight": torch.ones(1), "b.weight": tensor}, path)
    with pytest.raises(ValueError, match=rf"odd\.pth: b\.weight .*{message}.*; allowed: finite"):
        load_released(path)


def test_edsr_under_its_authors_file_names(tmp_path: Path, root: Path) -> None:
    file = tmp_path / "edsr_baseline_x4-6b446fab.pt"
    model = small("edsr")
    torch.save({f"model.{name}": value for name, value in model.state_dict().items()}, file)
    tensors, _ = load_released(file)
    assert tensors.keys() == model.state_dict().keys()
    with pytest.raises(ValueError, match=r"MSRResNet.*they look like EDSR\(scale=4\)"):
        run_import(root, "import_reference", tmp_path / "made", file)


class RunsCode:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.marker,))


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path, zipped: bool) -> None:
    path, marker = tmp_path / "evil.pth", tmp_path / "ran"
    content = {"params": {"w": torch.ones(1)}, "x": RunsCode(marker)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match=r"evil\.pth: refused"):
        load_released(path)
    assert not marker.exists()
    torch.load(path, weights_only=False)
    assert marker.exists(), "the pickle was not dangerous, so the test says nothing"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"args": argparse.Namespace(scale=4), "w": torch.ones(1)}, "refused"),
        (nn.Linear(2, 2), "refused"),
        ([torch.ones(1)], "list"),
        (torch.ones(2), "Tensor"),
        (
            {"epoch": 3, "nets": {"w": torch.ones(1)}},
            r"'epoch', 'nets'.*params_ema, params, state_dict, model",
        ),
        ({3: torch.ones(1)}, r": 3: .*params_ema, params, state_dict, model"),
        ({"params": {}}, "no weights"),
    ],
)
def test_other_content_is_refused(tmp_path: Path, content: object, message: str) -> None:
    path = tmp_path / "other.pth"
    torch.save(content, path)
    with pytest.raises(ValueError, match=rf"{re.escape(str(path))}.*{message}"):
        load_released(path)


def test_a_missing_file_and_an_unknown_suffix_are_named(tmp_path: Path) -> None:
    for name in ("w.safetensors", "w.pth"):
        with pytest.raises(FileNotFoundError, match=name):
            load_released(tmp_path / name)
    with pytest.raises(ValueError, match=r"w\.onnx: .*'\.onnx'.*\.safetensors, \.pth, \.pt, \.pkl"):
        load_released(tmp_path / "w.onnx")


def whole_file(path: Path) -> bytes:
    weights = small("fsrcnn").state_dict()
    if path.suffix == ".safetensors":
        save_weights(path, weights, {"scale": "4"})
    else:
        torch.save(weights, path, _use_new_zipfile_serialization=path.suffix == ".pth")
    return path.read_bytes()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt"])
def test_damaged_files_and_files_of_other_kinds_are_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"damaged{suffix}"
    whole, rng = whole_file(path), np.random.default_rng(0)
    others = [b"\x89PNG\r\n\x1a\n" + b"x" * 100, b"PK\x03\x04", pickle.dumps("text", protocol=2)]
    junk = [rng.bytes(length) for length in range(1, 64)]
    short = [whole[: rng.integers(len(whole))] for _ in range(20)]
    for content in [b"", *others, *junk, *short]:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"damaged\.\w+: "):
            load_released(path)


# ---- the script ----------------------------------------------------------------------------------------


def run_import(
    root: Path, script: str, folder: Path, file: Path | str, arch: str = "msrresnet", *,
    sha256: str | None = None, **options: Any,
) -> Path:  # fmt: skip
    """Run a script that imports weights into a small network; return its file."""
    output = folder / "weights.safetensors"
    network = {"arch": arch, "scale": 4, "options": SMALL[arch] | options}
    params = SimpleNamespace(settings={**network, "file": str(file), "sha256": sha256}, key="k")
    main = runpy.run_path(str(root / "workflow_scripts" / f"{script}.py"))["main"]
    main(SimpleNamespace(output=[str(output)], params=params, wildcards=SimpleNamespace(network="mine")))
    return output


def test_a_released_reference_becomes_a_model(tmp_path: Path, root: Path) -> None:
    model, file = small("msrresnet"), tmp_path / "MSRResNet.pth"
    torch.save({"params": model.state_dict()}, file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    output = run_import(root, "import_reference", tmp_path / "made", file, sha256=digest)
    x = torch.rand(1, 3, 4, 5)
    assert torch.equal(load_model(output)(x), model(x))
    metadata = load_weights(output)[1]
    assert metadata["key"] == "k"
    assert metadata["sha256_of_source"] == digest
    assert list(output.parent.iterdir()) == [output], "the fetched copy is removed"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (small("msrresnet", 2).state_dict(), r"MSRResNet\(scale=4.*MSRResNet\(scale=2"),
        (small("edsr").state_dict(), "MSRResNet.*EDSR"),
        ({"epoch": 3}, "'epoch'"),
    ],
)
def test_a_reference_that_does_not_fit_is_refused_by_its_own_name(
    tmp_path: Path, root: Path, content: object, message: str
) -> None:
    file = tmp_path / "given.pth"
    torch.save(content, file)
    with pytest.raises(ValueError, match=rf"^{re.escape(str(file))}: .*{message}"):
        run_import(root, "import_reference", tmp_path / "made", file)
    assert list((tmp_path / "made").iterdir()) == []


# ---- weights to start from -----------------------------------------------------------------------------


@pytest.mark.parametrize("arch", SMALL)
def test_our_own_and_released_weights_are_taken_to_start_from(
    tmp_path: Path, root: Path, arch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a path from the home directory, and by one from here."""
    model = small(arch)
    deliver(tmp_path / "ours.safetensors", arch, key="another")
    torch.save(model.state_dict(), tmp_path / "theirs.pt")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for file in ("~/ours.safetensors", "theirs.pt"):
        output = run_import(root, "import_start", tmp_path / "made", file, arch)
        x = torch.rand(1, 3, 4, 5)
        assert torch.equal(load_model(output)(x), model(x))


@pytest.mark.parametrize(
    ("arch", "scale", "options", "message"),
    [
        ("fsrcnn", 2, {}, r"weights for scale 2 cannot be loaded into FSRCNN\(scale=4"),
        ("edsr", 2, {}, r"weights for scale 2 cannot be loaded into EDSR\(scale=4"),
        ("rcan", 4, {}, r"do not fit EDSR\(scale=4.*; they look like RCAN\(scale=4\)"),
        ("fsrcnn", 4, {"value_range": 255}, "with value_range: 255; this one has 1"),
        ("edsr", 4, {"res_scale": 0.1}, "with res_scale: 0.1; this one has 1.0"),
    ],
)
def test_a_start_of_another_kind_is_refused_in_a_sentence(
    tmp_path: Path, root: Path, arch: str, scale: int, options: dict[str, Any], message: str
) -> None:
    file, given = tmp_path / "given.safetensors", SMALL[arch] | options
    model = small(arch, scale, options=given)
    save_network(file, model.state_dict(), arch=arch, scale=scale, options=given, key="")
    into, own = ("edsr", {"res_scale": 1.0}) if arch != "fsrcnn" else ("fsrcnn", {"value_range": 1})
    with pytest.raises(ValueError, match=rf"^{re.escape(str(file))}: .*{message}"):
        run_import(root, "import_start", tmp_path / "made", str(file), into, **own)
    assert list((tmp_path / "made").iterdir()) == []


def test_initial_weights_do_not_matter_to_a_start(tmp_path: Path, root: Path) -> None:
    options = SMALL["fsrcnn"] | {"initial": "torch"}
    file = tmp_path / "given.safetensors"
    weights = small("fsrcnn", options=options).state_dict()
    save_network(file, weights, arch="fsrcnn", scale=4, options=options, key="")
    assert run_import(root, "import_start", tmp_path / "made", str(file), "fsrcnn", initial="he").exists()
