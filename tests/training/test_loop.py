"""Training stages: what is frozen, what is kept, what resumes exactly."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from bspa.training.optimiser import make_optimiser
from torch import nn

from bspa.models.precision import choose_precision
from bspa.models.registry import build
from bspa.models.weights import load_weights
from bspa.sampling.feeds import HostFeed
from bspa.sampling.uniform import UniformSampler
from bspa.system.devices import choose_device
from bspa.training.checkpoint import Progress, open_progress, stage_key
from bspa.training.loop import STEPS_BETWEEN_READINGS, FrozenWeights, Stage, steps_per_epoch, train_stage
from bspa.training.losses import Objective, image_objective, l1
from bspa.training.snapshot import Snapshot, load_snapshot, save_snapshot, start_moments, take_snapshot
from bspa.training.step import EagerStep, MovingAverage, record_step

L1 = image_objective(l1)
STAGE = Stage(
    name="tested", first_epoch=0, epochs=3, counts=True, total_epochs=3,
    steps_per_epoch=4, learning_rate=1e-3, halve_every=2,
    betas=(0.9, 0.999), epsilon=1e-8,
)  # fmt: skip
AVERAGED = replace(STAGE, ema=0.9)


class Noise:
    """Batches of random patches; a pure function of the iteration, as `bspa.sampling.sampler`."""

    def __init__(self, signal_at: int | None = None):
        self.signal_at = signal_at
        self.asked: list[int] = []

    def batch(self, iteration: int) -> tuple[np.ndarray, np.ndarray]:
        self.asked.append(iteration)
        if iteration == self.signal_at:
            os.kill(os.getpid(), signal.SIGTERM)
        generator = np.random.Generator(np.random.Philox(key=7, counter=[0, 0, 0, iteration]))
        hr = generator.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
        return np.ascontiguousarray(hr[:, ::4, ::4]), hr


def network() -> nn.Module:
    torch.manual_seed(0)
    return build("fsrcnn", 4)


def train(
    folder: Path,
    *,
    stage: Stage = STAGE,
    sampler: Noise | None = None,
    initial: Snapshot | None = None,
    frozen: dict[str, torch.Tensor] | None = None,
    precision: str = "float32",
    save_every_seconds: float = 1e9,
    model: nn.Module | None = None,
    objective: Objective = L1,
    compiled: bool = False,
) -> Progress:
    device = choose_device("cpu")
    with open_progress(folder, "key") as progress:
        return train_stage(
            model or network(), sampler or Noise(), stage, objective=objective, initial=initial,
            frozen=frozen, precision=choose_precision(precision, device), device=device, progress=progress,
            save_every_seconds=save_every_seconds, compiled=compiled,
        )  # fmt: skip


def assert_same(a: Snapshot, b: Snapshot) -> None:
    assert a.optimiser_steps == b.optimiser_steps
    assert a.average.keys() == b.average.keys()
    for name, value in a.average.items():
        assert torch.equal(value, b.average[name]), ("average", name)
    for name, value in a.weights.items():
        assert torch.equal(value, b.weights[name]), name
    for moment, values in a.moments.items():
        assert values.keys() == b.moments[moment].keys()
        for name, value in values.items():
            assert torch.equal(value, b.moments[moment][name]), (moment, name)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_a_stage_is_plain_adam_on_l1(tmp_path: Path) -> None:
    end = train(tmp_path / "state")
    model, sampler = network(), Noise()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    for step in range(12):
        optimiser.param_groups[0]["lr"] = 1e-3 if step < 8 else 0.5e-3
        lr, hr = (torch.from_numpy(i).permute(0, 3, 1, 2).float() / 255 for i in sampler.batch(step))
        optimiser.zero_grad()
        (model(lr) - hr).abs().mean().backward()
        optimiser.step()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(end.snapshot.weights[name], value, rtol=1e-3, atol=1e-5)
    assert [row["learning_rate"] for row in end.rows] == [1e-3, 1e-3, 0.5e-3]
    assert [row["epoch"] for row in end.rows] == [1, 2, 3]
    assert end.snapshot.optimiser_steps == 12


def test_the_papers_epoch_is_50_steps() -> None:
    assert steps_per_epoch(800, 1, 16) == 50
    assert steps_per_epoch(801, 1, 16) == 51
    paper = replace(
        STAGE, epochs=400, total_epochs=400, steps_per_epoch=50, learning_rate=2e-4, halve_every=200
    )
    assert paper.steps == 20_000
    assert [paper.learning_rate_at(s) for s in (0, 9_999, 10_000, 19_999)] == [2e-4, 2e-4, 1e-4, 1e-4]


def test_uncounted_epochs_have_the_learning_rate_of_the_last_counted_one() -> None:
    for first_epoch, rate in ((1, 1e-3), (2, 1e-3), (3, 0.5e-3)):
        stage = replace(STAGE, first_epoch=first_epoch, epochs=10, counts=False)
        assert {stage.learning_rate_at(step) for step in range(stage.steps)} == {rate}


def test_a_run_made_longer_is_not_halved_again() -> None:
    stage = replace(STAGE, epochs=8, total_epochs=4)
    assert [stage.learning_rate_at(4 * e) for e in range(8)] == [1e-3] * 2 + [0.5e-3] * 6


def test_two_stages_equal_one_long_stage(tmp_path: Path) -> None:
    """The optimiser's state is carried on from stage to stage."""
    whole = train(tmp_path / "a")
    first = train(tmp_path / "b", stage=replace(STAGE, epochs=1))
    save_snapshot(tmp_path / "s.safetensors", first.snapshot, {})
    loaded, _ = load_snapshot(tmp_path / "s.safetensors")
    sampler = Noise()
    second = train(
        tmp_path / "c", stage=replace(STAGE, first_epoch=1, epochs=2), initial=loaded, sampler=sampler
    )
    assert sampler.asked[0] == 4
    assert_same(second.snapshot, whole.snapshot)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_frozen_weights_keep_every_bit_with_warm_momentum(tmp_path: Path, precision: str) -> None:
    warm = train(tmp_path / "a", precision=precision).snapshot
    assert all(bool((m != 0).any()) for m in warm.moments["exp_avg"].values())
    torch.manual_seed(3)
    frozen = {n: torch.rand_like(v) < 0.4 for n, v in warm.weights.items() if v.ndim == 4}
    end = train(tmp_path / "b", initial=warm, frozen=frozen, precision=precision).snapshot
    for name, mask in frozen.items():
        assert torch.equal(end.weights[name][mask], warm.weights[name][mask]), name
        moved = (end.weights[name] != warm.weights[name]) | mask
        assert float(moved.float().mean()) > 0.99, f"{name}: weights that are not frozen stood still"


