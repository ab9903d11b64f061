"""A product of the plan, and its key."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast


@dataclass(frozen=True, kw_only=True, slots=True)
class Product:
    """What one job makes."""

    rule: str
    path: str
    """Its first file, under the results."""
    settings: dict[str, Any]
    """Plain values for the script, by sorted names."""
    needs: tuple[Product, ...]
    """What the job reads."""
    key: str
    """32 hexadecimal digits that stand for the settings, the code, and the keys of what the job reads."""


def digest(value: Any) -> str:
    """Digest plain values: 32 hexadecimal digits."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]


class Remembering(Protocol):
    """What has a memory for `remembered`."""

    memory: dict[Any, Any]


Self = TypeVar("Self", bound=Remembering)
P = ParamSpec("P")
T = TypeVar("T")


def remembered(method: Callable[Concatenate[Self, P], T]) -> Callable[Concatenate[Self, P], T]:
    """Compute a method once for the same arguments."""

    @functools.wraps(method)
    def wrapper(self: Self, *args: P.args, **kwargs: P.kwargs) -> T:
        call = (method.__name__, args, tuple(sorted(kwargs.items())))
        if call not in self.memory:
            self.memory[call] = method(self, *args, **kwargs)
        return self.memory[call]

    return cast(Callable[Concatenate[Self, P], T], wrapper)
