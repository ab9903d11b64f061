"""A stage on several devices: the parts of each batch, and what the processes tell each other.

Each process, a rank, holds the whole network and takes its slice of the batch that one device would take.
All update their weights by the same mean of the gradients, so the weights stay the same in every rank.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn

from bspa.sampling.sampler import Draw, Sampler

OVER_THE_BATCH = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class Share(Sampler):
    """A slice of each batch of another sampler."""

    def __init__(self, whole: Sampler, part: slice):
        self.pool, self._whole, self._part = whole.pool, whole, part

    def draw(self, iteration: int) -> Draw:
        """See `bspa.sampling.sampler.Sampler`."""
        return Draw(*(column[self._part] for column in self._whole.draw(iteration)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranks:
    """This process among those that train a stage together; by default it is alone."""

    number: int = 0
    """0 of the one that reports, validates and saves."""
    count: int = 1
    device: str = "cpu"
    """Where this process computes."""

    def check(self, model: nn.Module) -> None:
        """Raise a ValueError if a part of a batch gives the model another output than the whole batch."""
        for name, module in model.named_modules() if self.count > 1 else ():
            if isinstance(module, OVER_THE_BATCH):
                raise ValueError(
                    f"models.NAME.devices: {self.count}, but the network's layer {name} "
                    f"({type(module).__name__}) normalises over the batch, of which a device sees a part; "
                    "allowed for this network: 1"
                )

    def share(self, sampler: Sampler, batch: int) -> Sampler:
        """Return a sampler of this rank's part of each batch."""
        if self.count == 1:
            return sampler
        samples = batch // self.count
        return Share(sampler, slice(self.number * samples, (self.number + 1) * samples))

    def average(self, loss: Tensor, parameters: Iterable[Tensor]) -> Tensor:
        """Replace the gradients by their means over the ranks; return the mean of the loss."""
        if self.count == 1:
            return loss
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        values = torch.cat([loss.flatten(), *(gradient.flatten() for gradient in gradients)])
        distributed.all_reduce(values)
        values /= self.count
        _, *parts = values.split([1, *(gradient.numel() for gradient in gradients)])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))
        return values[0].clone()  # a view would keep all the values, for as long as the loss is not read

    def agree(self, *decisions: int) -> list[int]:
        """Return what rank 0 decided."""
        if self.count == 1:
            return list(decisions)
        values = torch.tensor(decisions, device=self.device)
        distributed.broadcast(values, src=0)
        return [int(value) for value in values.tolist()]

    @contextmanager
    def first_rank_first(self) -> Iterator[None]:
        """Run the block in rank 0, then in the others."""
        if self.number > 0:
            self.agree(0)
        yield
        if self.number == 0:
            self.agree(0)


ALONE = Ranks()
