"""From a recipe to its cycles and phases, in epochs (Algorithm 1, Section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass

from bspa.config.schema import Config, Method


@dataclass(frozen=True, kw_only=True, slots=True)
class Phase:
    """A training stage of a recipe."""

    name: str
    """uniform, inverse, informative (SamplingAug), uncertainty or weighted (UDN's steps)."""
    first_epoch: int
    """Counted epochs before it."""
    epochs: int
    counts: bool = True
    """Whether its epochs count towards T."""


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
        ValueError: there are too few epochs for both steps of UDN.
    """
    recipe = config.methods[method]
    total = config.training_of(model).epochs
    if recipe.match_steps is not None:
        matched = _lay_out(config.methods[recipe.match_steps], total)
        total = sum(phase.epochs for cycle in matched for phase in cycle.phases)
    if recipe.loss == "uncertainty" and total <= (recipe.uncertainty_epochs or 1):
        first = recipe.uncertainty_epochs or "half of them"
        raise ValueError(
            f"methods.{method}.uncertainty_epochs: {first} leaves no epoch for the second step: "
            f"{model} has {total} in all"
        )
    return _lay_out(recipe, total)


def _lay_out(recipe: Method, total: int) -> list[Cycle]:
    if recipe.sampling == "alternating":
        return _alternate(recipe, total)
    phases = [Phase(name=recipe.sampling, first_epoch=0, epochs=total)]
    if recipe.loss == "uncertainty":
        first = recipe.uncertainty_epochs or total // 2
        phases = [
            Phase(name="uncertainty", first_epoch=0, epochs=first),
            Phase(name="weighted", first_epoch=first, epochs=total - first),
        ]
    return [Cycle(phases=tuple(phases), end_epoch=total)]


def _alternate(recipe: Method, total: int) -> list[Cycle]:
    cycles, epoch, counts = [], 0, recipe.count_inverse
    while epoch < total:
        uniform = Phase(name="uniform", first_epoch=epoch, epochs=min(recipe.uniform_epochs, total - epoch))
        epoch += uniform.epochs
        length = min(recipe.inverse_epochs, total - epoch) if counts else recipe.inverse_epochs
        inverse = Phase(name="inverse", first_epoch=epoch, epochs=length, counts=counts)
        epoch += length if counts else 0
        cycles.append(Cycle(phases=(uniform, inverse) if length else (uniform,), end_epoch=epoch))
    return cycles


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
    if len(cycles) == 1:
        return f"no mask is ever used: {total} epochs are one cycle, so it trains as without attribution"
    if recipe.attribution.update == "cumulative" and len(cycles) == 2:
        return f"one mask only: {total} epochs are two cycles, so update: cumulative is the same as replace"
    return None
