"""What training cost, from the files that say so."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

from bspa.system.reading import reading


def device_seconds(files: Sequence[str]) -> float:
    """Add up the device seconds of journals (CSV), and of summaries of attributions and runs (JSON)."""
    return sum(_seconds_of(Path(file)) for file in files)


def _seconds_of(file: Path) -> float:
    with reading(file, "a journal or a summary"):
        text = file.read_text(encoding="utf-8")
        if file.suffix == ".json":
            return float(json.loads(text)["device_seconds"])
        *_, last = csv.DictReader(text.splitlines())
        return float(last["device_seconds"])
