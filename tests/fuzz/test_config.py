"""Whatever a config holds, it is planned, or one error tells what is wrong with it."""

from __future__ import annotations

import contextlib
import copy
import datetime
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bspa.config.contents import Contents
from bspa.config.load import load_config, typed
from bspa.config.plan import Plan

ROOT = Path(__file__).parents[2]
DEFAULTS = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the place of everything inside a config."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield (*place, key)
        yield from places(item, (*place, key))


def at(value: Any, place: tuple[Any, ...]) -> Any:
    for key in place:
        value = value[key]
    return value


PLACES = list(places(DEFAULTS))
KEYS = sorted({key for place in PLACES for key in place if isinstance(key, str)})
OTHERS = {key: at(DEFAULTS, (*place, key)) for *place, key in PLACES if isinstance(key, str)}
"""A value of each key, to stand where it does not belong."""

LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 200), st.integers(), st.floats(), st.text(max_size=8),
    st.binary(max_size=4), st.dates(), st.just(datetime.datetime(2026, 1, 1)), st.just(10**400),
    st.sampled_from([*KEYS, "~x/y", "a\0b", "\ud800", "$(touch x)", "-rf", "../..", "{scale}", "1e5"]),
)  # fmt: skip
VALUES = st.one_of(
    st.sampled_from(list(OTHERS.values())),
    st.recursive(
        LEAVES,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.sets(st.integers(), max_size=2),
            st.dictionaries(st.one_of(st.sampled_from(KEYS), LEAVES), inner, max_size=3),
        ),
        max_leaves=6,
    ),
)  # fmt: skip


CHANGES = st.lists(
    st.tuples(
        st.sampled_from(PLACES), st.one_of(st.none(), st.sampled_from(KEYS), st.text(max_size=5)), VALUES,
        st.booleans(),
    ),
    min_size=1, max_size=3,
)  # fmt: skip
"""A place, another key in its section or None, a value for it, and whether to remove it instead."""


def changed(changes: list[tuple[tuple[Any, ...], str | None, Any, bool]]) -> dict[str, Any]:
    """Return the default config with changes."""
    values: Any = copy.deepcopy(DEFAULTS)
    for (*place, last), other, value, remove in changes:
        with contextlib.suppress(KeyError, IndexError, TypeError):  # another change was there before
            section = at(values, tuple(place))
            if remove:
                del section[last]
            else:
                section[other if other is not None and isinstance(section, dict) else last] = value
    return values


def refusal(function: Callable[[], Any]) -> str | None:
    """Return the message of the error of the kind that users can mend, or None."""
    try:
        function()
    except ValueError as error:
        return str(error)
    return None


@settings(max_examples=settings().max_examples // 4)  # of the profile
@given(changes=CHANGES)
def test_a_config_is_planned_or_refused(tmp_path_factory: pytest.TempPathFactory, changes: Any) -> None:
    values, contents = typed(changed(changes)), Contents(tmp_path_factory.getbasetemp() / "contents.json")
    if message := refusal(lambda: load_config(values)):
        first, *lines = message.splitlines()
        assert first.startswith("the config has "), message
        keys = {line.strip().removeprefix("--config: ").partition(":")[0].partition(".")[0] for line in lines}
        assert keys & {*map(str, values), *DEFAULTS}, message
        return
    config = load_config(values)
    json.dumps(config.model_dump())
    plan = Plan(config, scripts=ROOT / "workflow_scripts", contents=contents)
    message = refusal(plan.products)
    assert message is None or any(key in message for key in KEYS), message
