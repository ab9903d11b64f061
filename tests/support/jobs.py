"""A job of the workflow as its script sees it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from snakemake.iocontainers import InputFiles, OutputFiles, Params


def make_job(
    rule: str,
    inputs: Mapping[str, Any],
    outputs: Mapping[str, str | Path],
    settings: Mapping[str, Any],
    *,
    key: str = "test",
    **params: Any,
) -> Any:
    """Return what a script gets as ``snakemake``; ``params`` are more of these."""
    files = InputFiles()
    for name, value in inputs.items():
        start = len(files)
        several = isinstance(value, list)
        files.extend(map(str, value if several else [value]))
        files._set_name(name, start, end=len(files) if several else None)
    origin = {"rule": rule, "key": key, "code": {rule: ["c0de"]}, "manifests": {}}
    told = {"settings": settings, "key": key, "origin": origin, **params}
    return SimpleNamespace(
        rule=rule,
        input=files,
        output=OutputFiles(fromdict={name: str(path) for name, path in outputs.items()}),
        params=Params(fromdict=told),
        threads=1,
    )