def test_zero_gradients_alone_would_not_freeze() -> None:
    """Why weights are put back after each step: the test above must be able to fail."""
    model = network()
    optimiser = make_optimiser(model, STAGE)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimiser.step()
    before = model.head_conv[0].weight.detach().clone()
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    assert bool((model.head_conv[0].weight != before).all())


def test_a_mask_of_another_network_is_refused() -> None:
    with pytest.raises(ValueError, match="mask is of another network: nothing"):
        FrozenWeights(network(), {"nothing": torch.ones(1, dtype=torch.bool)})


def test_a_stopped_stage_ends_bit_identical(tmp_path: Path) -> None:
    whole = train(tmp_path / "whole")
    with pytest.raises(SystemExit) as stopped:
        train(tmp_path / "cut", sampler=Noise(signal_at=5))
    assert stopped.value.code == 128 + signal.SIGTERM
    sampler = Noise()
    resumed = train(tmp_path / "cut", sampler=sampler)
    assert sampler.asked[0] == 6, "it must go on where it stopped"
    assert_same(resumed.snapshot, whole.snapshot)
    timings = ("samples_per_second", "device_seconds")
    assert [{k: v for k, v in r.items() if k not in timings} for r in resumed.rows] == [
        {k: v for k, v in r.items() if k not in timings} for r in whole.rows
    ]


def test_a_frozen_stage_resumes_with_the_same_weights_frozen(tmp_path: Path) -> None:
    warm = train(tmp_path / "warm").snapshot
    frozen = {n: torch.rand_like(v) < 0.4 for n, v in warm.weights.items() if v.ndim == 4}
    whole = train(tmp_path / "whole", initial=warm, frozen=frozen)
    with pytest.raises(SystemExit):
        train(tmp_path / "cut", initial=warm, frozen=frozen, sampler=Noise(signal_at=12 + 7))
    assert_same(train(tmp_path / "cut", initial=warm, frozen=frozen).snapshot, whole.snapshot)


