"""Results as JSON lines: what is measured is added to a file, so that a study can be made in parts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Record = dict[str, Any]


def read_records(path: Path | None) -> list[Record]:
    """Return what was added to ``path`` so far; nothing if there is no such file."""
    if path is None or not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def add_record(path: Path | None, record: Mapping[str, Any]) -> None:
    """Add one record to the end of ``path``, if there is one."""
    if path:
        with path.open("a") as file:
            file.write(json.dumps(record) + "\n")


def latest(records: Sequence[Record], keys: Sequence[str], conditions: Mapping[str, Any]) -> list[Record]:
    """Return the last of the records with equal values of ``keys``, in order of their first.

    Raises:
        ValueError: a record was measured under other conditions, and cannot stand in one table with the rest.
    """
    last: dict[tuple[Any, ...], Record] = {}
    for record in records:
        for name, value in conditions.items():
            if record[name] != value:
                what = ", ".join(str(record[key]) for key in keys)
                raise ValueError(
                    f"{what}: measured with {name} = {record[name]!r}, not {value!r}; use another file"
                )
        last[tuple(record[key] for key in keys)] = record
    return [*last.values()]


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, texts: int) -> str:
    """A table in Markdown, whose first ``texts`` columns are aligned to the left and all others right."""
    rules = ["---"] * texts + ["--:"] * (len(head) - texts)
    lines = [f"| {' | '.join(head)} |", f"|{'|'.join(rules)}|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])
