"""What files say of their origin, and the records that it is gathered from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure

from bspa.figures.style import save_figure
from bspa.models.weights import save_weights
from bspa.system.digests import check_digests, read_note, write_digests
from bspa.system.origin import how_it_ran, merge_ran, origin_of, photographs_in, read_origin
from bspa.system.versions import package_versions
from tests.support.jobs import make_job

ODD: dict[str, Any] = {
    "settings": {"table": {"caption": ['a (b) \\ "c" ) \\) ü\n']}},
    "ran": [{"rules": ["table"], "packages": {"torch": "2"}}],
}
"""Every character that a header may have to escape."""


def test_figures_and_weights_and_tables_tell_it(tmp_path: Path) -> None:
    text = json.dumps(ODD)
    save_figure(Figure(figsize=(1, 1)), tmp_path / "a.pdf", tmp_path / "a.png", ODD)
    save_weights(tmp_path / "w.safetensors", {"x": torch.zeros(1)}, {"origin": text})
    for name in ("w.json", "t.csv", "t.md", "t.tex", "t.html"):
        (tmp_path / name).write_text("{}")
    for name in ("t.json", "provenance.json"):
        (tmp_path / name).write_text(text)
    for path in (*sorted(tmp_path.iterdir()), tmp_path):
        assert read_origin(path) == ODD, path


def test_what_tells_none(tmp_path: Path) -> None:
    save_weights(tmp_path / "a.safetensors", {"x": torch.zeros(1)}, {})
    figure = Figure(figsize=(1, 1))
    figure.savefig(tmp_path / "a.png")
    figure.savefig(tmp_path / "a.pdf")
    (tmp_path / "b.json").write_text('{"key": "k"}')
    (tmp_path / "b.csv").write_text("a,b\n")
    (tmp_path / "c.h5").write_bytes(b"")
    for path in tmp_path.iterdir():
        assert read_origin(path) is None, path
    with pytest.raises(FileNotFoundError):
        read_origin(tmp_path / "gone.pdf")
    (tmp_path / "b.json").write_text("{")
    with pytest.raises(ValueError, match=r"b\.csv: damaged"):
        read_origin(tmp_path / "b.csv")


def test_a_job_hands_on_how_those_before_it_ran(tmp_path: Path) -> None:
    before = [tmp_path / name for name in ("packed.h5", "snapshot.h5")]
    for file in before:
        file.write_bytes(b"data")
    old = {"packages": {"torch": "1"}, "device": "cuda: NVIDIA H100"}
    write_digests([str(before[0])], [{"rules": ["pack_images"], **old}])
    write_digests([str(before[1])], [{"rules": ["train_uniform", "pack_images"], **old}])
    check_digests(map(str, before))
    inputs = {"files": [*before, tmp_path / "of_an_older_version.h5"]}
    ran = how_it_ran(make_job("deliver_weights", inputs, {}, {}))
    assert {"rules": ["pack_images", "train_uniform"], **old} in ran
    assert {"rules": ["deliver_weights"], "packages": package_versions()} in ran
    assert len(ran) == 2
    write_digests([str(before[0])], ran)
    assert merge_ran(read_note(before[0])) == ran
    job = make_job("evaluate", {}, {}, {}, compute={"device": "cpu"})
    assert how_it_ran(job)[0]["device"].startswith("cpu: ")


def test_photographs_count_by_name_and_content_wherever_they_lie(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("id,path,sha256,lr_path\na,/here/a.png,01,\nb,/here/b.png,02,\n")
    here = photographs_in(manifest)
    assert here["photographs"] == 2
    manifest.write_text(manifest.read_text().replace("/here", "/there"))
    assert photographs_in(manifest) == here
    manifest.write_text(manifest.read_text().replace("02", "03"))
    assert photographs_in(manifest)["sha256"] != here["sha256"]
    job = make_job("table", {}, {}, {})
    job.params.origin["manifests"] = {"mine": str(manifest)}
    origin = origin_of(job)
    assert origin["data"] == {"mine": photographs_in(manifest)}
    assert "manifests" not in origin
