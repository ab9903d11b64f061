"""Tell what a network is, how it was made, and its scores; and what tables and figures came from.

    bspa info results/models/fsrcnn_x4_bspa_seed0.safetensors
    bspa info results/models/*.safetensors --json | jq '.[].scores'
    bspa info results/tables/table4.csv results/figures/figure1.pdf

Of a delivered network the header tells how it was made. What training cost, and the scores, are read from the
files that the workflow puts beside it: NAME.json, and evaluation/NAME/ and perceptual/NAME/ in the folder of
results. Of an ONNX file, and of files of other programs, you learn what they hold.

Networks, ONNX files made of them, tables and figures tell their origin: settings, code, photographs, versions
and devices. Of other files in a folder of results you learn what its provenance.json says.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

from bspa.cli.diff import shown

KINDS = {
    "delivered": "weights delivered by bspa",
    "onnx": "ONNX",
    "shown": "table or figure of bspa",
    "product": "product of bspa",
    "foreign": "of another program",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the subcommand to its parser."""
    parser.add_argument("models", nargs="+", metavar="FILE", help="network, table, figure or other product")
    parser.add_argument("--json", action="store_true", help="print a list of JSON objects, for programs")


def run(arguments: argparse.Namespace) -> int:
    """Run the subcommand."""
    described = [info(model) for model in arguments.models]
    if arguments.json:
        print(json.dumps(described, indent=1))
    else:
        print("\n\n".join(as_text(description) for description in described))
    return 0


def info(model: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what a file, and the files beside it, say; see `bspa.tables.description`."""
    from bspa.tables.description import describe

    return describe(model)


def as_text(description: Mapping[str, Any]) -> str:
    """Print a description in lines of a name and a value."""
    lines = [(name, value) for name, value in _lines(description) if value not in ("", "{}", "[]")]
    width = max(len(name) for name, _ in lines)
    return "\n".join([description["file"], *(f"  {name:{width}}  {value}" for name, value in lines)])


def _lines(d: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "kind", KINDS[d["kind"]]
    if d["kind"] in ("delivered", "onnx", "foreign"):
        yield "network", (d["architecture"] or "unknown") + (f" x{d['scale']}" if d["scale"] else "")
        yield "options", _pairs(d.get("options", {}))
        yield "parameters", f"{d['parameters']:,}"
    yield "bytes", f"{d['bytes']:,}"
    yield "sha256", d["sha256"]
    for name, value in {**d.get("made", {}), **d.get("metadata", {})}.items():
        yield name.replace("_", " "), str(value)
    for name in ("rule", "key", "code"):
        yield name, d.get(name, "")
    yield "reads", ", ".join(d.get("reads", []))
    for name in ("tensors", "opset", "inputs", "outputs"):
        yield name, str(d.get(name, ""))
    for name in ("types", "operators"):
        yield name, ", ".join(d.get(name, []))
    for name, value in d.get("summary", {}).items():
        if name not in d["made"] and name != "parameters":
            yield name.replace("_", " "), f"{value:,}" if isinstance(value, int | float) else str(value)
    for benchmark, scores in d.get("scores", {}).items():
        yield benchmark, _scores(scores)
        if benchmark in d["bicubic"]:
            yield f"{benchmark}, bicubic", _scores(d["bicubic"][benchmark])
    if d["kind"] == "delivered" and not d["scores"]:
        yield "scores", "none found in the folder of results"
    yield from _origin(d.get("origin", {}))


def _origin(origin: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What decided a file, and what computed it; of the code the rules' digests."""
    if "rule" in origin:
        yield "made by", f"{origin['rule']}, key {origin['key']}"
    for source, found in origin.get("data", {}).items():
        yield f"data {source}", f"{found['photographs']} photographs, SHA-256 {found['sha256']}"
    for rule, digests in origin.get("code", {}).items():
        yield f"code {rule}", ", ".join(digests)
    for rule, values in origin.get("settings", {}).items():
        yield f"settings {rule}", "; ".join(f"{name} {shown(value)}" for name, value in values.items())
    for entry in origin.get("ran", []):
        yield "ran", f"{', '.join(entry['rules'])}: {_pairs(entry['packages'])}"
        yield "  on", entry.get("device", "")


def _scores(scores: Mapping[str, float]) -> str:
    from bspa.metrics.catalogue import METRICS

    means = [
        f"{METRICS[name].title} {value:{METRICS[name].form}}"
        for name, value in scores.items()
        if name in METRICS
    ]
    return f"{', '.join(means)} (mean of {scores['images']} images)"


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items())
