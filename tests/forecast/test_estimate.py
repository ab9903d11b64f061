"""What runs will take: added up by hand; and the measuring, on a clock of our own and for real."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from bspa.data.manifest import COLUMNS, write_manifest
from bspa.forecast import step_times
from bspa.forecast.estimate import (
    align,
    distinct_works,
    duration,
    estimate_run,
    estimate_scoring,
    plan_text,
    runs_table,
    times_table,
)
from bspa.forecast.step_times import StepTime, Work, describe_device, measure_step
from bspa.models.precision import Precision

CPU = torch.device("cpu")
FLOAT32 = Precision("float32", "cpu")
TINY: dict[str, Any] = {"arch": "fsrcnn", "options": {"d": 8, "s": 4, "m": 1}}
WORK = Work(
    task="training", arch="fsrcnn", options=(("d", 8), ("m", 1), ("s", 4)), scale=4, patch=32, batch=2,
    loss="l1", model="tiny",
)  # fmt: skip


def a_run(**more: Any) -> dict[str, Any]:
    """The paper's BSPA: four cycles of 50 + 50 epochs, the last without attribution."""
    phases = [{"name": name, "loss": "l1", "epochs": 50} for _ in range(4) for name in ("uniform", "inverse")]
    attribution = {"count": 3, "steps": 100, "batches": 4, "loss": "l1"}
    run = {"model": "tiny", "scale": 4, "method": "bspa", "seed": 0, "patch": 128, "batch": 16, "repeat": 1}
    return {**TINY, **run, "ema": None, "phases": phases, "attribution": attribution, **more}


def udn(**more: Any) -> dict[str, Any]:
    phases = [{"name": name, "loss": name, "epochs": 200} for name in ("uncertainty", "weighted")]
    return a_run(method="udn", phases=phases, attribution=None, **more)


def a_scoring(**more: Any) -> dict[str, Any]:
    scoring = {
        "model": "tiny",
        "scale": 4,
        "method": "bspa",
        "source": "photos",
        "batch": 64,
        "precision": "float32",
        "sub_images": 640,
    }
    return {**TINY, **scoring, "grid": {"size": 128, "step": 64, "threshold": 48}, **more}


def constant(seconds: dict[str, float], runs: list[Any], scorings: list[Any]) -> dict[Work, StepTime]:
    """Step times by task, or by loss where it is not l1."""
    return {
        work: StepTime(seconds=seconds[work.task if work.loss in ("l1", "") else work.loss], batch=work.batch)
        for work in distinct_works(runs, scorings)
    }


def lines_of(text: str) -> list[str]:
    """Lines with single spaces, however wide the columns are."""
    return [" ".join(line.split()) for line in text.splitlines()]


# ---- adding up ---------------------------------------------------------------


def test_the_papers_run_by_hand() -> None:
    run = a_run()
    times = constant({"training": 0.1, "attribution": 0.2}, [run], [])
    estimate = estimate_run(run, 800, times)
    assert estimate.steps == {"uniform": 10_000, "inverse": 10_000}
    assert estimate.epochs == {"uniform": 200, "inverse": 200}
    assert estimate.gradients == 3 * 100 * 4
    assert estimate.seconds == pytest.approx(20_000 * 0.1 + 1200 * 0.2)


def test_steps_of_an_epoch_are_whole_and_repeated() -> None:
    run = a_run(phases=[{"name": "uniform", "loss": "l1", "epochs": 12}], attribution=None, repeat=71)
    times = constant({"training": 0.5}, [run], [])
    assert estimate_run(run, 9, times).steps == {"uniform": 12 * 40}  # ceil(9 * 71 / 16) = 40
    assert estimate_run(run, 9, times).seconds == pytest.approx(240)


def test_each_phase_has_its_own_step_time() -> None:
    run = udn()
    estimate = estimate_run(run, 800, constant({"uncertainty": 0.3, "weighted": 0.2}, [run], []))
    assert estimate.steps == {"uncertainty": 10_000, "weighted": 10_000}
    assert estimate.gradients == 0
    assert estimate.seconds == pytest.approx(3000 + 2000)


