"""What the data path costs: a batch of 16 patches of 128 pixels, against an FSRCNN step on it (x4).

python bench/data_path.py [--steps 60]
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import tempfile
import time
from pathlib import Path

import torch

from bspa.data.inspection import make_manifest
from bspa.data.packed import PackedImages
from bspa.data.packing import pack_images
from bspa.data.sources import list_files
from bspa.models.precision import choose_precision
from bspa.models.registry import build
from bspa.sampling.feeds import to_device
from bspa.sampling.uniform import UniformSampler
from bspa.system.devices import choose_device, use_threads
from bspa.training.losses import l1


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=60)
    arguments = parser.parse_args()
    use_threads(os.cpu_count() or 1)
    device = choose_device("auto")
    precision = choose_precision("auto", device, arch="fsrcnn")
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "x4.h5"
        photos = ["astronaut", "hubble_deep_field", "motorcycle_left", "retina"]
        pack_images(make_manifest(list_files("builtin", photos=photos)), path, scale=4, key="test")
        sampler = UniformSampler(PackedImages(path), patch=128, batch=16, seed=0)
        model = build("fsrcnn", 4).to(device).to(memory_format=torch.channels_last)
        optimiser = torch.optim.Adam(model.parameters(), lr=2e-4, fused=True)
        times: dict[str, list[float]] = {"crop, flip, stack": [], "to float32 on the device": [], "step": []}
        for step in range(arguments.steps):
            marks = [time.perf_counter()]
            pixels = sampler.batch(step)
            marks.append(time.perf_counter())
            lr, hr = (to_device(images, device) for images in pixels)
            marks.append(time.perf_counter())
            with precision.autocast():
                output = model(lr)
            optimiser.zero_grad(set_to_none=True)
            l1(output, hr).backward()
            optimiser.step()
            if device.type == "cuda":
                torch.cuda.synchronize()
            marks.append(time.perf_counter())
            for part, (begin, end) in zip(times.values(), itertools.pairwise(marks), strict=True):
                part.append(1000 * (end - begin))
    medians = {part: statistics.median(values[5:]) for part, values in times.items()}
    whole = sum(medians.values())
    for part, value in medians.items():
        print(f"{part:26s} {value:8.2f} ms  {100 * value / whole:5.1f} %")


if __name__ == "__main__":
    main()
