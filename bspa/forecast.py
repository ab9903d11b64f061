"""The time that the runs of a config take, estimated from steps that are measured on the device at hand."""

from __future__ import annotations

import json
import logging
import math
import statistics
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from tabulate import tabulate
from torch import Tensor

from bspa.models.layers import place_model
from bspa.models.precision import choose_precision
from bspa.system.cuda_graphs import capture
from bspa.system.progress import duration
from bspa.training.adam import Adam
from bspa.training.masks import FrozenWeights
from bspa.training.registry import LOSSES, OBJECTIVES
from bspa.training.stage import Attribution, Schedule, Stage
from bspa.training.step import MovingAverage, TrainingStep
from bspa.training.task import Task, build_seeded, pixel_objective
from bspa.training.uncertainty import WeightedByUncertainty, build_uncertainty

log = logging.getLogger("bspa")

SECONDS_IN_ALL = 20.0
"""About how long all measurements together take."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A stage or an attribution of a run."""

    model: str
    scale: int
    method: str
    seed: int
    shown_in: Sequence[str]
    """Tables and figures that need it."""
    work: Stage | Attribution
    made: bool
    matched: str | None = None
    """The method whose device seconds the run takes; it goes on in its last stage."""

    def is_of(self, method: str | None, run: Job) -> bool:
        """Tell whether this is a job of the run of a method that is otherwise like ``run``."""
        like = (run.model, run.scale, method, run.seed)
        return (self.model, self.scale, self.method, self.seed) == like

    def steps(self, images: int | None) -> int:
        """Count optimiser steps, or gradients of an attribution; without ``images``, epochs of a stage."""
        if isinstance(self.work, Attribution):
            return self.work.gradient_count(images or 0)
        return self.work.epochs if images is None else Schedule(stage=self.work, images=images).steps


def step_kind(work: Stage | Attribution) -> Hashable:
    """Return what the time of a step depends on."""
    more = (work.ema is None, work.precision) if isinstance(work, Stage) else ()
    options = json.dumps(work.options, sort_keys=True)
    return (type(work), work.arch, work.scale, options, work.objective, work.patch, work.batch, *more)


def measure_steps(jobs: Sequence[Job], device: torch.device) -> dict[Hashable, float]:
    """Measure the seconds of a step of each kind that is left to do, or is to be matched, by `step_kind`."""
    needed = [job for job in jobs if not job.made]
    for last in [job for job in needed if job.matched]:
        needed += [job for job in jobs if job.is_of(last.method, last) or job.is_of(last.matched, last)]
    kinds = {step_kind(job.work): job.work for job in needed}
    limit = min(1.0, SECONDS_IN_ALL / max(1, len(kinds)))
    return {kind: measure_step(work, device, limit=limit) for kind, work in kinds.items()}


def measure_step(work: Stage | Attribution, device: torch.device, *, limit: float) -> float:
    """Measure the seconds of a step on noise, in about ``limit`` seconds, or as long as one sample takes.

    The batch is one sample at first and grows while its steps are short. If it stays smaller than that of
    ``work``, the time is taken in proportion.
    """
    deadline = time.perf_counter() + limit
    samples, larger, times = 0, 1, [0.0]
    while larger > samples:
        try:
            step = prepare_step(work, larger, device)
            _clock(step, device)
            times = [_clock(step, device)]
        except torch.OutOfMemoryError:
            if not samples:
                raise
            log.warning("%s x%d: a batch of %d does not fit the memory", work.arch, work.scale, larger)
            return times[0] * work.batch / samples
        samples = larger
        affordable = int(samples * (deadline - time.perf_counter()) / (3 * times[0]))
        if affordable >= min(2 * samples, work.batch):
            larger = min(affordable, work.batch)
    while len(times) < 5 and time.perf_counter() + times[0] < deadline:
        times.append(_clock(step, device))
    return statistics.median(times) * work.batch / samples


def add_matched_steps(jobs: Sequence[Job], images: int, seconds: Mapping[Hashable, float]) -> list[Job]:
    """Lengthen last stages that are left to do until their run takes the time of the run that it matches."""

    def needed(method: str, run: Job) -> float:
        of_run = [job for job in jobs if job.is_of(method, run)]
        return sum(job.steps(images) * seconds[step_kind(job.work)] for job in of_run)

    longer = []
    for job in jobs:
        if job.matched and not job.made and isinstance(job.work, Stage):
            spare = max(0.0, needed(job.matched, job) - needed(job.method, job))
            steps = job.work.extra_steps + math.ceil(spare / seconds[step_kind(job.work)])
            job = replace(job, work=replace(job.work, extra_steps=steps))
        longer.append(job)
    return longer


