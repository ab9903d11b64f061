"""The scripts of training: stages of every phase, attribution and delivery, chained through files."""

from __future__ import annotations

import itertools
import json
import os
import runpy
import signal
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bspa.data.packed import PackedImages
from bspa.difficulty.classes import split_classes
from bspa.difficulty.shard_writing import write_class_shards
from bspa.models.registry import build, count_parameters
from bspa.models.weights import load_weights, save_network
from bspa.sampling.sampler import PatchPool
from bspa.sampling.selections import Selection, write_selection
from bspa.training.registry import LOSSES
from bspa.training.snapshot import load_snapshot
from bspa.training.stage import Stage
from bspa.training.uncertainty import build_uncertainty
from tests.support.jobs import make_job
from tests.support.networks import SMALL
from tests.support.noise import pack_noise
from tests.support.scores import made_up_scores
from tests.support.training import initial_weights, make_attribution, make_stage

KEY = "0123456789abcdef"


def run(script: str, settings: dict[str, Any], inputs: dict[str, Any], outputs: dict[str, Path]) -> None:
    """Run a workflow script."""
    folder = Path(__file__).parents[2] / "workflow_scripts"
    compute = {"device": "cpu", "jobs_per_gpu": 1}
    if script.startswith("train"):
        compute["save_every_seconds"] = 1e9
    given = {name: file for name, file in inputs.items() if file is not None}
    job = make_job(script, given, outputs, settings, key=KEY, compute=compute)
    runpy.run_path(str(folder / f"{script}.py"))["main"](job)


class Run:
    """A run in a folder: packed noise, and what its stages write."""

    def __init__(self, folder: Path):
        self.folder, self.packed = folder, folder / "x4.h5"
        self.images: PackedImages = pack_noise(folder, (48, 40), (40, 64), scale=4)

    def source(self, sampling: str) -> Path | None:
        """Make what a sampling needs besides the photographs."""
        path = self.folder / sampling
        if sampling == "inverse" and not path.exists():
            scores = made_up_scores(self.images, size=32, step=8)
            classes = split_classes(scores.mse, 2, 3.0)
            write_class_shards(
                path, self.images, scores, classes.sizes,
                thresholds=classes.thresholds, samples="windows", key="",
            )  # fmt: skip
        if sampling == "informative":
            offsets, bounds = np.array([[0, 1], [2, 0], [1, 3]], np.int32), np.array([0, 2, 3])
            write_selection(path, Selection(offsets, bounds, patch=32, scale=4), key="")
        return None if sampling == "uniform" else path

    def train(
        self, stage: Stage, name: str, previous: Path | None = None, mask: Path | None = None,
        start: Path | None = None,
    ) -> Path:  # fmt: skip
        """Run a stage; return its snapshot."""
        snapshot, source = self.folder / f"{name}.safetensors", self.source(stage.sampling)
        inputs = {"packed": self.packed, "source": source, "previous": previous, "mask": mask, "start": start}
        outputs = {"snapshot": snapshot, "journal": snapshot.with_suffix(".csv")}
        run("train_stage", asdict(stage), inputs, outputs)
        return snapshot

    def attribute(self, name: str, baseline: Path, target: Path, **changed: Any) -> Path:
        """Run an attribution; return its mask."""
        mask, keep = self.folder / f"{name}.safetensors", changed.pop("keep", None)
        of_run = {"scale": 4, "options": SMALL["fsrcnn"], "seed": 3, "patch": 32}
        share = {"beta": 0.5, "epoch": 3, "total_epochs": 6}
        attribution = make_attribution(**{**of_run, **share, "steps": 3, "batches": 2, **changed})
        inputs = {"baseline": baseline, "target": target, "packed": self.packed, "keep": keep}
        outputs = {"mask": mask, "summary": mask.with_suffix(".json")}
        run("attribute_parameters", asdict(attribution), inputs, outputs)
        return mask

    def deliver(
        self,
        stages: Sequence[Path],
        masks: Sequence[Path] = (),
        select: str = "last",
        start: Sequence[Path] = (),
    ) -> tuple[Path, Path]:
        """Deliver a run; return its weights and summary."""
        settings = {
            "arch": "fsrcnn", "scale": 4, "options": SMALL["fsrcnn"], "model": "m", "method": "bspa",
            "seed": 3, "trained_on": "noise", "select": select, "validated_on": "noise",
        }  # fmt: skip
        weights, summary = self.folder / "weights.safetensors", self.folder / "weights.json"
        inputs = {
            "snapshot": stages[-1],
            "journals": [str(path.with_suffix(".csv")) for path in stages],
            "attributions": [str(path.with_suffix(".json")) for path in masks],
            "start": [str(path) for path in start],
        }
        run("deliver_weights", settings, inputs, {"weights": weights, "summary": summary})
        return weights, summary


