"""The training loop of a stage: load a batch, step, log, save (Section 4.1)."""

from __future__ import annotations

import logging
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from bspa.models.layers import place_model
from bspa.models.precision import Precision
from bspa.models.weights import load_into
from bspa.sampling.feeds import open_feed
from bspa.sampling.sampler import Sampler
from bspa.system.cuda_graphs import capture_or_run
from bspa.system.devices import device_clock
from bspa.system.progress import Progress
from bspa.training.adam import Adam
from bspa.training.checkpoint import Checkpoint, CheckpointFolder
from bspa.training.journal import Journal
from bspa.training.masks import FrozenWeights
from bspa.training.ranks import ALONE, Ranks
from bspa.training.snapshot import take_snapshot
from bspa.training.stage import Schedule
from bspa.training.step import MovingAverage, TrainingStep
from bspa.training.task import Task, Validate

log = logging.getLogger("bspa")

STEPS_BETWEEN_READS = {"cpu": 1, "cuda": 50}
"""Steps between two reads of the losses: each read waits until a GPU has finished its queue."""

RESIDENT_SHARE = 0.5
"""Share of a GPU's free memory that the training images may take."""


def train_stage(
    task: Task,
    sampler: Sampler,
    schedule: Schedule,
    *,
    masks: Mapping[str, Tensor],
    precision: Precision,
    device: torch.device,
    checkpoints: CheckpointFolder,
    save_every_seconds: float,
    validation: Validate | None = None,
    least_seconds: float = 0.0,
    ranks: Ranks = ALONE,
) -> Checkpoint:
    """Train the network of ``task`` through a stage and return its end.

    A stage that was stopped continues from its checkpoint and ends as if it had never been stopped: on a CPU
    with the same number of threads, bit for bit.

    Args:
        task: network, objective and initial state.
        sampler: gives the batch of each step, numbered over the whole run.
        schedule: the steps of the stage.
        masks: parameter name -> bool tensor; masked weights stay bit-identical.
        precision, device: of the computation.
        checkpoints: where the stage is saved, and where an earlier attempt left it.
        save_every_seconds: time between two checkpoints.
        validation: measures a point of the validation curve; None: no curve.
        least_seconds: device seconds to train at least; the stage goes on, epoch by epoch.
        ranks: the processes that do so together, each with its part of a batch; rank 0 saves and validates.

    Raises:
        ValueError: a loss or a weight is not finite; the last good checkpoint is kept.
        SystemExit: SIGTERM or SIGINT came; a checkpoint is saved.
    """
    torch.backends.cudnn.benchmark = True  # every batch has one shape
    ranks.check(task.model)
    with ranks.first_rank_first():  # which may remove the state of other settings
        state = StageState(task, schedule, masks, device, checkpoints, ranks)
    finished: int = state.is_finished(least_seconds)
    progress = Progress("steps", schedule.steps, start=state.step)
    unread: list[Tensor] = []
    sampler = ranks.share(sampler, schedule.stage.batch)
    with catch_signals() as caught, open_feed(sampler, device, resident=RESIDENT_SHARE) as feed:
        step = TrainingStep(
            model=state.model, objective=task.objective, feed=feed, precision=precision, adam=state.adam,
            frozen=state.frozen, average=state.average, ranks=ranks,
        )  # fmt: skip
        state.journal.start_clock()
        take_step: Callable[[], Tensor] = step
        if device.type == "cuda" and ranks.count == 1 and not finished:
            feed.load(state.steps_of_run)
            take_step = capture_or_run(step, warm_up=step.compute_gradients, device=device)
        saved = time.monotonic()
        while not finished:
            feed.load(state.steps_of_run)
            state.adam.set_learning_rate(schedule.learning_rate_at(state.step))
            # Of networks that drop units in training: a resumed stage drops the same.
            number = state.steps_of_run * ranks.count + ranks.number
            torch.manual_seed((schedule.stage.seed * 1_000_003 + number) % 2**63)
            unread.append(take_step())
            state.step += 1

            epoch_ends = schedule.ends_row(state.step)
            if len(unread) == STEPS_BETWEEN_READS[device.type] or epoch_ends:
                loss = state.read_losses(unread, batch=ranks.count * feed.samples)
                unread.clear()
                progress.report(state.step, extra=f"loss {loss:.4f}")
            if epoch_ends:
                state.close_row(validation, least_seconds)

            if unread:  # a checkpoint holds no step whose loss was not read
                continue
            stopped_by, finished = ranks.agree(caught[0] if caught else 0, state.is_finished(least_seconds))
            if stopped_by or time.monotonic() - saved > save_every_seconds:
                kept = ranks.number == 0 and checkpoints.save(state.checkpoint())
                if stopped_by:
                    what = ", state saved" if kept else ""
                    log.warning("stopped at step %d of %d%s", state.step, schedule.steps, what)
                    raise SystemExit(128 + stopped_by)
                saved = time.monotonic()
                state.journal.start_clock()
    return state.checkpoint()


