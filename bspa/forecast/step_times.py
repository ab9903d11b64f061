"""How long a step takes: of training, of an attribution, of scoring sub-images. Measured here and now."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from bspa.data.packed import PackedImages
from bspa.models.precision import Precision, choose_precision
from bspa.models.registry import build
from bspa.sampling.feeds import HostFeed, ResidentFeed, to_device
from bspa.sampling.patches import Pixels
from bspa.sampling.uniform import UniformSampler
from bspa.training.adam import Adam
from bspa.training.attribution import integrated_gradients
from bspa.training.losses import LOSSES, l1_objective
from bspa.training.masks import FrozenWeights
from bspa.training.step import MovingAverage, Step, TrainingStep, record_step
from bspa.training.task import Objective
from bspa.training.uncertainty import UncertaintyNetwork, WeightedByUncertainty, estimate_uncertainty

REPETITIONS = 5

Steps = Callable[[int], None]
"""Takes so many steps."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """A kind of step; equal ones take the same time."""

    task: str
    """``training``, ``attribution`` or ``scoring``."""
    arch: str
    options: tuple[tuple[str, int | float], ...]
    scale: int
    patch: int
    """HR pixels."""
    batch: int
    loss: str = ""
    """Empty for scoring."""
    ema: bool = False
    """Whether training keeps a moving average of the weights."""
    precision: str = "float32"
    """Of scoring."""
    model: str = field(compare=False)
    """For people: two names of one network are one kind of step."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepTime:
    """How long a step takes."""

    seconds: float
    """For the whole batch."""
    batch: int
    """Samples that were measured; where they are fewer than the batch, ``seconds`` is in proportion."""
    fits: bool = True
    """False where the whole batch does not fit the memory of the device."""


def measure_step(work: Work, *, device: torch.device, precision: Precision, seconds: float = 5.0) -> StepTime:
    """Measure a step on ``device`` as the jobs take it, from drawing the batch to the optimiser.

    The network is new and the photographs are noise. The batch grows from one sample on for as long as the
    steps are short and fit the memory.

    Args:
        work: the kind of step.
        device: where to compute.
        precision: of training; attribution is in float32, and scoring in its own precision.
        seconds: about how long to measure; one sample is measured however long it takes.
    """
    batch, fits = 1, True
    step = _median_seconds(_steps(work, 1, device, precision), device, seconds / 5)
    while batch < work.batch:
        # A warm-up and three repetitions are to pass in the time.
        larger = min(work.batch, int(batch * seconds / 4 / step))
        if larger < min(2 * batch, work.batch):
            break
        try:
            step = _median_seconds(_steps(work, larger, device, precision), device, seconds)
        except torch.OutOfMemoryError:
            fits = False
            break
        batch = larger
    return StepTime(seconds=step * work.batch / batch, batch=batch, fits=fits)


def _median_seconds(steps: Steps, device: torch.device, limit: float) -> float:
    """Time a step: after a warm-up, the median of what repetitions fit into ``limit`` seconds, or one."""
    started = time.perf_counter()
    _clock(steps, 1, device)
    times: list[float] = []
    number = 1
    while not times or (len(times) < REPETITIONS and time.perf_counter() - started < limit):
        times.append(_clock(steps, number, device))
        number = max(1, int(limit / (2 * REPETITIONS) / times[-1]))
    return statistics.median(times)


def _clock(steps: Steps, number: int, device: torch.device) -> float:
    """Seconds of one of ``number`` steps."""
    started = time.perf_counter()
    steps(number)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.perf_counter() - started) / number


def _steps(work: Work, batch: int, device: torch.device, precision: Precision) -> Steps:
    noise = cast(PackedImages, Noise(work.scale, 2 * work.patch))
    sampler = UniformSampler(noise, patch=work.patch, batch=batch, seed=0)
    with torch.random.fork_rng(devices=[]):
        if work.task == "training":
            return _training(work, sampler, device, precision)
        model = build(work.arch, work.scale, **dict(work.options)).to(device)
    if work.task == "attribution":
        return _attribution(model, sampler, work.loss, device)
    return _scoring(model, sampler, device, work.precision)


def _draw(sampler: UniformSampler, iteration: int, device: torch.device) -> tuple[Tensor, Tensor]:
    lr, hr = sampler.batch(iteration)
    return to_device(lr, device), to_device(hr, device)


def _training(work: Work, sampler: UniformSampler, device: torch.device, precision: Precision) -> Steps:
    model, objective = _task(work, device)
    model = model.to(device).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    recorded = device.type == "cuda"
    adam = Adam(model, betas=(0.9, 0.999), epsilon=1e-8)
    adam.set_learning_rate(1e-4)
    feed = ResidentFeed(sampler, device) if recorded else HostFeed(sampler)
    step = TrainingStep(
        model=model,
        objective=objective,
        feed=feed,
        precision=precision,
        adam=adam,
        frozen=FrozenWeights(model, {}),
        average=MovingAverage(model, 0.999, {}) if work.ema else None,
        check_loss=not recorded,
    )
    feed.load(0)
    take_step: Step = record_step(step, device) if recorded else step

    def train(number: int) -> None:
        for iteration in range(number):
            feed.load(iteration)
            take_step()

    return train


def _task(work: Work, device: torch.device) -> tuple[nn.Module, Objective]:
    """What a stage with this loss trains and minimises; see `bspa.training.job` and `bspa.training.uncertainty`."""
    network, estimator = (build(work.arch, work.scale, **dict(work.options)) for _ in range(2))
    if work.loss == "uncertainty":
        return UncertaintyNetwork(network), estimate_uncertainty
    if work.loss == "weighted":
        frozen = UncertaintyNetwork(estimator).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return network, WeightedByUncertainty(frozen)
    return network, l1_objective


def _attribution(model: nn.Module, sampler: UniformSampler, loss: str, device: torch.device) -> Steps:
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    batches = [_draw(sampler, 0, device)]

    def attribute(number: int) -> None:
        integrated_gradients(model, weights, weights, batches, LOSSES[loss], steps=number)

    return attribute


def _scoring(model: nn.Module, sampler: UniformSampler, device: torch.device, precision: str) -> Steps:
    model = model.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    autocast = choose_precision(precision, device).autocast

    @torch.inference_mode()
    def score(number: int) -> None:
        for iteration in range(number):
            lr, hr = _draw(sampler, iteration, device)
            with torch.backends.cudnn.flags(enabled=True, benchmark=True, deterministic=True), autocast():
                sr = model(lr)
            (sr.float().clamp_(0, 1) - hr).square_().mean(dim=(1, 2, 3))

    return score


class Noise:
    """A few square photographs of noise, with what a sampler asks of packed images."""

    def __init__(self, scale: int, side: int, number: int = 8):
        random = np.random.default_rng(0)
        self.scale = scale
        self.ids = ["noise"] * number
        self._lr, self._hr = (
            random.integers(0, 256, (number, s, s, 3), np.uint8) for s in (side // scale, side)
        )

    def __len__(self) -> int:
        return len(self.ids)

    def hr(self, index: int) -> Pixels:
        """Return an HR photograph, (side, side, 3)."""
        return self._hr[index]

    def lr(self, index: int) -> Pixels:
        """Return an LR photograph; not the HR one made small, which makes no difference to the time."""
        return self._lr[index]


def describe_device(device: torch.device) -> str:
    """Name the hardware: the GPU, or the processor and how many threads compute on it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    threads = torch.get_num_threads()
    return f"{name}, {threads} thread{'s' if threads > 1 else ''}"
