"""Small files that figures are drawn from: scores, packed photographs, delivered weights; and the scripts."""

from __future__ import annotations

import runpy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from skimage import data

from bspa.data.inspection import make_manifest
from bspa.data.packing import pack_images
from bspa.data.sources import list_files
from bspa.difficulty.score_writing import write_scores
from bspa.difficulty.scores import Scores
from bspa.models.registry import build
from bspa.models.weights import save_network
from tests.support.jobs import make_job

SCRIPTS = Path(__file__).parents[2] / "workflow_scripts"
FSRCNN: dict[str, Any] = {"arch": "fsrcnn", "scale": 4, "options": {"d": 4, "s": 2, "m": 1}}


def scores_of(mse: Sequence[float] | np.ndarray, **changes: Any) -> Scores:
    """Score sub-images of 32 pixels that lie side by side in image 0, but for ``changes``."""
    n = len(mse)
    places = {"image": np.zeros(n), "top": np.zeros(n), "left": 32 * np.arange(n)}
    grid = {"size": 32, "step": 32, "threshold": 0, "scale": 4, "reference_sha256": "0" * 64}
    values = {**places, **grid, **changes}
    values |= {name: np.asarray(values[name], np.int32) for name in places}
    values["mse_y"] = np.asarray(values.get("mse_y", mse), np.float32)
    return Scores(mse=np.asarray(mse, np.float32), **values)


def score_file(path: Path, mse: Sequence[float] | np.ndarray, **changes: Any) -> Path:
    scores = scores_of(mse, **changes)
    write_scores(
        path, scores.mse, scores.mse_y, scores, scale=scores.scale, reference_sha256=scores.reference_sha256,
        precision=scores.precision, key="test",
    )  # fmt: skip
    return path


def packed_photos(folder: Path, shapes: dict[str, tuple[int, int]]) -> Path:
    """Pack parts of scikit-image's photographs, {name: (height, width)}, at x4."""
    (folder / "photos").mkdir(parents=True)
    for name, (height, width) in shapes.items():
        photo = getattr(data, name)()
        Image.fromarray(photo[:height, :width]).save(folder / "photos" / f"{name}.png")
    manifest = make_manifest(list_files("folder", path=folder / "photos"))
    pack_images(manifest, folder / "packed.h5", scale=4, key="test")
    return folder / "packed.h5"


def weights_file(path: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    model = build(FSRCNN["arch"], FSRCNN["scale"], **FSRCNN["options"])
    torch.nn.init.normal_(model.tail_conv.weight, std=0.05)
    save_network(path, model.state_dict(), **FSRCNN, key="test")
    return path


def run_script(name: str, folder: Path, settings: dict[str, Any], **inputs: Any) -> None:
    """Run a figure's script, and check that it draws something."""
    output = {"pdf": folder / f"{name}.pdf", "png": folder / f"{name}.png"}
    main = runpy.run_path(str(SCRIPTS / f"{name}.py"))["main"]
    main(make_job(name, inputs, output, settings, compute={"device": "cpu"}))
    assert output["pdf"].read_bytes().startswith(b"%PDF")
    with Image.open(output["png"]) as image:
        assert len(np.unique(np.asarray(image.convert("L")))) > 20


def assert_nothing_is_cut_off(figure: Figure) -> None:
    """All letters and lines lie on the page."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    box, (width, height) = figure.get_tightbbox(renderer), figure.get_size_inches()
    slack = 0.01  # inches
    assert box.x0 >= -slack, box
    assert box.y0 >= -slack, box
    assert box.x1 <= width + slack, (box, width)
    assert box.y1 <= height + slack, (box, height)