class Photos:
    """Photographs of noise for a real sampler."""

    scale, ids = 4, ("noise",) * 3

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        self._lr, self._hr = (random.integers(0, 256, (3, s, s, 3), np.uint8) for s in (16, 64))

    def __len__(self) -> int:
        return 3

    def lr(self, index: int) -> np.ndarray:
        return self._lr[index]

    def hr(self, index: int) -> np.ndarray:
        return self._hr[index]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("arch", ["fsrcnn", "edsr", "rcan"])
def test_a_recorded_step_is_the_step(tmp_path: Path, arch: str) -> None:
    options = {"rcan": {"groups": 1, "blocks": 1}, "edsr": {"blocks": 1}, "fsrcnn": {}}[arch]
    device, stage = choose_device("cuda"), replace(AVERAGED, epochs=20, total_epochs=20)

    def trained(folder: str, *, resident: float, recorded: bool, initial: Snapshot | None) -> Snapshot:
        torch.manual_seed(0)
        model = build(arch, 4, **options)
        frozen = {}
        if initial:
            frozen = {n: torch.arange(v.numel()).view(v.shape) % 3 == 0 for n, v in initial.average.items()}
        with open_progress(tmp_path / folder, "key") as progress:
            return train_stage(
                model, UniformSampler(Photos(), patch=32, batch=4, seed=0), stage,  # type: ignore[arg-type]
                objective=L1, initial=initial, frozen=frozen, precision=choose_precision("float32", device),
                device=device, progress=progress, recorded=recorded, resident=resident,
            ).snapshot  # fmt: skip

    first = trained("first", resident=0.5, recorded=False, initial=None)
    for initial in (None, first):
        eager, host, recorded = (
            trained(name, resident=resident, recorded=record, initial=initial)
            for name, resident, record in (("a", 0.5, False), ("b", 0.0, True), ("c", 0.5, True))
        )
        start = initial.weights if initial else build(arch, 4, **options).state_dict()
        for other in (host, recorded):
            assert other.optimiser_steps == eager.optimiser_steps
            for name, value in eager.weights.items():
                apart, moved = (other.weights[name] - value).norm(), (value - start[name]).norm()
                assert apart <= 0.05 * moved, f"{name}: moved by {moved}, {apart} apart"
                if initial and name in initial.average:
                    held = torch.arange(value.numel()).view(value.shape) % 3 == 0
                    assert torch.equal(other.weights[name][held], initial.weights[name][held]), name


