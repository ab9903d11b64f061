from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bspa.cli.diff import diff
from bspa.cli.main import main as bspa

Change = Callable[[dict[str, Any]], None]


def file_origin() -> dict[str, Any]:
    return {
        "rule": "deliver_weights",
        "key": "k1",
        "settings": {"train_uniform": {"batch": [4], "seed": [0]}, "deliver_weights": {"method": ["bspa"]}},
        "code": {"train_uniform": ["c1"]},
        "modules": {"train_stage.py": "m1", "bspa.training.loop": "m2"},
        "timed": False,
        "data": {"photos": {"photographs": 2, "sha256": "d" * 64}},
        "ran": [{"rules": ["train_uniform"], "packages": {"torch": "2.1"}, "device": "cpu: EPYC, 1 thread"}],
    }


def of_key(change: Change) -> Change:
    """A change that changes the key, as the plan does."""

    def both(origin: dict[str, Any]) -> None:
        change(origin)
        origin["key"] = "k2"

    return both


EQUAL, ROUNDING, OTHER = "must be equal", "by rounding", "results may differ: another key"
CHANGES: dict[str, tuple[Change, str, str]] = {
    "nothing": (lambda o: None, EQUAL, ""),
    "setting": (
        of_key(lambda o: o["settings"]["train_uniform"].update(batch=[8])),
        OTHER,
        "train_uniform.batch: 4 -> 8",
    ),
    "seed": (
        of_key(lambda o: o["settings"]["train_uniform"].update(seed=[0, 1])),
        OTHER,
        "train_uniform.seed: 0 -> 0 and 1",
    ),
    "rule": (
        of_key(lambda o: o["settings"].update(train_inverse={"batch": [4], "seed": [0]})),
        OTHER,
        "train_inverse: none -> run",
    ),
    "code": (
        of_key(lambda o: o["modules"].update({"bspa.training.loop": "m3"})),
        OTHER,
        "bspa.training.loop: m2 -> m3",
    ),
    "data": (
        of_key(lambda o: o["data"]["photos"].update(sha256="e" * 64)),
        OTHER,
        "photos: 2 photographs, dddddddddddd -> 2 photographs, eeeeeeeeeeee",
    ),
    "version": (lambda o: o["ran"][0]["packages"].update(torch="2.2"), ROUNDING, "torch: 2.1 -> 2.2"),
    "threads": (
        lambda o: o["ran"][0].update(device="cpu: EPYC, 2 threads"),
        ROUNDING,
        "train_uniform: cpu: EPYC, 1 thread -> cpu: EPYC, 2 threads",
    ),
}


def write(path: Path, origin: dict[str, Any]) -> str:
    path.write_text(json.dumps(origin))
    return str(path)


@pytest.mark.parametrize("what", CHANGES)
def test_two_files(what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change, verdict, line = CHANGES[what]
    other = file_origin()
    change(other)
    runs = [write(tmp_path / "a.json", file_origin()), write(tmp_path / "b.json", other)]
    assert bspa(["diff", *runs]) == int(what != "nothing")
    out = capsys.readouterr().out.splitlines()
    assert verdict in out[-1]
    assert out[1:-1] == ([f"  {line}"] if line else [])
    assert bspa(["diff", "--json", *runs]) == int(what != "nothing")
    assert json.loads(capsys.readouterr().out)["equal"] == (what == "nothing")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda o: o["ran"][0].update(device="cuda: NVIDIA H100"), "GPU"),
        (lambda o: o.update(timed=True), "match_seconds"),
    ],
)
def test_runs_that_do_not_repeat_their_own_bits(tmp_path: Path, change: Change, reason: str) -> None:
    origin = file_origin()
    change(origin)
    runs = [write(tmp_path / name, origin) for name in ("a.json", "b.json")]
    found = diff(*runs)
    assert not found.equal
    assert reason in found.verdict


def folder(path: Path, keys: dict[str, str], **config: Any) -> Path:
    path.mkdir()
    origin = {name: value for name, value in file_origin().items() if name not in ("key", "settings", "rule")}
    origin["config"] = {"training": {"batch": 4}, "compute": {"device": "auto"}, **config}
    origin["products"] = [{"file": file, "key": key} for file, key in keys.items()]
    write(path / "provenance.json", copy.deepcopy(origin))
    return path


def test_two_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys = {"models/a.safetensors": "1", "tables/t.csv": "2"}
    first = folder(tmp_path / "first", keys)
    same = folder(tmp_path / "same", {**keys, "tables/more.csv": "3"}, compute={"device": "cpu"})
    found = diff(first, same)
    assert found.settings == {"compute.device": ("auto", "cpu")}
    assert found.equal
    assert "settings changes no result" in found.verdict
    other = folder(tmp_path / "other", {**keys, "models/a.safetensors": "9"}, training={"batch": 8})
    assert bspa(["diff", str(first), str(other)]) == 1
    out = capsys.readouterr().out
    assert "  training.batch: 4 -> 8" in out
    assert "  models: 1" in out
    assert "1 of the 2 products" in out
    assert "no product in common" in diff(first, folder(tmp_path / "elsewhere", {"x": "1"})).verdict


def test_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = folder(tmp_path / "results", {"a": "1"})
    one = write(tmp_path / "one.json", file_origin())
    (tmp_path / "text.txt").write_text("")
    (tmp_path / "empty").mkdir()
    for other, message in (
        ("text.txt", "text.txt: it tells no origin"),
        ("gone.pdf", "gone.pdf"),
        ("empty", "provenance.json"),
        ("results", "one is a folder"),
    ):
        assert bspa(["diff", one, str(tmp_path / other)]) == 2
        assert message in capsys.readouterr().err
    assert results.exists()
