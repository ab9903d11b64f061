"""One training stage: from a snapshot to the next, on one sampler (Section 4.1)."""

from __future__ import annotations

import logging
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

import torch
from torch import Tensor, nn

from bspa.sampling.feeds import open_feed
from bspa.sampling.sampler import Sampler
from bspa.system.devices import Precision
from bspa.training.checkpoint import Progress, ProgressFolder
from bspa.training.compiling import compile_network
from bspa.training.journal import Journal
from bspa.training.losses import Objective
from bspa.training.old_stage import Stage, steps_per_epoch
from bspa.training.optimiser import make_optimiser, set_learning_rate
from bspa.training.snapshot import Snapshot, restore_snapshot, start_moments, take_snapshot
from bspa.training.step import EagerStep, FrozenWeights, MovingAverage, Step, record_step

__all__ = ["FrozenWeights", "MovingAverage", "Stage", "make_optimiser", "steps_per_epoch", "train_stage"]

log = logging.getLogger("bspa")

# The loss is read from a GPU only every so many steps: each reading waits for the queue to drain.
STEPS_BETWEEN_READINGS = {"cpu": 1, "cuda": 50}


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
    compiled: bool = False,
    recorded: bool = True,
    resident: float = 0.5,
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
        compiled: whether the network runs through `torch.compile`.
        recorded: whether a GPU replays the step as one recorded graph.
        resident: share of a GPU's free memory that the training images may take, see `bspa.sampling.feeds`.

    Raises:
        ValueError: the loss or a weight is not finite (naming stage, step and learning rate; the partial
            state from before is kept), or a snapshot or mask is of another network.
        SystemExit: SIGTERM or SIGINT came; the partial state is saved.
    """
    model = model.to(device).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    recorded = recorded and device.type == "cuda"
    torch.backends.cudnn.benchmark = True  # every batch is of one shape
    optimiser = make_optimiser(model, stage, capturable=recorded)
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
    with stop_signals() as stopped, open_feed(sampler, device, resident=resident) as feed:
        eager = EagerStep(
            compile_network(model) if compiled else model,
            objective=objective,
            feed=feed,
            precision=precision,
            optimiser=optimiser,
            hold=hold,
            average=average,
        )
        take: Step = eager
        journal.start(step)
        if recorded and step < stage.steps:
            start_moments(model, optimiser)
            feed.load(before + step)
            take = record_step(eager, device)
        while step < stage.steps:
            set_learning_rate(optimiser, stage.learning_rate_at(step))
            feed.load(before + step)
            losses.append(take.gradients())
            due = len(losses) == readings or step + 1 == stage.steps
            epoch_ends = (step + 1) % stage.steps_per_epoch == 0
            if due or epoch_ends:
                values = torch.stack(losses).tolist()
                losses.clear()
                for number, value in enumerate(values, start=step + 1 - len(values)):
                    if not math.isfinite(value):
                        if readings == 1 and _is_finite(last := state()):
                            progress.save(last)  # the bad step was not taken
                        raise _diverged(stage, number, f"the loss is {value}", progress)
                journal.add(values, batch=feed.samples)
            take.update()
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
