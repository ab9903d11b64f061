"""From packed photographs to shards, by the scripts of the workflow."""

from __future__ import annotations

import hashlib
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from bspa.difficulty.class_table import read_classes
from bspa.difficulty.classes import class_sizes
from bspa.difficulty.shards import open_shards
from bspa.difficulty.windows import read_windows
from bspa.models.registry import build
from tests.support.noise import pack_noise


def test_the_scripts_go_from_packed_photographs_to_shards(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    network = build("msrresnet", 4, blocks=1, channels=8)
    monkeypatch.setattr("bspa.models.weights.load_model", lambda path: network, raising=False)
    weights = tmp_path / "reference.safetensors"
    weights.write_bytes(b"weights")
    pack_noise(tmp_path, (130, 97), (64, 200), scale=4)
    files = {"packed": str(tmp_path / "x4.h5")}

    def run(name: str, output: Any, settings: dict[str, Any], inputs: list[str]) -> None:
        params = SimpleNamespace(settings=settings, key=f"key of {name}", compute={"device": "cpu"})
        given = SimpleNamespace(**{given: files[given] for given in inputs})
        made = [str(tmp_path / output)] if isinstance(output, str) else output
        job = SimpleNamespace(input=given, output=made, params=params, threads=1)
        runpy.run_path(str(root / "workflow_scripts" / f"{name}.py"))["main"](job)
        if isinstance(output, str):
            files[output] = str(tmp_path / output)

    files["weights"] = str(weights)
    run("crop_sub_images", "windows", {"size": 32, "step": 16, "threshold": 8}, ["packed"])
    scoring = {"batch": 5, "precision": "float32"}
    run("score_sub_images", "scores", scoring, ["packed", "windows", "weights"])
    run("compute_thresholds", "thresholds", {"classes": 3, "imbalance": 4}, ["scores"])
    run("write_class_shards", "shards", {"samples": "pixels"}, ["packed", "scores", "thresholds"])

    shards = open_shards(files["shards"])
    sizes = class_sizes(len(read_windows(files["windows"])), 3, 4).tolist()
    assert [len(shard) for shard in shards] == sizes
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert {shard.reference_sha256 for shard in shards} == {digest}
    for shard in shards:
        lr = torch.from_numpy(shard.lr.copy()).permute(0, 3, 1, 2) / 255
        with torch.no_grad():
            sr = network.eval()(lr).clip(0, 1).permute(0, 2, 3, 1).numpy()
        np.testing.assert_allclose(shard.mse, ((sr - shard.hr / 255) ** 2).mean(axis=(1, 2, 3)), rtol=1e-5)

    files["thresholds"] = [files["thresholds"]]  # type: ignore[assignment]
    output = SimpleNamespace(csv=tmp_path / "classes.csv", html=tmp_path / "classes.html")
    run("table_classes", output, {"rows": [{"scale": 4, "split": "default"}]}, ["thresholds"])
    table = pd.read_csv(output.csv)
    assert list(table.columns) == ["scale", "split", "k", "N_k", "t_k", "P_k"]
    assert table["N_k"].tolist() == sizes
    assert table["t_k"].tolist() == read_classes(tmp_path / "thresholds").thresholds.tolist()
