"""What differs between two digests of products: exactly, or within the tolerances of another machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

Products = Mapping[str, Mapping[str, Any]]

BEFORE_NETWORKS = ("data/", "sub_images/")
"""Products without any arithmetic of torch: the same on every machine."""
SUM_TOLERANCE = 0.05
"""Of sums, as a share of the sum of absolute values, where the arithmetic is another machine's."""
EXTREME_TOLERANCE = 0.25
"""Of the least and the greatest value, as a share of the greatest absolute value."""
TINY = 1e-7
"""Values as small as this are all the same."""


def difference(expected: Products, found: Products, *, exact: bool) -> str:
    """Say which product changed first in the chain, how, and what changed after it; nothing if none did.

    If not ``exact``, numbers agree within tolerances, but for what is made before any network.
    """
    changed = [path for path, product in expected.items() if _changed(path, product, found.get(path), exact)]
    new = [path for path in found if path not in expected]
    if not changed and not new:
        return ""
    lines = []
    if changed:
        first, *rest = changed
        lines += [f"first in the chain to change: {first}", *_explain(expected[first], found.get(first))]
        lines.append(f"{len(rest)} of the {len(expected)} products changed after it{_list(rest)}")
    if new:
        lines.append(f"{len(new)} products are new{_list(new)}")
    return "\n".join(lines)


def _changed(path: str, expected: Mapping[str, Any], found: Mapping[str, Any] | None, exact: bool) -> bool:
    if found is None:
        return True
    if exact or path.startswith(BEFORE_NETWORKS):
        return bool(expected["sha256"] != found["sha256"])
    before, after = expected["parts"], found["parts"]
    return list(before) != list(after) or not all(_close(before[name], after[name]) for name in before)


def _close(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether two parts are as alike as other arithmetic leaves them; of what it chooses, only the number."""
    if (before["kind"], before["count"]) != (after["kind"], after["count"]):
        return False
    if before["kind"] == "bool":
        return bool(before["sum"] == after["sum"])
    if before["kind"] != "float" or "min" not in before:
        return True
    count = before["count"]
    largest = max(abs(before["min"]), abs(before["max"]))
    allowed = {
        **dict.fromkeys(("sum", "abs"), SUM_TOLERANCE * before["abs"] + TINY * count),
        **dict.fromkeys(("min", "max"), EXTREME_TOLERANCE * largest + TINY),
    }
    return all(abs(before[name] - after[name]) <= limit for name, limit in allowed.items())


def _explain(before: Mapping[str, Any], after: Mapping[str, Any] | None) -> list[str]:
    """Show the parts that are not the same, before and after."""
    if after is None:
        return ["  it is not made any more"]
    old, new = before["parts"], after["parts"]
    lines = []
    for name in old | new:
        before, after = old.get(name), new.get(name)
        if before != after:
            lines += [f"  {name}", f"    before: {_show(before)}", f"    after:  {_show(after)}"]
            if _show(before) == _show(after):
                lines.append("    the same to 9 digits, but not byte by byte")
    return lines or ["  the parts are the same; their names, shapes or order are not"]


def _show(part: Mapping[str, Any] | None) -> str:
    if part is None:
        return "none"
    return ", ".join(
        f"{name} {value:.9g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in part.items()
        if name != "digest"
    )


def _list(paths: list[str]) -> str:
    """Count paths by their first folder."""
    counts = Counter(path.partition("/")[0] for path in paths)
    return f": {', '.join(f'{name} {count}' for name, count in counts.items())}" if counts else ""