def test_scoring_goes_by_batches() -> None:
    times = constant({"scoring": 0.5}, [], [a_scoring()])
    assert estimate_scoring(a_scoring(), times).seconds == pytest.approx(5)
    assert len(distinct_works([], [a_scoring(), a_scoring(precision="bfloat16")])) == 2
    unknown = a_scoring(sub_images=None)
    assert distinct_works([], [unknown]) == []
    assert estimate_scoring(unknown, {}).seconds is None


def test_equal_steps_are_measured_once() -> None:
    runs = [a_run(), a_run(seed=1), a_run(method="fig"), a_run(model="another name of it")]
    assert [work.task for work in distinct_works(runs, [])] == ["training", "attribution"]
    others = [
        {"scale": 2},
        {"patch": 64},
        {"batch": 8},
        {"ema": 0.999},
        {"options": {"d": 9, "s": 4, "m": 1}},
    ]
    for other in others:
        works = distinct_works([a_run(attribution=None), a_run(attribution=None, **other)], [])
        assert len(works) == 2, other
    losses = [work.loss for work in distinct_works([a_run(attribution=None), udn()], [])]
    assert losses == ["l1", "uncertainty", "weighted"]


# ---- as text -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "?"), (0.0004, "0.4 ms"), (0.038, "38 ms"), (0.9994, "999 ms"), (0.9996, "1.0 s"),
        (4.13, "4.1 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1.0 min"), (720, "12 min"),
        (3569, "59 min"), (3571, "1.0 h"), (8280, "2.3 h"), (147_600, "41 h"), (36_000_000, "10,000 h"),
    ],
)  # fmt: skip
def test_durations_have_a_unit_for_people(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_columns_are_flush() -> None:
    rows: list[Any] = [["fsrcnn", 20_000], ["a", 0], ["b", None]]
    assert align(["network", "steps"], rows, "<>").splitlines() == [
        "network   steps",
        "---------------",
        "fsrcnn   20,000",
        "a             -",
        "b             ?",
    ]


def test_without_the_number_of_photographs_there_are_epochs() -> None:
    estimate = estimate_run(a_run(), None, {})
    assert (estimate.steps, estimate.seconds, estimate.gradients) == ({}, None, 1200)
    header, _, row = runs_table([estimate]).splitlines()
    assert header.split() == ["network", "scale", "method", "seed", "uniform", "inverse", "gradients", "time"]
    assert row.split() == ["tiny", "x4", "bspa", "0", "200", "200", "1,200", "?"]


def test_the_plan_adds_up_and_says_what_is_left_out() -> None:
    runs = [a_run(), udn(), a_run(model="large", options={"d": 9, "s": 4, "m": 1}, seed=1)]
    scorings = [a_scoring(), a_scoring(source="others", sub_images=None)]
    seconds = {"training": 0.1, "attribution": 0.2, "uncertainty": 0.3, "weighted": 0.2, "scoring": 60.0}
    times = constant(seconds, runs, scorings)
    text = plan_text(
        [estimate_run(run, 800, times) for run in runs],
        [estimate_scoring(scoring, times) for scoring in scorings],
        times,
        photographs="800 photographs (photos)",
        device="a GPU",
        precision="bfloat16",
        missing=["results/data/others/manifest.csv"],
    )
    assert "on a GPU: training in bfloat16" in text
    assert "800 photographs (photos)" in text
    assert "snakemake results/data/others/manifest.csv" in text
    rows = lines_of(text)
    assert "tiny x4 udn 0 - - 10,000 10,000 - 1.4 h" in rows
    # 2240 + 5000 s, 2240 s, 600 s, and all of it; the unknown scoring is not in.
    assert "tiny 2 40,000 1,200 2.0 h" in rows
    assert "large 1 20,000 1,200 37 min" in rows
    assert "scoring 10 min" in rows
    assert "all 3 60,000 2,400 2.8 h" in rows
    assert "tiny x4 bspa others ? ?" in rows


def test_marks_say_how_a_step_was_measured() -> None:
    whole = times_table({WORK: StepTime(seconds=1.0, batch=2)})
    assert whole.splitlines()[2:] == ["tiny     x4        32      2  training, l1  1.0 s"]
    reduced = replace(WORK, task="scoring", loss="", precision="bfloat16")
    assert "scoring, bfloat16 " in times_table({reduced: StepTime(seconds=1.0, batch=2)})
    part = times_table({WORK: StepTime(seconds=1.0, batch=1)})
    assert "1.0 s *" in part
    assert "in proportion" in part
    broken = times_table({replace(WORK, ema=True): StepTime(seconds=1.0, batch=1, fits=False)})
    assert "training, l1, ema  1.0 s !" in broken
    assert "NOT FIT" in broken
    assert "in proportion" not in broken


# ---- measuring ---------------------------------------------------------------


class Clock:
    """A device with a clock of its own: steps take ``fixed`` and ``each`` sample's seconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, fixed: float, each: float, memory: int = 10**9):
        self.now = 0.0
        self.batches: list[int] = []

        def steps_of(work: Work, batch: int, *_: Any) -> Callable[[int], None]:
            self.batches.append(batch)

            def steps(number: int) -> None:
                if batch > memory:
                    raise torch.OutOfMemoryError("no memory left")
                self.now += number * (fixed + each * batch)

            return steps

        monkeypatch.setattr(step_times, "_steps", steps_of)
        monkeypatch.setattr(step_times.time, "perf_counter", lambda: self.now)


def test_quick_steps_are_measured_with_the_whole_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, fixed=0.004, each=0.001)
    measured = measure_step(replace(WORK, batch=16), device=CPU, precision=FLOAT32)
    assert measured == StepTime(seconds=pytest.approx(0.020), batch=16)
    assert clock.batches == [1, 16]
    assert clock.now < 5


def test_the_batch_is_reached_where_it_costs_less_than_in_proportion(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU waits for its orders: sixteen samples take as long as one."""
    clock = Clock(monkeypatch, fixed=0.2, each=0.0)
    measured = measure_step(replace(WORK, batch=16), device=CPU, precision=FLOAT32)
    assert measured == StepTime(seconds=pytest.approx(0.2), batch=16)
    assert clock.batches == [1, 6, 16]


def test_slow_steps_are_measured_with_fewer_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, fixed=0.0, each=0.3)
    measured = measure_step(replace(WORK, batch=16), device=CPU, precision=FLOAT32, seconds=5)
    assert measured == StepTime(seconds=pytest.approx(16 * 0.3), batch=4)
    assert clock.now < 10
    clock = Clock(monkeypatch, fixed=0.0, each=60.0)
    measured = measure_step(replace(WORK, batch=16), device=CPU, precision=FLOAT32, seconds=5)
    assert measured == StepTime(seconds=pytest.approx(960), batch=1)
    assert clock.now == 120  # a warm-up and one step, no more


