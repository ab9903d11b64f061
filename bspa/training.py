"""One training stage: from a snapshot to the next, on one sampler.

Section 4.1 (Adam, step decay) and the freezing of Section 3.3. Shape legend: n samples, h and w pixels.
"""

from __future__ import annotations

import logging
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from bspa.devices import Precision
from bspa.losses import Objective
from bspa.progress import Progress, ProgressFolder
from bspa.snapshots import Snapshot, restore_snapshot, take_snapshot

log = logging.getLogger("bspa")

Array = np.ndarray
PROGRESS_SECONDS = 10.0
# The loss is read from a GPU only every so many steps: each reading waits for the queue to drain.
STEPS_BETWEEN_READINGS = {"cpu": 1, "cuda": 50}


class Sampler(Protocol):
    """What a stage trains on; see `bspa.sampling`."""

    def batch(self, iteration: int) -> tuple[Array, Array]:
        """Return LR (n, h, w, 3) and HR (n, sh, sw, 3) uint8, the same for the same ``iteration``."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """What a stage does, counted in epochs of the run it belongs to."""

    name: str
    """For messages."""
    first_epoch: int
    """Epochs that the run has counted before this stage; the learning rate follows this count."""
    epochs: int
    """Length of this stage."""
    counts: bool
    """Whether the stage's own epochs count; if not, they all pass within the last epoch that did."""
    total_epochs: int
    """T; a run that is made longer, to match another's steps, keeps the learning rate of its last epoch."""
    steps_per_epoch: int
    learning_rate: float
    halve_every: int
    """Epochs after which the learning rate is halved, again and again."""
    betas: tuple[float, float]
    epsilon: float
    ema: float | None = None
    """Decay of the moving average of the weights; None: none is kept."""

    @property
    def steps(self) -> int:
        """Optimiser steps of this stage."""
        return self.epochs * self.steps_per_epoch

    def epoch(self, step: int) -> int:
        """Number of the run's epoch that ``step`` of this stage is in, from 0."""
        return self.first_epoch + (step // self.steps_per_epoch if self.counts else -1)

    def learning_rate_at(self, step: int) -> float:
        """Learning rate of ``step`` of this stage."""
        return self.learning_rate * 0.5 ** (min(self.epoch(step), self.total_epochs - 1) // self.halve_every)


def steps_per_epoch(images: int, repeat: int, batch: int) -> int:
    """Iterations of one epoch: 50 for DIV2K's 800 images, repeat 1, batch 16 (DESIGN: 20,000 in 400 epochs).

    >>> steps_per_epoch(800, 1, 16)
    50
    """
    return math.ceil(images * repeat / batch)


class FrozenWeights:
    """Keeps the masked weights of a model bit-identical through any number of optimiser steps.

    Zero gradients alone do not: Adam's momentum goes on moving a weight. So the gradients are zeroed, which
    lets the moments fade, and after each step the masked weights get their values back.
    """

    def __init__(self, model: nn.Module, masks: Mapping[str, Tensor]):
        parameters = dict(model.named_parameters())
        self._frozen: list[tuple[nn.Parameter, Tensor, Tensor]] = []
        for name, mask in masks.items():
            if name not in parameters or mask.shape != parameters[name].shape:
                raise ValueError(f"the mask is of another network: {name} {tuple(mask.shape)} does not fit")
            if mask.any():
                parameter = parameters[name]
                mask = torch.empty_like(parameter, dtype=torch.bool).copy_(mask)
                self._frozen.append((parameter, mask, parameter.detach().clone()))

    def before_step(self) -> None:
        """Zero the gradients of the frozen weights."""
        for parameter, mask, _ in self._frozen:
            if parameter.grad is not None:
                parameter.grad.masked_fill_(mask, 0.0)

    @torch.no_grad()
    def after_step(self) -> None:
        """Give the frozen weights their values back."""
        for parameter, mask, values in self._frozen:
            parameter.copy_(torch.where(mask, values, parameter))


class MovingAverage:
    """Exponential moving average of a model's trainable weights: a = decay * a + (1 - decay) * weight."""

    def __init__(self, model: nn.Module, decay: float, start: Mapping[str, Tensor]):
        """Go on from ``start``, the average by parameter name; from the weights themselves if it is empty."""
        trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
        if start and start.keys() != trainable.keys():
            raise ValueError("the averaged weights are of another network")
        self.values = {name: parameter.detach().clone() for name, parameter in trainable.items()}
        for name, value in start.items():
            self.values[name].copy_(value)
        self._pairs = list(self.values.values()), [p.detach() for p in trainable.values()]
        self._update = get_ema_multi_avg_fn(decay)

    def after_step(self) -> None:
        """Take in the weights as they are now."""
        self._update(*self._pairs, None)


def to_device(images: Array, device: torch.device) -> Tensor:
    """Turn (n, h, w, 3) uint8 into float32 (n, 3, h, w) in [0, 1], channels last in memory."""
    pixels = torch.from_numpy(images)
    if device.type == "cuda":
        pixels = pixels.pin_memory().to(device, non_blocking=True)
    return pixels.permute(0, 3, 1, 2).to(torch.float32).div_(255.0)


def make_optimiser(model: nn.Module, stage: Stage) -> torch.optim.Adam:
    """Adam over the trainable parameters, as one fused kernel."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.Adam(
        trainable, lr=stage.learning_rate, betas=stage.betas, eps=stage.epsilon, fused=True
    )


def train_stage(
    model: nn.Module,
    sampler: Sampler,
    stage: Stage,
    *,
    objective: Objective,
    initial: Snapshot | None,
    initial_path: str = "",
    frozen: Mapping[str, Tensor] | None = None,
    precision: Precision,
    device: torch.device,
    progress: ProgressFolder,
    save_every_seconds: float = 60.0,
) -> Progress:
    """Train ``model`` through ``stage`` and return its end state and log.

    Args:
        model: the freshly initialised network; overwritten by ``initial``, or by the partial state.
        sampler: gives the batch of each step, numbered over the whole run.
        stage: see `Stage`.
        objective: what is minimised.
        initial: the snapshot to go on from (weights, Adam's moments, average), or None at the start of a run.
        initial_path: the file it came from, for messages.
        frozen: parameter name -> bool mask; masked weights do not change by a single bit.
        precision: arithmetic of the convolutions.
        device: where to compute.
        progress: the stage's partial state; an earlier attempt is continued and ends exactly as if it had
            never been interrupted (on a CPU, with the same number of threads, bit for bit).
        save_every_seconds: how often the partial state is saved; SIGTERM and SIGINT save it at once.

    Raises:
        ValueError: the loss or a weight is not finite (naming stage, step and learning rate; the partial
            state from before is kept), or a snapshot or mask is of another network.
        SystemExit: SIGTERM or SIGINT came; the partial state is saved.
    """
    model = model.to(device).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimiser = make_optimiser(model, stage)
    before = initial.optimiser_steps if initial else 0
    if initial:
        restore_snapshot(initial, model, optimiser, path=initial_path)
    # Values to hold are those the stage began with, so the masks are applied before partial state comes in.
    hold = FrozenWeights(model, frozen or {})
    done = progress.load()
    if done:
        restore_snapshot(done.snapshot, model, optimiser, path=str(progress.folder))
        log.info("%s: continuing at step %d of %d", stage.name, done.step, stage.steps)
    else:
        log.info("%s: %d steps, learning rate %g", stage.name, stage.steps, stage.learning_rate_at(0))
    average = None
    if stage.ema is not None:
        latest = done.snapshot if done else initial
        average = MovingAverage(model, stage.ema, latest.average if latest else {})
    step = done.step if done else 0
    journal = Journal(stage, done)
    readings = STEPS_BETWEEN_READINGS[device.type]

    def state() -> Progress:
        return Progress(
            snapshot=take_snapshot(model, optimiser, before + step, average.values if average else {}),
            step=step,
            device_seconds=journal.device_seconds,
            rows=list(journal.rows),
            losses=list(journal.losses),
        )

    def good_state() -> Progress:
        """A finite loss can have an infinite gradient: what that leaves is neither saved nor delivered."""
        reached = state()
        if not _is_finite(reached):
            raise _diverged(stage, step - 1, "the weights are no longer finite", progress)
        return reached

    losses: list[Tensor] = []
    saved = time.monotonic()
    with stop_signals() as stopped:
        journal.start(step)
        while step < stage.steps:
            for group in optimiser.param_groups:
                group["lr"] = stage.learning_rate_at(step)
            lr, hr = (to_device(images, device) for images in sampler.batch(before + step))
            loss = objective(model, lr, hr, precision)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            losses.append(loss.detach())
            due = len(losses) == readings or step + 1 == stage.steps
            epoch_ends = (step + 1) % stage.steps_per_epoch == 0
            if due or epoch_ends:
                values = torch.stack(losses).tolist()
                losses.clear()
                for back, value in enumerate(reversed(values)):
                    if not math.isfinite(value):
                        if readings == 1 and _is_finite(last := state()):
                            progress.save(last)  # the bad step was not taken
                        raise _diverged(stage, step - back, f"the loss is {value}", progress)
                journal.add(values, batch=len(hr))
            hold.before_step()
            optimiser.step()
            hold.after_step()
            if average:
                average.after_step()
            step += 1
            if epoch_ends or step == stage.steps:
                journal.close_row(step)
            journal.report(step)
            # Partial states stand at readings, so that none holds a step whose loss was not looked at.
            if not losses and (stopped() or time.monotonic() - saved > save_every_seconds):
                journal.pause()
                progress.save(good_state())
                if stopped():
                    log.warning("%s: stopped at step %d of %d, state saved", stage.name, step, stage.steps)
                    raise SystemExit(128 + stopped())
                saved = time.monotonic()
                journal.start(step)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        journal.pause()
    return good_state()


def _is_finite(progress: Progress) -> bool:
    return all(bool(torch.isfinite(value).all()) for value in progress.snapshot.weights.values())


def _diverged(stage: Stage, step: int, what: str, progress: ProgressFolder) -> ValueError:
    kept = progress.folder / "state.safetensors"
    where = f"the last good state is {kept}" if kept.exists() else "no state was saved yet"
    return ValueError(
        f"{stage.name}: {what} at step {step} (epoch {stage.epoch(step)}), "
        f"learning rate {stage.learning_rate_at(step):g}; {where}. "
        "Lower training.learning_rate, or set compute.precision: float32"
    )


class Journal:
    """The stage's log: one row an epoch for the CSV file, a line every few seconds for people.

    ``device_seconds`` counts the time in the training loop only, without loading, saving and start-up.
    """

    def __init__(self, stage: Stage, done: Progress | None):
        self.rows = list(done.rows) if done else []
        self.losses = list(done.losses) if done else []
        self.device_seconds = done.device_seconds if done else 0.0
        self._stage = stage
        self._samples = 0
        self._row_seconds = 0.0
        self._started: float | None = None
        self._reported = (time.monotonic(), 0)

    def start(self, step: int) -> None:
        """Let the clock run."""
        self._started = time.monotonic()
        self._reported = (self._started, step)

    def pause(self) -> None:
        """Stop the clock."""
        self._tick()
        self._started = None

    def add(self, losses: list[float], *, batch: int) -> None:
        """Note the losses of some steps."""
        self.losses += losses
        self._samples += batch * len(losses)

    def close_row(self, step: int) -> None:
        """End an epoch: its mean loss becomes a row."""
        self._tick()
        self.rows.append(
            {
                "step": step,
                "epoch": self._stage.epoch(step - 1) + 1,
                "loss": float(np.mean(self.losses)),
                "learning_rate": self._stage.learning_rate_at(step - 1),
                "samples_per_second": round(self._samples / max(self._row_seconds, 1e-9), 2),
                "device_seconds": round(self.device_seconds, 3),
            }
        )
        self.losses, self._samples, self._row_seconds = [], 0, 0.0

    def report(self, step: int) -> None:
        """Print rate and time left, if it is time."""
        since, first = self._reported
        now = time.monotonic()
        if now - since < PROGRESS_SECONDS or not self.rows:
            return
        rate = (step - first) / (now - since)
        left = (self._stage.steps - step) / rate
        log.info(
            "%s: step %d/%d, loss %.4f, %.1f steps/s, %d:%02d min left",
            self._stage.name, step, self._stage.steps, self.rows[-1]["loss"], rate, left // 60, left % 60,
        )  # fmt: skip
        self._reported = (now, step)

    def _tick(self) -> None:
        now = time.monotonic()
        if self._started is not None:
            self.device_seconds += now - self._started
            self._row_seconds += now - self._started
            self._started = now


@contextmanager
def stop_signals() -> Iterator[Callable[[], int]]:
    """Note SIGTERM and SIGINT instead of dying of them; gives a function that returns the signal, or 0."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        del frame
        received.append(number)

    previous = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: received[0] if received else 0
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
