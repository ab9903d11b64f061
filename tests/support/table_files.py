"""Evaluations and summaries of runs, as the table's script reads them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bspa.metrics.catalogue import METRICS
from bspa.tables.table import Table, read_table

Numbers = Sequence[float | None] | np.ndarray


class Results:
    """Files in a folder, and the settings that say what they are, in the order of their making."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: list[Path] = []
        self.evaluations: list[dict[str, Any]] = []
        self.summaries: list[Path] = []
        self.runs: list[dict[str, Any]] = []

    def score(
        self, scale: int, model: str, method: str, benchmark: str, first: Numbers, second: Numbers, *,
        kind: str = "quality", seed: int = 0, images: list[str] | None = None, **labels: str,
    ) -> None:  # fmt: skip
        """Write both metrics of a kind, PSNR and SSIM or NIQE and LPIPS, of each image."""
        key, path = f"e{len(self.files)}", self.folder / f"{len(self.files)}.csv"
        images = images or [f"{index:03}" for index in range(len(first))]
        one, other = (name for name, metric in METRICS.items() if metric.kind == kind)
        frame = pd.DataFrame({"image": images, "width": 64, one: first, other: second, "key": key})
        frame.to_csv(path, index=False)
        self.files.append(path)
        self.evaluations.append(
            {"scale": scale, "model": model, "method": method, "seed": seed, "benchmark": benchmark}
            | {"kind": kind, "key": key, "model_label": model, "method_label": method, **labels}
        )

    def rewrite(self, number: int, **scores: Numbers) -> None:
        """Change scores in a file."""
        frame = pd.read_csv(self.files[number], dtype={"image": str})
        frame.assign(**scores).to_csv(self.files[number], index=False)

    def run(
        self, scale: int, model: str, method: str, *, seed: int = 0, warning: str | None = None, **more: Any
    ) -> None:
        """Write a summary; ``more`` changes it."""
        key, path = f"r{len(self.runs)}", self.folder / f"{len(self.runs)}.json"
        summary = {"parameters": 24518, "steps": 800, "device_seconds": 12.5, "device": "cpu", "key": key}
        summary |= {"attribution_seconds": 0.0, "precision": "float32", "weights": "last", **more}
        path.write_text(json.dumps(summary))
        self.summaries.append(path)
        self.runs.append(
            {"scale": scale, "model": model, "method": method, "seed": seed, "weights": ""}
            | {"warning": warning, "key": key}
        )

    def settings(self, **different: Any) -> dict[str, Any]:
        """Return what the rule gives to the script."""
        kinds = {evaluation["kind"] for evaluation in self.evaluations}
        return {
            "table": "table4",
            "caption": "Methods compared.",
            "metrics": [name for name, metric in METRICS.items() if metric.kind in kinds],
            "benchmarks": list(dict.fromkeys(evaluation["benchmark"] for evaluation in self.evaluations)),
            "seeds": list(dict.fromkeys(run["seed"] for run in self.runs)),
            "baseline": self.runs[0]["method"],
            "trained_on": "my_photos",
            "paper": None,
            "evaluations": self.evaluations,
            "runs": self.runs,
            **different,
        }

    def table(self, **different: Any) -> Table:
        """Read the table, with some settings changed."""
        return read_table(self.files, self.summaries, **self.settings(**different))

    def two_scales(self) -> None:
        """Bicubic interpolation at both scales first, as the plan lists it; then the runs of one seed."""
        for scale in (2, 4):
            for benchmark in ("Set5", "my_set"):
                self.score(scale, "bicubic", "bicubic", benchmark, [30.0, 40.0], [0.8, 0.9])
        scores = {
            (2, "fsrcnn", "baseline"): (33.094, 0.91804),
            (2, "fsrcnn", "bspa"): (33.086, 0.91796),
            (2, "fsrcnn", "udn"): (33.05, 0.9185),
            (2, "edsr_x", "baseline"): (37.58, 0.9590),
            (4, "fsrcnn", "baseline"): (28.14, 0.7960),
            (4, "fsrcnn", "bspa"): (29.04, 0.8241),
        }
        for row, (psnr, ssim) in scores.items():
            labels = {"model_label": row[1].upper(), "method_label": f"{row[2]} & co"}
            for benchmark in ("Set5", "my_set"):
                self.score(*row, benchmark, [psnr - 1, psnr + 1], [ssim] * 2, **labels)
            self.run(*row)

    def two_seeds(self) -> None:
        """Two networks; BSPA is better by 0.1 to 0.3 dB, which differs by image, and hardly by seed."""
        self.score(4, "bicubic", "bicubic", "Set5", [26.0, 27.0, 28.0], [0.8] * 3)
        for model in ("fsrcnn", "rcan"):
            for seed in (0, 7):
                base = np.array([30.0, 31.0, 35.0]) + seed
                gain = np.array([0.1, 0.2, 0.3]) + seed * 0.002 / 7
                self.score(4, model, "baseline", "Set5", base, base / 40, seed=seed)
                label = {"method_label": "BSPA, β"}
                self.score(4, model, "bspa", "Set5", base + gain, base / 40, seed=seed, **label)
                for method in ("baseline", "bspa"):
                    self.run(4, model, method, seed=seed)

    def ablation(self) -> None:
        """The paper's Table 1, in part, with a method and a benchmark that it does not have."""
        for benchmark in ("set14", "own"):
            self.score(4, "bicubic", "bicubic", benchmark, [25.0, 27.0], [0.7] * 2)
            for method, psnr in (("baseline", 28.5), ("mine", 28.6), ("bspa", 28.74)):
                self.score(4, "edsr_baseline", method, benchmark, [28.0, psnr], [0.7] * 2)
        for method in ("baseline", "mine", "bspa"):
            self.run(4, "edsr_baseline", method)

    def perceived(self) -> None:
        """RCAN on set14, where LPIPS is not computed."""
        rows = {("bicubic", "bicubic"): 8.0, ("rcan", "baseline"): 6.6, ("rcan", "bspa"): 6.3}
        for (model, method), niqe in rows.items():
            scores = [niqe - 0.1, niqe, niqe + 0.1]
            self.score(4, model, method, "set14", scores, [math.nan] * 3, kind="perceptual")
        self.run(4, "rcan", "baseline")
        self.run(4, "rcan", "bspa")
