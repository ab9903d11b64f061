"""From a recipe to its cycles and phases, in epochs (Algorithm 1, Section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bspa.config.schema import Config, Method


@dataclass(frozen=True, kw_only=True, slots=True)
class Phase:
    """A training stage of a recipe."""

    name: str
    """uniform, inverse, informative (SamplingAug), uncertainty or weighted (UDN's steps)."""
    first_epoch: int
    """Counted epochs before it."""
    epochs: int
    extra_steps: int = 0
    """Steps after its epochs."""
    counts: bool = True
    """Whether its epochs count towards T."""
    fresh_optimiser: bool = False
    """Whether it starts with Adam's moments at zero and the full learning rate."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cycle:
    """Phases that follow each other up to an attribution, or to the end of the run."""

    phases: tuple[Phase, ...]
    end_epoch: int
    """e of Eq. 11: the epochs counted when its attribution is made."""


def lay_out_cycles(config: Config, model: str, method: str) -> list[Cycle]:
    """Lay out the cycles of a recipe for a network, until its T epochs are used.

    The first cycle is number 1 in file names and element 0 here. Only an alternating recipe has several.

    Raises:
        ValueError: there are too few epochs.
    """
    recipe, training = config.methods[method], config.training_of(model)
    epochs, total = training.epochs, training.epochs - recipe.leave_out_last_epoch
    extra_steps = 0 if recipe.leave_out_last_epoch else training.spare_steps
    if not total:
        raise ValueError(f"methods.{method}.leave_out_last_epoch leaves no epoch: {model} has {epochs}")
    if recipe.match_steps is not None:
        other = config.methods[recipe.match_steps]
        matched = _lay_out(other, epochs - other.leave_out_last_epoch)
        phases = [phase for cycle in matched for phase in cycle.phases]
        total = sum(phase.epochs for phase in phases)
        extra_steps = sum(phase.extra_steps for phase in phases)
        extra_steps += 0 if other.leave_out_last_epoch else training.spare_steps
    if recipe.loss == "uncertainty" and total <= (recipe.uncertainty_epochs or 1):
        first = recipe.uncertainty_epochs or "half of them"
        raise ValueError(
            f"methods.{method}.uncertainty_epochs: {first} leaves no epoch for the second step: "
            f"{model} has {total} in all"
        )
    *before, last = _lay_out(recipe, total)
    *earlier, phase = last.phases
    phase = replace(phase, extra_steps=phase.extra_steps + extra_steps)
    return [*before, replace(last, phases=(*earlier, phase))]


def _lay_out(recipe: Method, total: int) -> list[Cycle]:
    if recipe.sampling == "alternating":
        return _alternate(recipe, total)
    phases = [Phase(name=recipe.sampling, first_epoch=0, epochs=total)]
    if recipe.loss == "uncertainty":
        first, restart = recipe.uncertainty_epochs or total // 2, recipe.restart_second_step
        start = 0 if restart else first
        phases = [
            Phase(name="uncertainty", first_epoch=0, epochs=first),
            Phase(name="weighted", first_epoch=start, epochs=total - first, fresh_optimiser=restart),
        ]
    return [Cycle(phases=tuple(phases), end_epoch=total)]


def _alternate(recipe: Method, total: int) -> list[Cycle]:
    cycles: list[Cycle] = []
    epoch, counts = 0, recipe.count_inverse
    while epoch < total:
        length = recipe.uniform_epochs + (recipe.inverse_epochs if counts else 0)
        if recipe.end == "uniform" and total - epoch <= length:
            last = Phase(name="uniform", first_epoch=epoch, epochs=total - epoch)
            return [*cycles, Cycle(phases=(last,), end_epoch=total)]
        uniform = Phase(name="uniform", first_epoch=epoch, epochs=min(recipe.uniform_epochs, total - epoch))
        epoch += uniform.epochs
        if recipe.inverse_steps is not None:
            epochs, steps = 0, recipe.inverse_steps
        else:
            epochs, steps = min(recipe.inverse_epochs, total - epoch) if counts else recipe.inverse_epochs, 0
        inverse = Phase(name="inverse", first_epoch=epoch, epochs=epochs, extra_steps=steps, counts=counts)
        epoch += epochs if counts else 0
        cycles.append(Cycle(phases=(uniform, inverse) if epochs or steps else (uniform,), end_epoch=epoch))
    return cycles


def used_masks(recipe: Method, cycles: list[Cycle]) -> list[int]:
    """List the cycles, from 1, whose mask a later phase or a later mask uses."""
    if recipe.attribution is None:
        return []
    held = set(recipe.attribution.phases)
    used = [n for n, after in enumerate(cycles[1:], 1) if held & {phase.name for phase in after.phases}]
    return list(range(1, used[-1] + 1)) if used and recipe.attribution.update == "cumulative" else used


def without_effect(recipe: Method, cycles: list[Cycle]) -> str | None:
    """Say which part of a recipe has no effect within its epochs; None where all have.

    A recipe whose first inverse phase, or first mask, would come after T trains as a simpler one does.
    """
    total = cycles[-1].end_epoch
    if recipe.sampling == "alternating" and len(cycles[0].phases) == 1:
        return (
            f"no inverse phase: a uniform phase of {recipe.uniform_epochs} epochs takes all {total}, "
            "so it trains as uniform sampling does"
        )
    if recipe.attribution is None:
        return None
    masks = used_masks(recipe, cycles)
    if not masks:
        return f"no mask is ever used within {total} epochs, so it trains as without attribution"
    if recipe.attribution.update == "cumulative" and len(masks) == 1:
        return f"one mask only within {total} epochs, so update: cumulative is the same as replace"
    return None