def _clock(step: Callable[[], object], device: torch.device) -> float:
    started = time.perf_counter()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def prepare_step(work: Stage | Attribution, samples: int, device: torch.device) -> Callable[[], object]:
    """Return a function that takes a step of ``work`` on noise, as its job does; the learning rate is 0."""
    task = prepare_task(work, device)
    model = place_model(task.model, device).train()
    precision, ema = (work.precision, work.ema) if isinstance(work, Stage) else ("float32", None)
    step = TrainingStep(
        model=model,
        objective=task.objective,
        feed=NoiseFeed(work.patch, work.scale, samples, device),
        precision=choose_precision(precision, device, arch=work.arch),
        adam=Adam(model, betas=(0.9, 0.999), epsilon=1e-8),
        frozen=FrozenWeights(model, {}),
        average=None if ema is None else MovingAverage(model, ema, {}),
    )
    once = step if isinstance(work, Stage) else step.compute_gradients
    if device.type == "cpu":
        return once
    return capture(once, warm_up=step.compute_gradients, device=device)


def prepare_task(work: Stage | Attribution, device: torch.device) -> Task:
    """Prepare what ``work`` computes from the weights of its seed."""
    if isinstance(work, Stage) and work.objective != "weighted":
        return OBJECTIVES[work.objective](work, None, device)
    model = build_seeded(work.arch, work.scale, work.options, work.seed)
    if isinstance(work, Attribution):
        return Task(model=model, objective=pixel_objective(LOSSES[work.objective]), initial=None)
    # UDN's second step, without the snapshot of the first.
    estimator = place_model(build_uncertainty(work), device)
    return Task(model=model, objective=WeightedByUncertainty(estimator), initial=None)


class NoiseFeed:
    """One batch of noise, see `bspa.sampling.feeds.Feed`."""

    def __init__(self, patch: int, scale: int, samples: int, device: torch.device):
        self.samples = samples
        lr, hr = (torch.rand(samples, 3, side, side, device=device) for side in (patch // scale, patch))
        layout = torch.channels_last
        self._batch = lr.contiguous(memory_format=layout), hr.contiguous(memory_format=layout)

    def load(self, iteration: int) -> None:
        """Keep the batch."""

    def batch(self) -> tuple[Tensor, Tensor]:
        """Return it."""
        return self._batch


def runs_table(jobs: Iterable[Job], images: int | None, seconds: Mapping[Hashable, float]) -> str:
    """Lay out what the runs of each network, scale and method take.

    Args:
        jobs: of all runs.
        images: number of training images; if None, epochs stand for steps and there are no times.
        seconds: of a step, by `step_kind`.
    """
    groups: dict[tuple[str, str, str], list[Job]] = {}
    for job in jobs:
        groups.setdefault((job.model, f"x{job.scale}", job.method), []).append(job)
    counted = "epochs" if images is None else "steps"
    head = ["network", "scale", "method", "seeds", "gradients", counted, "made"]
    rows = []
    for names, group in groups.items():
        stages = [job for job in group if isinstance(job.work, Stage)]
        steps = sum(job.steps(images) for job in stages)
        made = sum(job.steps(images) for job in stages if job.made)
        gradients = sum(job.steps(images) for job in group) - steps
        counts = len({job.seed for job in group}), gradients, steps, made
        row = [*names, *(f"{count:,}" for count in counts)]
        if images is not None:
            left = _seconds_left(stages, images, seconds)
            per_step = f"{1000 * left / (steps - made):,.1f}" if left else ""
            row += [per_step, _time_left(group, images, seconds)]
        rows.append(row)
    return _table(head if images is None else [*head, "ms/step", "time left"], rows, texts=3)


def shown_table(jobs: Sequence[Job], images: int, seconds: Mapping[Hashable, float]) -> str:
    """Lay out the time left for each table and figure, and for all runs; see `runs_table`."""
    rows = []
    for name in dict.fromkeys(name for job in jobs for name in job.shown_in):
        needed = [job for job in jobs if name in job.shown_in]
        # Inverse sampling needs classes, and these the reference.
        scales = {job.scale for job in needed if getattr(job.work, "sampling", None) == "inverse"}
        needed += [job for job in jobs if job.method == "reference" and job.scale in scales]
        rows.append([name, _time_left(needed, images, seconds)])
    return _table(["for", "time left"], [*rows, ["all", _time_left(jobs, images, seconds)]], texts=1)


def _seconds_left(jobs: Iterable[Job], images: int, seconds: Mapping[Hashable, float]) -> float:
    return sum(job.steps(images) * seconds[step_kind(job.work)] for job in jobs if not job.made)


def _time_left(jobs: Iterable[Job], images: int, seconds: Mapping[Hashable, float]) -> str:
    return duration(_seconds_left(jobs, images, seconds))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, texts: int) -> str:
    sides = ["left"] * texts + ["right"] * (len(head) - texts)
    return tabulate(rows, head, tablefmt="simple", colalign=sides, disable_numparse=True)