def test_a_batch_that_does_not_fit_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch, fixed=0.0, each=0.001, memory=4)
    measured = measure_step(replace(WORK, batch=16), device=CPU, precision=FLOAT32)
    assert measured == StepTime(seconds=pytest.approx(0.016), batch=1, fits=False)


@pytest.mark.parametrize(
    "work",
    [
        WORK,
        replace(WORK, ema=True),
        replace(WORK, loss="uncertainty"),
        replace(WORK, loss="weighted"),
        replace(WORK, task="attribution"),
        replace(WORK, task="scoring", loss=""),
        replace(WORK, task="scoring", loss="", precision="bfloat16"),
    ],
    ids=lambda work: f"{work.task}-{work.loss}-{work.ema}-{work.precision}",
)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_every_kind_of_step_is_measured_and_leaves_no_trace(work: Work, precision: str) -> None:
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), torch.get_num_threads()  # noqa: NPY002
    measured = measure_step(work, device=CPU, precision=Precision(precision, "cpu"), seconds=0.2)
    assert measured.fits
    assert math.isfinite(measured.seconds)
    assert 0 < measured.seconds < 5
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    assert torch.get_num_threads() == before[2]
    assert torch.is_grad_enabled()


def test_a_larger_network_takes_longer() -> None:
    large = replace(WORK, arch="edsr", options=(("blocks", 4), ("channels", 48)))
    small = measure_step(WORK, device=CPU, precision=FLOAT32, seconds=0.3)
    assert measure_step(large, device=CPU, precision=FLOAT32, seconds=0.3).seconds > 2 * small.seconds


def test_the_device_is_named() -> None:
    assert describe_device(CPU).endswith((" thread", " threads"))


# ---- the script --------------------------------------------------------------