def test_a_recorded_step_takes_both_parts_at_once_from_moments_of_zero(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def play_back(
        work: Callable[[], torch.Tensor], *, warm_up: Callable[[], object], device: object
    ) -> object:
        warm_up()
        return work

    monkeypatch.setattr("bspa.training.step.capture", play_back)
    cpu = choose_device("cpu")
    ends = []
    for recorded in (False, True):
        model, feed = network(), HostFeed(Noise())  # type: ignore[arg-type]
        masks = {n: torch.arange(p.numel()).view(p.shape) % 2 == 0 for n, p in model.named_parameters()}
        optimiser = make_optimiser(model, STAGE)
        average = MovingAverage(model, 0.9, {})
        eager = EagerStep(
            model, objective=L1, feed=feed, precision=choose_precision("float32", cpu), optimiser=optimiser,
            hold=FrozenWeights(model, masks), average=average,
        )  # fmt: skip
        feed.load(0)
        if recorded:
            start_moments(model, optimiser)
        take = record_step(eager, cpu) if recorded else eager
        losses = []
        for iteration in range(4):
            feed.load(iteration)
            losses.append(float(take.gradients()))
            take.update()
        ends.append((losses, take_snapshot(model, optimiser, 4, average.values)))
    assert ends[0][0] == ends[1][0]
    assert_same(ends[0][1], ends[1][1])


def test_a_step_that_cannot_be_recorded_is_taken_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr("bspa.training.step.capture", refuse)
    cpu = choose_device("cpu")
    eager = EagerStep(
        network(),
        objective=L1,
        feed=HostFeed(Noise()),  # type: ignore[arg-type]
        precision=choose_precision("float32", cpu),
        optimiser=make_optimiser(network(), STAGE),
        hold=FrozenWeights(network(), {}),
        average=None,
    )
    assert record_step(eager, cpu) is eager
    assert "cannot be recorded (operation not permitted" in caplog.text


# ---- the moving average of the weights -----------------------------------------------------------------


class Watched(Noise):
    """Keeps the weights as they are when each batch is asked for."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model
        self.weights: list[dict[str, torch.Tensor]] = []

    def batch(self, iteration: int) -> tuple[np.ndarray, np.ndarray]:
        self.weights.append({n: p.detach().double().clone() for n, p in self.model.named_parameters()})
        return super().batch(iteration)


def test_the_average_is_that_of_a_plain_loop(tmp_path: Path) -> None:
    model = network()
    watched = Watched(model)
    end = train(tmp_path, stage=AVERAGED, model=model, sampler=watched).snapshot
    seen = [*watched.weights, {name: value.double() for name, value in end.weights.items()}]
    assert end.average.keys() == seen[0].keys()
    for name, averaged in end.average.items():
        expected = seen[0][name]
        for weights in seen[1:]:
            expected = 0.9 * expected + 0.1 * weights[name]
        assert averaged.dtype == torch.float32
        torch.testing.assert_close(averaged.double(), expected, rtol=1e-5, atol=1e-7)
        assert not torch.equal(averaged, end.weights[name]), name


def test_averaging_changes_no_weight_and_is_absent_when_off(tmp_path: Path) -> None:
    plain, averaged = train(tmp_path / "a").snapshot, train(tmp_path / "b", stage=AVERAGED).snapshot
    assert plain.average == {}
    assert plain.delivered == plain.weights
    assert_same(plain, replace(averaged, average={}))
    save_snapshot(tmp_path / "plain.safetensors", plain, {})
    names = load_weights(tmp_path / "plain.safetensors")[0]
    assert not any(name.startswith("average.") for name in names)
    assert all(torch.equal(averaged.delivered[n], averaged.average[n]) for n in averaged.average)


def test_fixed_weights_are_delivered_with_the_averaged_ones(tmp_path: Path) -> None:
    model = build("edsr", 4, blocks=1, channels=4)
    end = train(tmp_path, stage=AVERAGED, model=model).snapshot
    assert set(end.weights) - set(end.average) == {
        f"{part}_mean.{name}" for part in ("sub", "add") for name in ("weight", "bias")
    }
    assert end.delivered.keys() == model.state_dict().keys()


def test_the_average_is_carried_through_stages_and_partial_states(tmp_path: Path) -> None:
    whole = train(tmp_path / "whole", stage=AVERAGED).snapshot
    first = train(tmp_path / "first", stage=replace(AVERAGED, epochs=1)).snapshot
    save_snapshot(tmp_path / "s.safetensors", first, {})
    loaded, _ = load_snapshot(tmp_path / "s.safetensors")
    rest = replace(AVERAGED, first_epoch=1, epochs=2)
    with pytest.raises(SystemExit):
        train(tmp_path / "cut", stage=rest, initial=loaded, sampler=Noise(signal_at=7))
    assert_same(train(tmp_path / "cut", stage=rest, initial=loaded).snapshot, whole)


def test_an_average_of_another_network_is_refused(tmp_path: Path) -> None:
    end = train(tmp_path / "a").snapshot
    other = replace(end, average={"nothing": torch.zeros(1)})
    with pytest.raises(ValueError, match="averaged weights are of another network"):
        train(tmp_path / "b", stage=AVERAGED, initial=other)


# ---- partial states ------------------------------------------------------------------------------------


def test_partial_state_of_other_settings_is_not_continued(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        train(tmp_path, sampler=Noise(signal_at=5))
    with open_progress(tmp_path, "another key") as progress:
        assert progress.load() is None


def test_the_key_depends_on_settings_and_inputs(tmp_path: Path) -> None:
    file = tmp_path / "input"
    file.write_bytes(b"a")
    key = stage_key({"lr": 1}, [file])
    assert stage_key({"lr": 1}, [file]) == key
    assert stage_key({"lr": 2}, [file]) != key
    file.write_bytes(b"b")
    assert stage_key({"lr": 1}, [file]) != key


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_state(tmp_path: Path) -> None:
    model = network()
    handle = model.register_forward_hook(lambda m, i, out: out * (float("nan") if calls() > 6 else 1.0))
    count = iter(range(1, 100))

    def calls() -> int:
        return next(count)

    with pytest.raises(
        ValueError, match=r"tested: the loss is nan at step 6 \(epoch 1\), learning rate 0.001"
    ):
        train(tmp_path, model=model)
    handle.remove()
    kept, metadata = load_snapshot(tmp_path / "state.safetensors")
    assert metadata["step"] == "6"
    assert all(bool(torch.isfinite(v).all()) for v in kept.weights.values())
    assert_same(train(tmp_path).snapshot, train(tmp_path / "undisturbed").snapshot)


def test_where_losses_are_read_late_the_first_bad_step_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(STEPS_BETWEEN_READINGS, "cpu", 50)
    model = network()
    steps = iter(range(100))
    model.register_forward_hook(lambda m, i, out: out * (float("inf") if next(steps) >= 5 else 1.0))
    with pytest.raises(ValueError, match=r"tested: the loss is inf at step 5 \(epoch 1\)"):
        train(tmp_path, model=model)
    assert not (tmp_path / "state.safetensors").exists()


def test_weights_that_are_not_finite_are_neither_saved_nor_delivered(tmp_path: Path) -> None:
    """The last step's gradient is infinite, though its loss is finite."""
    model = network()
    steps = iter(range(100))
    weight = model.head_conv[0].weight
    weight.register_hook(lambda gradient: gradient * (float("inf") if next(steps) == 11 else 1.0))
    with pytest.raises(ValueError, match="tested: the weights are no longer finite at step 11"):
        train(tmp_path, model=model)
    assert not (tmp_path / "state.safetensors").exists()


def test_a_second_process_waits_for_the_first(tmp_path: Path) -> None:
    code = textwrap.dedent(f"""
        import time
        from bspa.training.checkpoint import open_progress
        with open_progress({str(tmp_path / "state")!r}, "key"):
            print("locked", flush=True)
            time.sleep(2)
            print(time.time(), flush=True)
    """)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        with open_progress(tmp_path / "state", "key"):
            entered = time.time()
        assert entered >= float(holder.stdout.readline())


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    code = textwrap.dedent(f"""
        import os
        from bspa.training.checkpoint import open_progress
        with open_progress({str(tmp_path / "state")!r}, "key"):
            os.kill(os.getpid(), 9)
    """)
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    with open_progress(tmp_path / "state", "key") as progress:
        progress.remove()
    assert not (tmp_path / "state").exists()


def test_equal_snapshots_are_equal_files(tmp_path: Path) -> None:
    end = train(tmp_path / "state")
    save_snapshot(tmp_path / "a.safetensors", end.snapshot, {"key": "k", "b": "1"})
    save_snapshot(tmp_path / "b.safetensors", end.snapshot, {"b": "1", "key": "k"})
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    loaded, metadata = load_snapshot(tmp_path / "a.safetensors")
    assert_same(loaded, end.snapshot)
    assert metadata["key"] == "k"


@pytest.mark.parametrize("name", ["gpu", "cpu:1", "cuda:x"])
def test_an_unknown_device_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="allowed are auto, cpu, cuda and cuda:N"):
        choose_device(name)


@pytest.mark.parametrize("computes_bfloat16", [True, False])
@pytest.mark.parametrize(("arch", "reduced"), [("fsrcnn", False), ("edsr", True), ("", True)])
def test_networks_that_lose_by_bfloat16_are_trained_in_it_only_if_asked(
    monkeypatch: pytest.MonkeyPatch, arch: str, reduced: bool, computes_bfloat16: bool
) -> None:
    monkeypatch.setattr("bspa.system.devices._computes_bfloat16", lambda device: computes_bfloat16)
    cpu = torch.device("cpu")
    expected = "bfloat16" if reduced and computes_bfloat16 else "float32"
    assert choose_precision("auto", cpu, arch=arch).name == expected
    assert choose_precision("bfloat16", cpu, arch=arch).name == "bfloat16"


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ValueError, match="allowed are auto, float32, bfloat16"):
        choose_precision("half", torch.device("cpu"))