@pytest.fixture
def bspa(tmp_path: Path) -> Run:
    """A run without stages."""
    return Run(tmp_path)


def test_a_run_of_bspa_from_photographs_to_weights(bspa: Run) -> None:
    """Uniform, inverse, attribution, and a stage under its mask."""
    stage = make_stage(ema=0.9, total_epochs=6)
    uniform = bspa.train(stage, "uniform")
    inverse = bspa.train(make_stage("inverse", ema=0.9, first_epoch=3, total_epochs=6), "inverse", uniform)
    head, *rows = uniform.with_suffix(".csv").read_text().splitlines()
    assert head == "step,epoch,loss,learning_rate,samples_per_second,device_seconds,psnr,psnr_average"
    assert [row.split(",")[:2] for row in rows] == [["1", "1"], ["2", "2"], ["3", "3"]]
    mask = bspa.attribute("mask", uniform, inverse)
    last = bspa.train(replace(stage, first_epoch=3), "last", inverse, mask)
    tensors, header = load_weights(mask)
    masks = {n.removeprefix("mask."): t for n, t in tensors.items() if n.startswith("mask.")}
    frozen, units = sum(int(m.sum()) for m in masks.values()), sum(m.numel() for m in masks.values())
    assert frozen == round(0.25 * units)
    assert (header["key"], header["frozen"], header["units"]) == (KEY, str(frozen), str(units))
    before, after = load_snapshot(inverse)[0], load_snapshot(last)[0]
    for name, where in masks.items():
        assert torch.equal(after.weights[name][where], before.weights[name][where])
        assert not torch.equal(after.weights[name][~where], before.weights[name][~where])
    summary = json.loads(mask.with_suffix(".json").read_text())
    assert (summary["key"], summary["fraction"], summary["layers"].keys()) == (KEY, 0.25, masks.keys())

    weights, path = bspa.deliver([uniform, inverse, last], [mask], "average")
    delivered, header = load_weights(weights)
    assert all(torch.equal(value, after.delivered("average")[name]) for name, value in delivered.items())
    assert header["weights"] == "average, decay 0.9"
    assert (header["key"], header["architecture"], header["scale"]) == (KEY, "fsrcnn", "4")
    assert json.loads(header["options"]) == SMALL["fsrcnn"]
    summary = json.loads(path.read_text())
    assert summary["parameters"] == count_parameters(build("fsrcnn", 4, **SMALL["fsrcnn"]))
    assert (summary["key"], summary["steps"]) == (KEY, after.optimiser_steps)
    assert summary["weights"] == "average, decay 0.9"
    assert summary["device_seconds"] > summary["attribution_seconds"] > 0


def test_a_snapshot_names_its_key_and_how_it_was_computed(bspa: Run) -> None:
    snapshot = bspa.train(make_stage("informative", ema=None), "informative")
    header = load_snapshot(snapshot)[1]
    assert (header["key"], header["precision"], header["device"]) == (KEY, "float32", "cpu")
    assert "ema" not in header
    weights, summary = bspa.deliver([snapshot])
    assert load_weights(weights)[1]["weights"] == "last"
    assert json.loads(summary.read_text())["weights"] == "last"


@pytest.mark.parametrize("unit", ["weight", "filter"])
def test_cumulative_masks_keep_what_is_frozen(bspa: Run, unit: str) -> None:
    first, second = bspa.train(make_stage(), "a"), bspa.train(make_stage(seed=4), "b")
    one = load_weights(bspa.attribute("one", first, second, unit=unit))[0]
    more: dict[str, Any] = {"update": "cumulative", "cycle": 2, "epoch": 6}
    more["keep"] = bspa.folder / "one.safetensors"
    two = load_weights(bspa.attribute("two", second, first, unit=unit, **more))[0]
    for name in (name for name in one if name.startswith("mask.")):
        assert bool((two[name] | ~one[name]).all()), name
        if unit == "filter":
            assert torch.equal(two[name], two[name].amax((2, 3), keepdim=True).expand_as(two[name]))


