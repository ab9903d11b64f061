"""Write a model card beside a delivered network: what one needs to know before using it.

    bspa card results/models/fsrcnn_x4_bspa_seed0.safetensors --licence CC-BY-4.0
    bspa card model.safetensors --picture holiday.jpg --set author=me --set tags=photo

It writes NAME.card.json, with the fields of OpenModelDB and the scores; NAME.md, for people; and NAME.png, a
part of a photograph as bicubic interpolation, the network and the original show it. The LR image is made from
the photograph; without --picture it is scikit-image's cat.

The card says what the header of the weights and the results beside it tell (see bspa info). They do not tell
author and licence: give these with --set and --licence.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

FIELDS = (
    "name", "author", "license", "tags", "description", "date", "architecture", "size", "scale",
    "inputChannels", "outputChannels", "resources", "images", "dataset", "datasetSize", "trainingIterations",
    "trainingEpochs", "trainingBatchSize", "trainingHRSize", "trainingOTF", "trainingLosses",
    "pretrainedModelG", "pretrainedModelD", "scores",
)  # fmt: skip
"""OpenModelDB's, and scores."""

CROP = 128
"""Side of the part shown, in HR pixels; each is shown as 2x2."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the subcommand to its parser."""
    parser.add_argument("model", metavar="MODEL", help="delivered weights, .safetensors")
    parser.add_argument("--picture", metavar="PHOTO", help="photograph to show, an original")
    parser.add_argument("--licence", "--license", metavar="TEXT", help="of the weights, as SPDX names it")
    parser.add_argument(
        "--set", dest="fields", action="append", default=[], metavar="FIELD=VALUE", help=", ".join(FIELDS)
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the subcommand."""
    fields = parse_fields(arguments.fields)
    for file in card(arguments.model, picture=arguments.picture, licence=arguments.licence, fields=fields):
        print(file)
    return 0


def parse_fields(assignments: Sequence[str]) -> dict[str, Any]:
    """Read ``field=value``; a value is JSON, or else text."""
    fields = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise ValueError(f"--set {assignment}: expected FIELD=VALUE")
        try:
            fields[name] = json.loads(text)
        except ValueError:
            fields[name] = text
    return fields


def card(
    model: str | os.PathLike[str],
    *,
    picture: str | os.PathLike[str] | None = None,
    licence: str | None = None,
    fields: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Write the card of a network beside it; return its files: JSON, Markdown, and picture.

    Args:
        model: delivered weights.
        picture: photograph to show, an original; None: scikit-image's cat.
        licence: of the weights.
        fields: more of `FIELDS`, which go before what the files say.

    Raises:
        ValueError: not delivered weights, an unknown field, or a photograph that is too small or unreadable.
    """
    from datetime import UTC, datetime

    from bspa.system.files import atomic_path, write_text
    from bspa.tables.description import describe

    unknown = set(fields or {}) - set(FIELDS)
    if unknown:
        raise ValueError(f"--set: unknown field {min(unknown)!r}; allowed: {', '.join(FIELDS)}")
    path = Path(model)
    described = describe(path)
    if described["kind"] != "delivered":
        raise ValueError(f"{path}: cards are for weights that this workflow delivered")
    shown = _show(path, picture)
    files = [path.with_name(path.stem + end) for end in (".card.json", ".md", ".png")]
    date = datetime.fromtimestamp(path.stat().st_mtime, tz=UTC).date().isoformat()
    content = {**open_model_fields(described, date=date, picture=files[2].name), **(fields or {})}
    if licence is not None:
        content["license"] = licence
    with atomic_path(files[2]) as temporary:
        shown.save(temporary)
    write_text(files[0], json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    write_text(files[1], to_markdown(content, described))
    return files


def open_model_fields(described: Mapping[str, Any], *, date: str, picture: str) -> dict[str, Any]:
    """Return the fields of OpenModelDB as far as the files of a network tell them."""
    made, scale = described["made"], described["scale"]
    told = {"method": "method {}", "seed": "seed {}", "weights": "weights: {}"}
    parts = [form.format(made[name]) for name, form in told.items() if name in made]
    return {
        "name": described["file"].removesuffix(".safetensors"),
        "author": None,
        "license": None,
        "tags": ["photo"],
        "description": ", ".join([f"{described['architecture']} x{scale}", *parts]),
        "date": date,
        "architecture": described["architecture"].lower(),
        "size": [f"{option}={value}" for option, value in described["options"].items()],
        "scale": scale,
        "inputChannels": 3,
        "outputChannels": 3,
        "resources": [
            {
                "platform": "pytorch",
                "type": "safetensors",
                "size": described["bytes"],
                "sha256": described["sha256"],
                "urls": [],
            }
        ],
        "images": [{"type": "standalone", "url": picture}],
        "dataset": made.get("trained_on"),
        "trainingIterations": int(made["steps"]) if "steps" in made else None,
        "trainingBatchSize": int(made["batch"]) if "batch" in made else None,
        "trainingHRSize": int(made["hr_size"]) if "hr_size" in made else None,
        "trainingLosses": made.get("losses"),
        "scores": described["scores"],
    }


def to_markdown(content: Mapping[str, Any], described: Mapping[str, Any]) -> str:
    """Return the card for people."""
    from bspa.metrics.catalogue import METRICS

    rows = {
        "Architecture": f"{described['architecture']}, {', '.join(content['size'] or [])}",
        "Parameters": f"{described['parameters']:,}",
        "Scale": content["scale"],
        "Channels": f"{content['inputChannels']} in, {content['outputChannels']} out",
        "Licence": content["license"],
        "Author": content["author"],
        "Training data": content["dataset"],
        "Iterations": content["trainingIterations"],
        "Batch": content["trainingBatchSize"],
        "HR patch, pixels": content["trainingHRSize"],
        "Losses": content["trainingLosses"],
        "Precision of training": described["made"].get("precision"),
        "Device seconds of training": described["summary"].get("device_seconds"),
        "SHA-256": f"`{described['sha256']}`",
    }
    facts = [f"| {name} | {_cell(value)} |" for name, value in rows.items()]
    lines = [f"# {content['name']}", "", content["description"] + ".", ""]
    for image in content["images"]:
        if "url" in image:
            lines += [f"![bicubic, this network, original]({image['url']})", ""]
    lines += ["Left to right: bicubic interpolation, this network, the original.", ""]
    lines += ["| | |", "|---|---|", *facts, "", "## Scores", ""]
    metrics = [m for m in METRICS if any(m in scores for scores in content["scores"].values())]
    if not metrics:
        lines += ["None were found beside the weights."]
    else:
        heads = ["benchmark", "images", *(head for m in metrics for head in (METRICS[m].title, "bicubic"))]
        lines += [_line(heads), _line(["---", *["--:"] * (len(heads) - 1)])]
        for benchmark, scores in content["scores"].items():
            bicubic = described["bicubic"].get(benchmark, {})
            cells = (_number(m, values) for m in metrics for values in (scores, bicubic))
            lines.append(_line([benchmark, str(scores.get("images", "")), *cells]))
        lines += ["", *dict.fromkeys(f"{METRICS[m].convention}." for m in metrics)]
    file = described["file"]
    lines += ["", "## Use", "", "```bash", f"bspa upscale {file} photo.jpg -o large", "```", ""]
    lines += ["```python", "import bspa", "", f'network = bspa.load_model("{file}")']
    lines += ["enlarged = bspa.super_resolve(network, pixels)  # (h, w, 3) uint8", "```", ""]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return "not stated" if value is None else text.replace("|", "\\|").replace("\n", " ")


def _number(metric: str, scores: Mapping[str, float]) -> str:
    from bspa.metrics.catalogue import METRICS

    return format(scores[metric], METRICS[metric].form) if metric in scores else "-"


def _show(model: Path, picture: str | os.PathLike[str] | None) -> Any:
    """Show bicubic interpolation, the network and the original, where the first two differ most."""
    import numpy as np
    from PIL import Image

    from bspa.data.photos import read_photo
    from bspa.data.resize import imresize
    from bspa.data.sources import list_files
    from bspa.figures.comparison import cut_to_scale, differing_part
    from bspa.models.inference import super_resolve
    from bspa.models.weights import load_model

    network = load_model(model)
    file = Path(picture) if picture else list_files("builtin", photos=["chelsea"])[0].path
    original = cut_to_scale(read_photo(file), network.scale, file)
    lr = imresize(original, 1 / network.scale)
    bicubic, sr = imresize(lr, network.scale), super_resolve(network, lr)
    part = differing_part([bicubic, sr], CROP)
    gap = np.full((2 * (part[0].stop - part[0].start), 8, 3), 255, np.uint8)
    enlarged = [image[part].repeat(2, axis=0).repeat(2, axis=1) for image in (bicubic, sr, original)]
    return Image.fromarray(np.hstack([enlarged[0], gap, enlarged[1], gap, enlarged[2]]))