@pytest.fixture
def plan(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    spec = importlib.util.spec_from_file_location("plan", root / "workflow_scripts" / "plan.py")
    assert spec
    assert spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    monkeypatch.setattr(script, "measure_step", lambda work, **_: StepTime(seconds=0.1, batch=work.batch))
    monkeypatch.setattr(script, "use_threads", lambda threads: threads)

    def run(**settings: Any) -> None:
        defaults = {
            "train": "photos", "source": None, "scales": [4], "images": None,
            "precision": "float32", "runs": [a_run()], "scorings": [],
            "manifests": {"photos": str(tmp_path / "photos.csv"), "others": str(tmp_path / "others.csv")},
        }  # fmt: skip
        job = SimpleNamespace(
            params=SimpleNamespace(settings={**defaults, **settings}),
            threads=1,
            config={"compute": {"device": "cpu"}},
        )
        script.main(job)

    return run


def a_manifest(path: Path, sizes: list[tuple[int, int]]) -> None:
    rows = [[f"{n}", f"{n}.png", *size, "0" * 64, None, "", ""] for n, size in enumerate(sizes)]
    write_manifest(pd.DataFrame(rows, columns=list(COLUMNS)), path)


def test_the_plan_says_which_network_is_trained_in_which_precision(
    plan: Callable[..., None], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bspa.system.devices._computes_bfloat16", lambda device: True)
    small, other = a_run(), a_run(arch="edsr", options={"blocks": 1, "channels": 4}, model="other")
    asked = {"source": {"kind": "builtin", "photos": ["coffee"]}, "precision": "auto"}
    for runs, words in (
        ([small], "training in float32,"),
        ([other], "training in bfloat16,"),
        ([small, other], "training in bfloat16 (edsr) and float32 (fsrcnn),"),
    ):
        plan(**asked, runs=runs)
        assert words in capsys.readouterr().out


def test_the_plan_asks_for_the_number_of_photographs(
    plan: Callable[..., None], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    plan()
    out = capsys.readouterr().out
    assert "sources: {photos: {images: NUMBER}}" in out
    assert f"snakemake {tmp_path / 'photos.csv'}" in out
    assert "tiny x4 bspa 0 200 200 1,200 ?" in lines_of(out)


def test_the_plan_counts_the_photographs_that_are_there(
    plan: Callable[..., None], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    plan(images=800)
    assert "800 photographs (photos)" in capsys.readouterr().out
    for name in ("a_HR.png", "b_HR.png", "a_LR.png", "b_LR.png", "notes.txt"):
        (tmp_path / name).touch()
    pairs = {"kind": "folder", "path": str(tmp_path), "hr": "*_HR.png", "lr": "*_LR.png"}
    plan(images=800, source=pairs)
    out = capsys.readouterr().out
    assert "2 photographs (photos)" in out
    # 400 epochs of ceil(2 / 16) = 1 step, and 1200 gradients, at 0.1 s
    assert "tiny x4 bspa 0 200 200 1,200 2.7 min" in lines_of(out)
    with pytest.raises(ValueError, match="nowhere"):
        plan(source={"kind": "folder", "path": str(tmp_path / "nowhere")})


def test_the_plan_counts_the_sub_images_of_manifests(
    plan: Callable[..., None], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    a_manifest(tmp_path / "photos.csv", [(256, 192), (128, 128), (128, 130)])
    sub_images = 3 * 2 + 1 + 1  # windows of 128 pixels, every 64
    plan(images=3, scorings=[a_scoring(sub_images=None), a_scoring(source="others")])
    out = capsys.readouterr().out
    rows = lines_of(out)
    assert f"tiny x4 bspa photos {sub_images} 12 ms" in rows  # 8 of 64 at 0.1 s
    assert "tiny x4 bspa others ? ?" in rows
    assert f"snakemake {tmp_path / 'others.csv'}" in out


def test_the_plan_measures_an_automatic_batch_as_the_device_gets_it(
    plan: Callable[..., None], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    a_manifest(tmp_path / "photos.csv", [(256, 192), (128, 128), (128, 130)])
    plan(images=3, scorings=[a_scoring(sub_images=None, batch="auto")])
    # 8 are a CPU's batch of 128 pixels, of 0.1 s
    assert "tiny x4 bspa photos 8 100 ms" in lines_of(capsys.readouterr().out)