def test_a_stopped_job_continues_and_gives_the_same_file(bspa: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = make_stage(ema=0.9)
    whole = bspa.train(stage, "whole")
    crop, calls = PatchPool.crop, iter(range(100))

    def stop(self: PatchPool, *args: Any) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        if next(calls) == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return crop(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(PatchPool, "crop", stop)
        with pytest.raises(SystemExit):
            bspa.train(stage, "cut")
    partial = bspa.folder / ".cut.partial"
    assert load_snapshot(partial / "state.safetensors")[1]["step"] == "2"
    cut = bspa.train(stage, "cut")
    assert cut.read_bytes() == whole.read_bytes()
    assert not partial.exists()


def test_a_stage_that_another_process_has_finished_is_not_trained_again(
    bspa: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = bspa.train(make_stage(), "uniform")
    before = snapshot.stat().st_mtime_ns
    with monkeypatch.context() as patch:
        patch.setattr("bspa.training.job.train_stage", None)
        bspa.train(make_stage(), "uniform")
    assert snapshot.stat().st_mtime_ns == before


def test_the_reference_is_delivered_as_a_network(bspa: Run) -> None:
    stage = make_stage(arch="msrresnet")
    outputs = {name: bspa.folder / f"{name}.safetensors" for name in ("weights", "snapshot")}
    journal = bspa.folder / "journal.csv"
    run("train_reference", asdict(stage), {"packed": bspa.packed}, {**outputs, "journal": journal})
    weights, header = load_weights(outputs["weights"])
    last, _ = load_snapshot(outputs["snapshot"])
    assert all(torch.equal(value, last.weights[name]) for name, value in weights.items())
    assert (header["architecture"], header["scale"], header["key"]) == ("msrresnet", "4", KEY)
    assert journal.read_text().count("\n") == 1 + stage.epochs


# ---- given weights to start from -----------------------------------------------------------------------


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """Weights of another seed, as `import_start` writes them."""
    stage = make_stage(seed=11)
    file = tmp_path / "given.safetensors"
    save_network(
        file, initial_weights(stage), arch=stage.arch, scale=stage.scale, options=stage.options, key="",
        sha256_of_source="1234",
    )  # fmt: skip
    return file


@pytest.mark.parametrize("phase", ["uniform", "inverse", "informative", "uncertainty"])
def test_a_run_starts_from_given_weights_with_a_fresh_adam(bspa: Run, given: Path, phase: str) -> None:
    """A stage that learns nothing shows them; of UDN's head, the weights are those of the seed."""
    still = make_stage(phase, learning_rate=1e-30, epochs=1)
    end = load_snapshot(bspa.train(still, phase, start=given))[0]
    prefix = "network." if phase == "uncertainty" else ""
    expected, _ = load_weights(given)
    assert all(torch.allclose(end.weights[prefix + n], w, 0, 1e-20) for n, w in expected.items())
    assert end.optimiser_steps == end.adam_steps == 1
    if phase == "uncertainty":
        heads = {n: v for n, v in build_uncertainty(still).state_dict().items() if n.startswith("head.")}
        assert heads
        assert all(torch.allclose(end.weights[name], value, 0, 1e-20) for name, value in heads.items())
    learnt = load_snapshot(bspa.train(make_stage(phase), f"{phase}_learnt", start=given))[0]
    from_seed = load_snapshot(bspa.train(make_stage(phase), f"{phase}_from_seed"))[0]
    name = f"{prefix}head_conv.0.weight"
    assert not torch.equal(learnt.weights[name], end.weights[name])
    assert not torch.equal(learnt.weights[name], from_seed.weights[name])


def test_other_given_weights_are_another_stage(bspa: Run, given: Path) -> None:
    snapshot = bspa.train(make_stage(), "uniform")
    before = load_weights(snapshot)[1]["identity"]
    assert load_weights(bspa.train(make_stage(), "uniform", start=given))[1]["identity"] != before


def test_delivered_weights_say_what_they_started_from(bspa: Run, given: Path) -> None:
    weights, _ = bspa.deliver([bspa.train(make_stage(), "uniform", start=given)], start=[given])
    assert load_weights(weights)[1]["started_from_sha256"] == "1234"


# ---- runs that are too short ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arch", "steps", "warned"), [("fsrcnn", 36, True), ("edsr", 399, True), ("edsr", 400, False)]
)
def test_a_run_that_is_too_short_says_so(
    bspa: Run, caplog: pytest.LogCaptureFixture, arch: str, steps: int, warned: bool
) -> None:
    """The stage is one step of it."""
    stage = make_stage(arch=arch, options=SMALL[arch], epochs=1, epoch_steps=1, total_epochs=steps)
    bspa.train(stage, "brief")
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [f"a run of {steps} steps" in text and arch in text for text in said] == [True] * warned


def test_neither_later_stages_nor_given_weights_are_called_brief(
    bspa: Run, given: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = bspa.train(make_stage(), "first", start=given)
    bspa.train(make_stage(first_epoch=3), "second", first)
    assert "brief" not in caplog.text


# ---- losses --------------------------------------------------------------------------------------------


def test_the_attribution_is_about_the_loss_of_the_training(bspa: Run) -> None:
    uniform = bspa.train(make_stage(total_epochs=6), "uniform")
    inverse = bspa.train(make_stage("inverse", first_epoch=3, total_epochs=6), "inverse", uniform)
    found = {}
    for loss in LOSSES:
        mask = bspa.attribute(f"mask_{loss}", uniform, inverse, objective=loss)
        found[loss] = torch.cat([t.flatten() for n, t in load_weights(mask)[0].items() if "importance" in n])
    for one, other in itertools.combinations(found.values(), 2):
        assert not torch.allclose(one, other)
