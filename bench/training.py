"""Training steps and attribution: batches of 16 patches of 128 pixels."""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import toolbox
import torch
from measuring import Contestant, Item, Measured, Meter, repeated
from photographs import pack, training_files, write_training_pngs
from sizes import SCALE, Bench
from stages import schedule, train

from bspa.models.precision import choose_precision
from bspa.sampling.feeds import to_device
from bspa.sampling.patches import Batch, Draw
from bspa.sampling.sampler import Sampler
from bspa.sampling.uniform import UniformSampler
from bspa.training.adam import Adam
from bspa.training.attribution import attributable, integrated_gradients
from bspa.training.losses import l1

PAPER_STAGE = schedule(2500, epochs=50, halve_every=200)
PNG_SIDE = 480  # HR pixels; BasicSR's sub-images


class Enough(Exception):  # noqa: N818
    """The steps to measure were taken."""


class Window:
    """A sampler that times some steps after the first, and then stops the stage, which has thousands."""

    def __init__(self, sampler: Sampler, steps: int, meter: Meter):
        self._sampler, self._steps, self._meter = sampler, steps, meter
        self.pool = sampler.pool
        self.started = 0.0

    def _watch(self, iteration: int) -> None:
        """Begin to measure at the second batch, and end ``steps`` later."""
        if iteration == 1:
            self.started = self._meter.start()
        if iteration == 1 + self._steps:
            self.measured = self._meter.stop(self._steps)
            raise Enough

    def draw(self, iteration: int) -> Draw:
        """Say where the batch lies."""
        self._watch(iteration)
        return self._sampler.draw(iteration)

    def batch(self, iteration: int) -> Batch:
        """Cut the batch."""
        self._watch(iteration)
        return self._sampler.batch(iteration)


def measure_train_step(network: str, bench: Bench) -> Item:
    """Against bare steps on a resident batch, and float32 steps on PNGs that workers decode."""
    images = pack(training_files(bench), bench.folder / "photographs.h5")
    sampler = UniformSampler(images, patch=bench.patch, batch=bench.batch, seed=0)
    precision = choose_precision("auto", bench.device, arch=network)
    pngs = bench.folder / "pngs"
    write_training_pngs(pngs, images, side=PNG_SIDE)
    plain = bench.build(network)
    plain_optimiser = torch.optim.Adam(plain.parameters(), lr=2e-4)
    workers = min(toolbox.MOST_WORKERS, bench.threads)
    batches = toolbox.loader(pngs, patch=bench.patch, scale=SCALE, batch=bench.batch, workers=workers)
    starts: list[float] = []

    def ours(number: int) -> Measured:
        window = Window(sampler, number, Meter(bench.device))
        called = time.perf_counter()
        try:
            train(
                bench.build(network), window, PAPER_STAGE,
                precision=precision, device=bench.device, folder=bench.folder,
            )  # fmt: skip
        except Enough:
            starts.append(window.started - called)
        return window.measured

    def from_pngs(number: int) -> Measured:
        losses = toolbox.train(plain, plain_optimiser, batches, bench.device)
        next(losses)
        meter = Meter(bench.device)
        meter.start()
        for _ in range(number):
            next(losses)
        measured = meter.stop(number)
        losses.close()  # and the workers with it
        return measured

    def at_stage_length(result: Mapping[str, Any]) -> dict[str, float]:
        before = 1000 * statistics.median(starts[1:])  # the first stage fills torch's cache
        whole = result["ours"] + before / PAPER_STAGE.steps
        return {
            "ms_before_the_second_step": before,
            "ms_before_the_second_step_at_first": 1000 * starts[0],
            f"ours_at_{PAPER_STAGE.steps}_steps": whole,
            f"ratio_plain_at_{PAPER_STAGE.steps}_steps": result["plain"] / whole,
        }

    limits = _bare_steps(network, bench, sampler)
    return Item(
        unit="step",
        samples=bench.batch,
        limits=limits,
        ours=ours,
        plain=from_pngs,
        facts=at_stage_length,
    )


def _bare_steps(network: str, bench: Bench, sampler: UniformSampler) -> dict[str, Contestant]:
    """Steps on one resident batch: eager, compiled where that may pay, on a GPU replayed as one graph."""
    precision = choose_precision("auto", bench.device, arch=network)
    lr, hr = (to_device(pixels, bench.device) for pixels in sampler.batch(0))

    def step_of(compiled: bool) -> Callable[[], None]:
        model = bench.build(network).to(memory_format=torch.channels_last).train()
        optimiser = Adam(model, betas=(0.9, 0.999), epsilon=1e-8)
        optimiser.set_learning_rate(2e-4)
        forward = torch.compile(model) if compiled else model

        def step() -> None:
            with precision.autocast():
                output = forward(lr)
            optimiser.zero_grad()
            l1(output, hr).backward()
            optimiser.step()

        return step

    eager = step_of(compiled=False)
    limits = {f"resident batch, {precision.name}": repeated(eager, bench.device)}
    if bench.tiny:
        return limits
    if bench.device.type == "cuda":
        limits[f"resident batch, {precision.name}, compiled"] = repeated(step_of(compiled=True), bench.device)
    if bench.device.type == "cuda":
        limits[f"resident batch, {precision.name}, graph"] = repeated(_captured(step_of(False)), bench.device)
    return limits


def _captured(step: Callable[[], None]) -> Callable[[], None]:
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


measure_train_step_fsrcnn_x4 = functools.partial(measure_train_step, "fsrcnn")
measure_train_step_edsr_x4 = functools.partial(measure_train_step, "edsr")
measure_train_step_rcan_x4 = functools.partial(measure_train_step, "rcan")


def measure_attribute(bench: Bench) -> Item:
    """Gradients along the path, against bare forward and backward, and FAIG's way, both in float32."""
    images = pack(training_files(bench), bench.folder / "photographs.h5")
    sampler = UniformSampler(images, patch=bench.patch, batch=bench.batch, seed=0, stream="attribution")
    lr, hr = (to_device(pixels, bench.device) for pixels in sampler.batch(0))
    bare = bench.build("edsr").to(memory_format=torch.channels_last).train()
    model, plain = bench.build("edsr"), bench.build("edsr")
    baseline = {name: value.clone() for name, value in model.state_dict().items()}
    target = baseline | {name: 1.01 * baseline[name] for name in attributable(model)}
    lr_plain, hr_plain = lr.contiguous(), hr.contiguous()

    def gradients(number: int) -> Measured:
        meter = Meter(bench.device)
        meter.start()
        integrated_gradients(model, baseline, target, [(lr, hr)], l1, steps=number)
        return meter.stop(number)

    def image_by_image(number: int) -> Measured:
        meter = Meter(bench.device)
        meter.start()
        toolbox.integrated_gradients(plain, baseline, target, lr_plain, hr_plain, steps=number)
        return meter.stop(number)

    return Item(
        unit="gradient of a batch",
        samples=bench.batch,
        limits={"forward and backward, float32": repeated(lambda: l1(bare(lr), hr).backward(), bench.device)},
        ours=gradients,
        plain=image_by_image,
    )