class StageState:
    """A stage in progress; for its arguments, see `train_stage`."""

    def __init__(
        self,
        task: Task,
        schedule: Schedule,
        masks: Mapping[str, Tensor],
        device: torch.device,
        checkpoints: CheckpointFolder,
        ranks: Ranks,
    ):
        stage, checkpoint = schedule.stage, checkpoints.load()
        latest = checkpoint.snapshot if checkpoint else task.initial
        self._schedule, self._checkpoints = schedule, checkpoints
        self.model = place_model(task.model, device).train()
        self.adam = Adam(
            self.model, betas=stage.betas, epsilon=stage.epsilon, weight_decay=stage.weight_decay
        )
        if latest:
            load_into(self.model, latest.weights, path=latest.path)
        if latest and (checkpoint or not stage.fresh_optimiser):
            self.adam.restore(latest.moments, latest.adam_steps)
        self.frozen = FrozenWeights(self.model, masks, moments=stage.frozen_moments)
        start = latest.average if latest else {}
        self.average = None if stage.ema is None else MovingAverage(self.model, stage.ema, start)
        self.best = latest.best if latest else None
        self._delivered = task.delivered
        self.journal = Journal(schedule, device_clock(device, ranks.count), checkpoint)
        self.step = checkpoint.step if checkpoint else 0
        self._steps_before = task.initial.optimiser_steps if task.initial else 0
        log.info("%s at step %d of %d", "continuing" if checkpoint else "starting", self.step, schedule.steps)

    @property
    def steps_of_run(self) -> int:
        """Steps since the weights were initialised; the number of the next batch."""
        return self._steps_before + self.step

    def is_finished(self, least_seconds: float) -> bool:
        """Tell whether the stage took all its steps and, at the end of an epoch, ``least_seconds``."""
        enough = self.journal.device_seconds >= least_seconds
        return self.step >= self._schedule.steps and self._schedule.ends_row(self.step) and enough

    def close_row(self, validation: Validate | None, least_seconds: float) -> None:
        """End a row of the journal, with a point of the validation curve where one is due."""
        self.journal.count_time()
        values: dict[str, float] = {}
        epochs = math.ceil(self.step / self._schedule.steps_per_epoch)
        every = self._schedule.stage.validate_every
        if validation and every and (epochs % every == 0 or self.is_finished(least_seconds)):
            averages = self.average.values if self.average else {}
            prefix = f"{self._delivered}." if self._delivered else ""
            average = {n.removeprefix(prefix): v for n, v in averages.items() if n.startswith(prefix)}
            network = self.model.get_submodule(self._delivered)
            values, self.best = validation(network, average, self.steps_of_run, self.best)
            self.journal.start_clock()
        self.journal.close_row(self.step, values)

    def read_losses(self, losses: Sequence[Tensor], *, batch: int) -> float:
        """Add the losses of the last steps to the journal and return the last; raise if one is not finite."""
        values = torch.stack([*losses]).tolist()
        for at, value in enumerate(values, start=self.step - len(values)):
            if not math.isfinite(value):
                raise self.diverged(f"the loss is {value}", at=at)
        self.journal.add(values, batch=batch)
        return float(values[-1])

    def checkpoint(self) -> Checkpoint:
        """Copy the state to the CPU; raise if a weight is not finite, as after an infinite gradient."""
        self.journal.count_time()
        if not all(bool(torch.isfinite(value).all()) for value in self.model.state_dict().values()):
            raise self.diverged("the weights are no longer finite", at=self.step - 1)
        average = self.average.values if self.average else {}
        return Checkpoint(
            snapshot=take_snapshot(self.model, self.adam, self.steps_of_run, average, self.best),
            step=self.step,
            device_seconds=self.journal.device_seconds,
            rows=self.journal.rows,
            losses=self.journal.losses,
        )

    def diverged(self, what: str, *, at: int) -> ValueError:
        """Return the error that says ``what`` happened in step ``at``."""
        kept = self._checkpoints.path
        where = f"the last good state is {kept}" if kept.exists() else "no state was saved yet"
        return ValueError(
            f"{self._schedule.stage.phase}: {what} at step {at} (epoch {self._schedule.epoch(at)}), "
            f"learning rate {self._schedule.learning_rate_at(at):g}; {where}. "
            "Lower training.learning_rate, or set compute.precision: float32"
        )


@contextmanager
def catch_signals() -> Iterator[list[int]]:
    """Catch SIGTERM and SIGINT; give the list of those that came."""
    caught: list[int] = []
    previous = {
        number: signal.signal(number, lambda number, _frame: caught.append(number))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield caught
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
