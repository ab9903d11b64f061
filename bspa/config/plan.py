"""From a recipe to its training stages, in epochs (Algorithm 1, Section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass

from bspa.config.schema import Config, Method


@dataclass(frozen=True, kw_only=True, slots=True)
class Phase:
    """A training stage."""

    name: str
    """uniform, inverse, informative (SamplingAug), uncertainty or weighted (UDN's steps)."""
    first_epoch: int
    """Counted epochs before it."""
    epochs: int
    """Its length."""
    counts: bool = True
    """Whether its epochs count towards T."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cycle:
    """Stages that follow each other up to an attribution, or to the end."""

    phases: tuple[Phase, ...]
    end_epoch: int
    """e of Eq. 11: counted epochs when its attribution is made."""

    def phase(self, name: str) -> Phase | None:
        """Return the stage of this name, if the cycle has it."""
        return next((phase for phase in self.phases if phase.name == name), None)


def plan_cycles(config: Config, model: str, method: str) -> list[Cycle]:
    """Lay out the cycles of a recipe for a network, until its T epochs are used.

    The first cycle is number 1 in file names and element 0 here. Only a recipe that alternates has several.

    Raises:
        ValueError: the epochs do not suffice for both steps of UDN.
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
    if recipe.loss == "uncertainty":
        first = recipe.uncertainty_epochs or total // 2
        phases = (
            Phase(name="uncertainty", first_epoch=0, epochs=first),
            Phase(name="weighted", first_epoch=first, epochs=total - first),
        )
        return [Cycle(phases=phases, end_epoch=total)]
    return [Cycle(phases=(Phase(name=recipe.sampling, first_epoch=0, epochs=total),), end_epoch=total)]


def _alternate(recipe: Method, total: int) -> list[Cycle]:
    cycles = []
    epoch = 0
    while epoch < total:
        uniform_epochs = min(recipe.uniform_epochs, total - epoch)
        phases = [Phase(name="uniform", first_epoch=epoch, epochs=uniform_epochs)]
        epoch += uniform_epochs
        counts = recipe.count_inverse
        inverse_epochs = min(recipe.inverse_epochs, total - epoch) if counts else recipe.inverse_epochs
        if inverse_epochs:
            phases.append(Phase(name="inverse", first_epoch=epoch, epochs=inverse_epochs, counts=counts))
            epoch += inverse_epochs if counts else 0
        cycles.append(Cycle(phases=tuple(phases), end_epoch=epoch))
    return cycles
