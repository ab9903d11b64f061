"""From a recipe to its training stages, in epochs (Algorithm 1, Section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass

from bspa.config.schema import Config, Method


@dataclass(frozen=True, kw_only=True, slots=True)
class Phase:
    """A training stage."""

    first_epoch: int
    """Counted epochs before it."""
    epochs: int
    """Its length."""
    counts: bool
    """Whether its epochs count towards T."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cycle:
    """Uniform training, then inverse training; one of them may be missing."""

    uniform: Phase | None
    inverse: Phase | None
    end_epoch: int
    """e of Eq. 11: counted epochs when its attribution is made."""

    @property
    def last_phase(self) -> str:
        """Name of the stage that the cycle ends with."""
        return "inverse" if self.inverse else "uniform"


def plan_cycles(config: Config, model: str, method: str) -> list[Cycle]:
    """Lay out the cycles of a recipe for a network, until its T epochs are used.

    The first cycle is number 1 in file names and element 0 here. A recipe with one sampler is one cycle of
    one long stage.
    """
    recipe = config.methods[method]
    total = config.training_of(model).epochs
    if recipe.match_steps is not None:
        matched = _lay_out(config.methods[recipe.match_steps], total)
        total = sum(p.epochs for c in matched for p in (c.uniform, c.inverse) if p)
    return _lay_out(recipe, total)


def _lay_out(recipe: Method, total: int) -> list[Cycle]:
    if recipe.sampling != "alternating":
        phase = Phase(first_epoch=0, epochs=total, counts=True)
        uniform = recipe.sampling == "uniform"
        return [
            Cycle(uniform=phase if uniform else None, inverse=None if uniform else phase, end_epoch=total)
        ]
    cycles = []
    epoch = 0
    while epoch < total:
        uniform_epochs = min(recipe.uniform_epochs, total - epoch)
        uniform_phase = Phase(first_epoch=epoch, epochs=uniform_epochs, counts=True)
        epoch += uniform_epochs
        inverse_epochs = recipe.inverse_epochs
        if recipe.count_inverse:
            inverse_epochs = min(inverse_epochs, total - epoch)
        inverse_phase = None
        if inverse_epochs:
            counts = recipe.count_inverse
            inverse_phase = Phase(first_epoch=epoch, epochs=inverse_epochs, counts=counts)
            epoch += inverse_epochs if counts else 0
        cycles.append(Cycle(uniform=uniform_phase, inverse=inverse_phase, end_epoch=epoch))
    return cycles
